"""A detector followed through an image: the steps must end in the very detections that it gives."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

import detkit
from detkit.build.detector import build_detector, build_staged_detector
from detkit.commands.why import explain_image, find_image, trace, write
from detkit.config.loading import parse_config
from detkit.data.dataset import DetectionDataset
from detkit.data.formats.forms import Form
from detkit.data.formats.opening import open_form
from detkit.data.ground_truth import GroundTruth
from detkit.data.pipeline.prepare import collate
from detkit.evaluation.diagnosis import Outcome, Step
from detkit.evaluation.voc import evaluate
from detkit.predictor import Predictor
from detkit.staged.bbox_regressor import BoxRegressors
from detkit.staged.svm import LinearSVMs
from detkit.structures import Detections, Sample, Size, Target

IDS = tuple(f"{number:06d}" for number in (0, 3, 5))  # the second is tall


class Drawn:
    """The rectangles, with proposals about the objects and elsewhere."""

    def __init__(self, root: Path) -> None:
        self.dataset = open_form(Form("voc", root, ()), ["train"], None)
        self.classes, self.image_ids = self.dataset.classes, self.dataset.image_ids
        self.paths = self.dataset.paths

    def __len__(self) -> int:
        return len(self.dataset)

    def read(self, index: int) -> Sample:
        sample = self.dataset.read(index)
        generator = torch.Generator().manual_seed(index)
        height, width = sample.original_size
        about = self.target(index).boxes.repeat(6, 1)
        about = about + torch.randn(about.shape, generator=generator) * 4
        corner = torch.rand(10, 2, generator=generator) * 0.5
        anywhere = torch.cat([corner, corner + 0.2 + torch.rand(10, 2, generator=generator) * 0.3], dim=1)
        limit = torch.tensor([width, height] * 2)
        proposals = torch.cat([about, anywhere * limit]).clamp(min=0).minimum(limit)
        return replace(sample, proposals=proposals)

    def target(self, index: int) -> Target:
        return self.dataset.target(index)

    def size(self, index: int) -> Size:
        return self.dataset.size(index)

    def ground_truth(self) -> GroundTruth:
        return self.dataset.ground_truth()


@pytest.fixture(scope="module")
def dataset(voc_root: Path) -> DetectionDataset:
    return Drawn(voc_root)


@pytest.fixture(params=["faster_rcnn", "fast_rcnn", "rcnn", "sppnet"])
def predictor(request: pytest.FixtureRequest, finished_run: Path, tiny: dict[str, Any]) -> Predictor:
    """One of each kind; all but the first have never learned."""
    if request.param == "faster_rcnn":
        return detkit.load(finished_run, "cpu")
    torch.manual_seed(1)
    files = {"proposals": {"kind": "files", "files": ["none.sqlite"]}}
    backbone = {"kind": "zfnet", "width": 0.1, "fc_dim": 16, "weights": None}
    special = {
        "fast_rcnn": {"pool": {"kind": "roi_pool"}, "head": {"min_score": 0.01}},
        "rcnn": {"crop_side": 32, "context": 2, "head": {"box_weight": 0.0}, "svm": {"c": 1.0}},
        "sppnet": {
            "noc": {"convs": 0, "fc_dim": 16},
            "scales": {"sides": [48, 64, 96], "region_side": 32},
            "head": {"box_weight": 0.0},
        },
    }[request.param]
    tiny["model"] = {"kind": request.param, "backbone": backbone} | files | special
    tiny["train"]["lr_batch"] = 2
    config = parse_config(tiny, "tiny")
    classes = ("bar", "block")
    if request.param == "fast_rcnn":
        return Predictor(build_detector(config, 2).eval(), classes, config, torch.device("cpu"))
    staged = build_staged_detector(config, 2).eval()
    fc7, width = staged.svm_weights.shape[1], staged.box_weights.shape[1]
    staged.load_fitted(
        LinearSVMs(torch.randn(2, fc7) * 9, torch.zeros(2), 1.0),
        BoxRegressors(torch.randn(2, width, 4) * 0.01, torch.randn(2, 4) * 0.05),
    )
    return Predictor(staged, classes, config, torch.device("cpu"))


def detect(predictor: Predictor, sample: Sample, min_score: float) -> Detections:
    (found,) = predictor.detector.detect(collate([predictor.resize(sample)]))
    count = int((found.scores >= min_score).sum())
    return Detections(found.boxes[:count], found.scores[:count], found.labels[:count])


@pytest.mark.parametrize(("min_iou", "min_score"), [(0.1, 0.0), (0.4, 0.3)])
def test_the_verdicts_are_those_of_the_detections(
    predictor: Predictor, dataset: DetectionDataset, min_iou: float, min_score: float
) -> None:
    for image_id in IDS:
        index = find_image(dataset, image_id)
        found = detect(predictor, dataset.read(index), min_score)
        results = evaluate({image_id: found}, dataset, "voc10", min_iou).classes.values()
        expected = {row for one in results for row in one.object_index[one.is_tp].tolist()}
        explanation = explain_image(predictor, dataset, image_id, min_iou, min_score).account.explanation
        hits = [diagnosis for diagnosis in explanation.diagnoses if diagnosis.step is Step.FOUND]
        assert {diagnosis.object for diagnosis in hits} == expected
        false = explanation.false_detections
        told = [*false, *(diagnosis.scored for diagnosis in hits if diagnosis.scored is not None)]
        told.sort(key=lambda one: -one.score)
        assert len(told) == len(found)
        torch.testing.assert_close(torch.tensor([one.score for one in told]), found.scores)
        assert sorted(one.label for one in told) == sorted(found.labels.tolist())
        boxes = torch.tensor([one.box for one in told]).reshape(-1, 4)
        torch.testing.assert_close(boxes.sum(dim=0), found.boxes.sum(dim=0), atol=1e-1, rtol=1e-4)


def test_something_is_found_and_something_missed(predictor: Predictor, dataset: DetectionDataset) -> None:
    """Else the test above says little."""
    steps = set()
    for min_iou in (0.1, 0.7):
        for image_id in IDS:
            explanation = explain_image(predictor, dataset, image_id, min_iou, 0.01).account.explanation
            steps |= {diagnosis.step for diagnosis in explanation.diagnoses}
    assert Step.FOUND in steps and len(steps) > 1


def test_candidates_that_pass_are_the_proposals(finished_run: Path, dataset: DetectionDataset) -> None:
    """The run keeps 16 proposals before and after its NMS; a limit below shows the cut."""
    predictor = detkit.load(finished_run, "cpu")
    source = predictor.detector.proposals
    for limits in ({}, {"after_nms": 3}, {"nms_iou": 0.2}, {"min_side": 30.0}):
        source.test_selection = replace(source.test_selection, **limits)
        regions, _ = trace(predictor, dataset.read(1))
        candidates = regions.candidates
        assert candidates is not None
        passed = candidates.boxes[candidates.outcomes == Outcome.PASSED]
        in_order = candidates.logits[candidates.outcomes == Outcome.PASSED].argsort(descending=True)
        torch.testing.assert_close(passed[in_order], regions.proposals, atol=1e-3, rtol=1e-5)
        assert len(candidates.anchors) == len(candidates.boxes) > 16
        assert int((candidates.outcomes == Outcome.UNRANKED).sum()) == len(candidates.boxes) - 16


def test_boxes_are_in_px_of_the_stored_image(finished_run: Path, dataset: DetectionDataset) -> None:
    regions, _ = trace(detkit.load(finished_run, "cpu"), dataset.read(3))  # tall: 128 x 96 px, seen as 85 x 64
    assert regions.proposals[:, 3].max() > 90
    assert regions.refined.shape[1:] == (2, 4)
    assert bool((regions.refined <= torch.tensor([96.0, 128.0, 96.0, 128.0]) + 1e-3).all())


def test_an_image_without_proposals(predictor: Predictor, dataset: DetectionDataset) -> None:
    regions, _ = trace(predictor, replace(dataset.read(0), proposals=torch.zeros(0, 4)))
    count = 16 if predictor.config.model.kind == "faster_rcnn" else 0  # which makes its own
    assert regions.scores.shape == (count, 2) and regions.refined.shape == (count, 2, 4)


def test_an_image_without_objects(finished_run: Path, dataset: DetectionDataset) -> None:
    why = explain_image(detkit.load(finished_run, "cpu"), dataset, "000007", min_score=0.0)
    assert why.paragraphs() == []
    assert len(why.false_lines()) > 0 and all("no object is there" in line for line in why.false_lines())


def test_what_is_written(finished_run: Path, dataset: DetectionDataset, tmp_path: Path) -> None:
    why = explain_image(detkit.load(finished_run, "cpu"), dataset, "000003", min_score=0.01)
    image, table = write(why, tmp_path / "new" / "folder")
    height, width, _ = cv2.imread(str(image)).shape
    assert height > 128 and width == 360  # the legend is wider than this image
    content = json.loads(table.read_text())
    assert (content["image"], content["classes"], content["num_proposals"]) == ("000003", ["bar", "block"], 16)
    assert [one["class"] for one in content["objects"]] == ["bar", "block"]
    assert [one["text"] for one in content["objects"]] == why.paragraphs()
    assert [one["text"] for one in content["false_detections"]] == why.false_lines()


def test_unknown_image_tells_the_nearest(dataset: DetectionDataset) -> None:
    with pytest.raises(ValueError, match=r"image '3': none of the 8 images .* nearest ids are .*000003"):
        find_image(dataset, "3")


@pytest.mark.parametrize(("min_iou", "min_score"), [(0.0, 0.1), (1.0, 0.1), (0.5, -0.1), (0.5, 1.1)])
def test_limits_that_are_none(finished_run: Path, dataset: DetectionDataset, min_iou: float, min_score: float) -> None:
    with pytest.raises(ValueError, match="expected an overlap between 0 and 1"):
        explain_image(detkit.load(finished_run, "cpu"), dataset, "000003", min_iou, min_score)
