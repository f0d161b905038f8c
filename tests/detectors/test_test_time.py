"""More than one look: a plain view is plain detecting, mirrors mirror, sizes map back, views unite; what is refused."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

import detkit
from detkit.build.detector import build_detector, build_staged_detector
from detkit.config.loading import ConfigError, parse_config, parse_test_time
from detkit.config.schema import TestTime
from detkit.data.pipeline.prepare import Resize, collate
from detkit.detectors.test_time import Merging, TestTimeDetector, refined
from detkit.detectors.two_stage import TwoStageDetector
from detkit.detectors.views import View, mirror
from detkit.engine.checkpoint import load_model, save_model
from detkit.heads.roi_head import DetectionRule
from detkit.ops.suppression import gaussian_decay, linear_decay
from detkit.structures import Detections, Sample
from tests.conftest import Inside

Change = Callable[[dict[str, Any]], None]
RESIZE = Resize(64, 96)
PLAIN = (0, 1)  # labels of two classes as they are
SIZES = ((96, 128), (90, 60), (64, 64))  # height, width: wide, tall and padded, and of the size that is wanted


@pytest.fixture(scope="module")
def detector(finished_run: Path) -> TwoStageDetector:
    found = detkit.load(finished_run, device="cpu").detector
    assert isinstance(found, TwoStageDetector)
    found.head.rule = DetectionRule(min_score=0.01, nms_iou=0.3, max_detections=20)
    return found


def images(proposals: bool = False) -> list[Sample]:
    torch.manual_seed(0)
    samples = [
        Sample(str(i), torch.randint(0, 256, (3, *size), dtype=torch.uint8), size) for i, size in enumerate(SIZES)
    ]
    if not proposals:
        return samples
    corners = torch.rand(5, 2) * 30
    return [replace(s, proposals=torch.cat([corners, corners + 20 + torch.rand(5, 2) * 10], dim=1)) for s in samples]


def plain(detector: TwoStageDetector, samples: list[Sample], resize: Resize = RESIZE) -> list[Detections]:
    return detector.detect(collate([resize(sample) for sample in samples]))


def assert_same(one: list[Detections], other: list[Detections], px: float = 0.0) -> None:
    assert len(one) == len(other) and sum(map(len, one)) > 10
    for here, there in zip(one, other, strict=True):
        assert here.labels.tolist() == there.labels.tolist()
        torch.testing.assert_close(here.boxes, there.boxes, atol=px, rtol=0)
        torch.testing.assert_close(here.scores, there.scores, atol=px / 1000, rtol=0)


def mirrored(detections: list[Detections]) -> list[Detections]:
    return [replace(d, boxes=mirror(d.boxes, width)) for d, (_, width) in zip(detections, SIZES, strict=True)]


# One view


def test_one_plain_view_is_plain_detecting_bit_for_bit(detector: TwoStageDetector) -> None:
    looking = TestTimeDetector([View(detector, RESIZE, False, PLAIN)])
    assert_same(looking.detect(collate(images())), plain(detector, images()))


def test_the_mirrored_view_finds_what_is_in_the_mirrored_image(detector: TwoStageDetector) -> None:
    looking = TestTimeDetector([View(detector, RESIZE, True, PLAIN)])
    turned = [replace(sample, image=sample.image.flip(2)) for sample in images()]
    assert_same(looking.detect(collate(images())), mirrored(plain(detector, turned)), px=1e-3)


def test_a_symmetric_image_has_its_boxes_mirrored(detector: TwoStageDetector) -> None:
    left = [replace(s, image=s.image[..., : s.image.shape[2] // 2]) for s in images()]
    samples = [replace(s, image=torch.cat([s.image, s.image.flip(2)], dim=2)) for s in left]
    looking = TestTimeDetector([View(detector, RESIZE, True, PLAIN)])
    assert_same(looking.detect(collate(samples)), mirrored(plain(detector, samples)), px=1e-3)


def test_another_size_is_mapped_back(detector: TwoStageDetector) -> None:
    larger = Resize(100, 150)
    looking = TestTimeDetector([View(detector, larger, False, PLAIN)])
    assert_same(looking.detect(collate(images())), plain(detector, images(), larger))


def test_labels_of_a_detector_may_be_others_here(detector: TwoStageDetector) -> None:
    looking = TestTimeDetector([View(detector, RESIZE, False, (1, 0))])
    found, usual = looking.detect(collate(images())), plain(detector, images())
    assert [d.labels.tolist() for d in found] == [(1 - d.labels).tolist() for d in usual]


def test_a_view_sees_proposals_where_its_image_has_them(detector: TwoStageDetector) -> None:
    batch = collate(images(proposals=True))
    direct, turned = (View(detector, RESIZE, flip, PLAIN).see(batch) for flip in (False, True))
    assert batch.proposals is not None and direct.proposals is not None and turned.proposals is not None
    # The tall image, 90 x 60 px, is 96 x 64 px here, and its mirrored boxes are counted from there.
    torch.testing.assert_close(direct.proposals[1], batch.proposals[1] * torch.tensor([64 / 60, 96 / 90] * 2))
    torch.testing.assert_close(turned.proposals[1], mirror(direct.proposals[1], 64))
    assert torch.equal(turned.images[1, :, :96, :64], direct.images[1, :, :96, :64].flip(2))
    assert bool((turned.images[1, :, :, 64:] == 0).all())  # padding stays on the right


def test_mirror_by_hand_and_twice() -> None:
    boxes = torch.tensor([[1.0, 2, 4, 6], [0, 0, 10, 10]])
    assert mirror(boxes, 10).tolist() == [[6, 2, 9, 6], [0, 0, 10, 10]]
    assert torch.equal(mirror(mirror(boxes, 10), 10), boxes)
    assert mirror(torch.zeros(0, 4), 10).shape == (0, 4)


# Several


def test_two_equal_views_are_one(detector: TwoStageDetector) -> None:
    """NMS drops what is found twice; boxes that vote for themselves twice stay where they are."""
    view = View(detector, RESIZE, False, PLAIN)
    assert_same(TestTimeDetector([view, view]).detect(collate(images())), plain(detector, images()))
    shared = TestTimeDetector([view, view], shared_regions=True)
    assert_same(shared.detect(collate(images())), plain(detector, images()))
    voting = Merging(voting_iou=0.999)
    twice = TestTimeDetector([view, view], voting).detect(collate(images()))
    assert_same(twice, plain(detector, images()), px=1e-3)


def test_united_boxes_are_those_of_any_view(detector: TwoStageDetector) -> None:
    views = [View(detector, Resize(side, 2 * side), flip, PLAIN) for side in (64, 90) for flip in (False, True)]
    alone = [TestTimeDetector([view]).detect(collate(images())) for view in views]
    together = TestTimeDetector(views).detect(collate(images()))
    for image, found in enumerate(together):
        of_all = torch.cat([of_view[image].boxes for of_view in alone])
        nearest = (found.boxes[:, None] - of_all).abs().amax(dim=2).amin(dim=1)
        best = max(float(of_view[image].scores.max()) for of_view in alone)
        assert float(found.scores[0]) == pytest.approx(best, abs=1e-5)
        assert float((nearest < 1e-2).float().mean()) > 0.5  # the rest a view on its own had no room for
        height, width = SIZES[image]
        assert bool((found.boxes >= 0).all())
        assert bool((found.boxes <= torch.tensor([width, height] * 2) + 1e-3).all())
        assert len(found) <= 20 and bool((found.scores.diff() <= 0).all())


def test_a_batch_is_one_by_one(detector: TwoStageDetector) -> None:
    """Of images of one size: group norm, which this detector has, sees padding."""
    first = images()[0]
    samples = [replace(first, image=first.image.roll(shift, dims=2)) for shift in (0, 30, 70)]
    views = [View(detector, Resize(side, 2 * side), side > 64, PLAIN) for side in (64, 90)]
    looking = TestTimeDetector(views, Merging(gaussian_decay, 0.5), refinements=1)
    alone = [looking.detect(collate([sample]))[0] for sample in samples]
    for one, other in zip(looking.detect(collate(samples)), alone, strict=True):
        assert len(one) == len(other) > 0
        torch.testing.assert_close(one.scores, other.scores, atol=1e-4, rtol=0)
    assert not torch.equal(alone[0].scores, alone[1].scores)


def test_shared_regions_have_the_mean_of_all_opinions(detector: TwoStageDetector) -> None:
    """One image, seen directly and in a mirror: every step by hand."""
    sample, (height, width) = images()[0], (64, 85)
    straight = collate([RESIZE(sample)])
    turned = replace(straight, images=straight.images.flip(3))
    assert straight.sizes.tolist() == [[height, width]]
    maps = [detector.extract(straight), detector.extract(turned)]
    (own, real), (other, other_real) = (
        detector.proposals.propose(features, straight) for features in maps
    )  # sizes are the same
    regions = torch.cat([own, mirror(other, width)], dim=1)
    one, one_boxes = detector.head.score(maps[0], regions, straight.sizes)
    two, two_boxes = detector.head.score(maps[1], mirror(regions, width), straight.sizes)
    scores, boxes = (one + two) / 2, (one_boxes + mirror(two_boxes, width)) / 2
    both_real = torch.cat([real, other_real], dim=1)
    wanted_boxes, wanted, labels = detector.head.select(
        scores[0], boxes[0], both_real[0], straight.sizes[0], detector.head.rule
    )
    views = [View(detector, RESIZE, flip, PLAIN) for flip in (False, True)]
    found = TestTimeDetector(views, shared_regions=True).detect(collate([sample]))[0]
    assert found.labels.tolist() == labels[wanted > 0].tolist() and len(found) > 5
    torch.testing.assert_close(found.scores, wanted[wanted > 0], atol=1e-5, rtol=0)
    scale = torch.tensor([sample.original_size[1] / width, sample.original_size[0] / height] * 2)
    torch.testing.assert_close(found.boxes, wanted_boxes[wanted > 0] * scale, atol=1e-3, rtol=0)


def test_shared_regions_are_refined_as_any(detector: TwoStageDetector) -> None:
    view = View(detector, RESIZE, False, PLAIN)
    alone = TestTimeDetector([view], refinements=1).detect(collate(images()))
    shared = TestTimeDetector([view, view], refinements=1, shared_regions=True).detect(collate(images()))
    assert_same(shared, alone, px=1e-3)


def test_shared_regions_take_labels_by_name(detector: TwoStageDetector) -> None:
    """The same detector twice, once with its classes swapped: half the score for each class that is not the other's."""
    batch = collate(images()[:1])
    same = TestTimeDetector([View(detector, RESIZE, False, PLAIN)]).detect(batch)[0]
    views = [View(detector, RESIZE, False, labels) for labels in (PLAIN, (1, 0))]
    mixed = TestTimeDetector(views, shared_regions=True).detect(batch)[0]
    assert float(mixed.scores[0]) < float(same.scores[0])
    # Whatever a region is to one view as class 0 it is to the other as class 1: both classes have equal scores.
    zero, one = (mixed.scores[mixed.labels == label][:3] for label in PLAIN)
    torch.testing.assert_close(zero, one, atol=1e-5, rtol=0)


def test_regions_that_came_with_the_images_are_shared_once(changed: Callable[[Change], Path]) -> None:
    fast = detkit.load(changed(as_fast), device="cpu").detector
    assert isinstance(fast, TwoStageDetector)
    view = View(fast, RESIZE, False, PLAIN)
    looking = TestTimeDetector([view, view], shared_regions=True)
    seen = [view.see(collate(images(proposals=True)))] * 2
    regions = [fast.proposals.propose(torch.zeros(0), one) for one in seen]
    assert looking._unite(seen, regions)[0].shape == (3, 5, 4)


# Merging and refining


BOXES = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [20, 20, 30, 30], [5, 5, 5, 9]])
SCORES, LABELS = torch.tensor([0.8, 0.6, 0.005, 0.9]), torch.tensor([0, 0, 1, 1])


def merged(detector: TwoStageDetector, merging: Merging) -> list[tuple[list[float], float, int]]:
    boxes, scores, labels = merging((BOXES, SCORES, LABELS), detector.head.rule)
    rows = zip(boxes.tolist(), scores.tolist(), labels.tolist(), strict=True)
    return [([round(x, 4) for x in box], round(s, 4), label) for box, s, label in rows]


def test_merging_by_hand(detector: TwoStageDetector) -> None:
    """The third box is not likely enough, the last is empty; the second has IoU 1/2 with the first."""
    soft = partial(linear_decay, min_iou=0.3)
    average = [0, 0, 10, round((8 + 3) / 1.4, 4)]
    assert merged(detector, Merging()) == [([0, 0, 10, 10], 0.8, 0)]
    assert merged(detector, Merging(soft)) == [([0, 0, 10, 10], 0.8, 0), ([0, 0, 10, 5], 0.3, 0)]
    assert merged(detector, Merging(None, 0.5)) == [(average, 0.8, 0)]
    lower = [0, 0, 10, round((8 + 3) / 1.4, 4)]  # each is the other's neighbour, with the scores from before
    assert merged(detector, Merging(soft, 0.5)) == [(average, 0.8, 0), (lower, 0.3, 0)]


@pytest.mark.parametrize("merging", [Merging(), Merging(partial(linear_decay, min_iou=0.3)), Merging(None, 0.5)])
def test_nothing_found_stays_nothing(detector: TwoStageDetector, merging: Merging) -> None:
    boxes, scores, labels = merging((BOXES, torch.zeros(4), LABELS), detector.head.rule)
    assert boxes.shape == (0, 4) and scores.shape == labels.shape == (0,)


class Scorer:
    """Class 1 is likeliest everywhere; its box is the region, moved by 2 px to the right. Class 0's is empty."""

    def __init__(self) -> None:
        self.asked: list[Tensor] = []

    def __call__(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        self.asked.append(boxes)
        scores = torch.tensor([0.1, 0.3, 0.6]).expand(*boxes.shape[:2], 3)
        return scores, torch.stack([boxes * 0, boxes + torch.tensor([2.0, 0, 2, 0])], dim=2)


def test_refining_scores_the_boxes_of_the_likeliest_class_again() -> None:
    scorer, sizes = Scorer(), torch.tensor([[20, 13]])
    regions = torch.tensor([[[0.0, 0, 10, 10], [0, 5, 4, 9]]]), torch.tensor([[True, False]])
    scores, boxes, still = refined(scorer, regions, sizes, inclusive=False, refinements=2)
    assert [asked[0].tolist() for asked in scorer.asked] == [
        [[0, 0, 10, 10], [0, 5, 4, 9]],
        [[2, 0, 12, 10], [2, 5, 6, 9]],
        [[4, 0, 13, 10], [4, 5, 8, 9]],  # cut at 13 px
    ]
    assert scores.shape == (1, 6, 3) and boxes.shape == (1, 6, 2, 4)
    assert torch.equal(boxes[0, :, 1], torch.cat([asked[0] for asked in scorer.asked]) + torch.tensor([2.0, 0, 2, 0]))
    assert still.tolist() == [[True, False] * 3]
    once, _, _ = refined(scorer, regions, sizes, inclusive=False, refinements=0)
    assert once.shape == (1, 2, 3)


def test_refining_finds_at_least_as_sure_boxes(detector: TwoStageDetector) -> None:
    view = View(detector, RESIZE, False, PLAIN)
    once, refined = (TestTimeDetector([view], refinements=n).detect(collate(images())) for n in (0, 1))
    assert all(float(b.scores[0]) >= float(a.scores[0]) for a, b in zip(once, refined, strict=True))


# From options


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ([], TestTime()),
        (["flip=true", "scales=[480,600,768]"], TestTime(flip=True, scales=(480, 600, 768))),
        (["flip=true", "shared_regions=true"], TestTime(flip=True, shared_regions=True)),
        (
            ["soft_nms=linear", "box_voting=0.5", "refine=1"],
            TestTime(refine=1, soft_nms="linear", box_voting=0.5),
        ),
    ],
)
def test_options_are_read(settings: list[str], expected: TestTime) -> None:
    assert parse_test_time(settings) == expected


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("flipp=true", "flipp: unknown key, did you mean flip\\?; known here: box_voting, flip"),
        ("flip=maybe", r"flip: Input should be a valid boolean \(got 'maybe'\)"),
        ("flip", "override 'flip': expected key=value, such as flip=true"),
        ("scales=480", "scales: Input should be a valid"),
        ("scales=[480,0]", "scales.1: Input should be greater than 0"),
        ("soft_nms=cubic", "soft_nms: Input should be 'linear' or 'gaussian'"),
        ("box_voting=0", "box_voting: Input should be greater than 0"),
        ("box_voting=1.5", "box_voting: Input should be less than or equal to 1"),
        ("refine=-1", "refine: Input should be greater than or equal to 0"),
    ],
)
def test_options_that_are_none(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_test_time([setting])


def test_without_options_it_is_the_plain_detector(finished_run: Path) -> None:
    assert isinstance(detkit.load(finished_run, test_time=TestTime()).detector, TwoStageDetector)


def test_options_make_the_views(finished_run: Path) -> None:
    options = TestTime(flip=True, scales=(64, 32), refine=2, soft_nms="linear", box_voting=0.6)
    made = detkit.load(finished_run, device="cpu", test_time=options).detector
    assert isinstance(made, TestTimeDetector)
    assert [(view.resize, view.mirrored) for view in made.views] == [
        (Resize(64, 96), False),
        (Resize(64, 96), True),
        (Resize(32, 48), False),  # the longer side in proportion
        (Resize(32, 48), True),
    ]
    assert made.refinements == 2 and made.merging.voting_iou == 0.6
    assert made.merging.decay is not None  # from the head's nms_iou, 0.3, on
    torch.testing.assert_close(made.merging.decay(torch.tensor([0.29, 0.3, 0.5])), torch.tensor([1.0, 0.7, 0.5]))


def test_a_predictor_with_options_predicts_in_px_of_the_image(finished_run: Path) -> None:
    usual = detkit.load(finished_run, device="cpu")
    same_size = detkit.load(finished_run, device="cpu", test_time=TestTime(scales=(64,)))
    arrays = [sample.image for sample in images()]
    assert_same(same_size.predict(arrays, min_score=0), usual.predict(arrays, min_score=0))  # type: ignore[arg-type]
    voting = detkit.load(finished_run, device="cpu", test_time=TestTime(flip=True, box_voting=0.5))
    everything, some = (voting.predict(arrays[0], min_score=least) for least in (0.01, 0.3))
    assert len(some) < len(everything)
    assert torch.equal(some.boxes, everything.boxes[: len(some)])  # the same voters, whatever is asked for


@pytest.fixture
def changed(finished_run: Path, tmp_path: Path) -> Callable[[Change], Path]:
    """Writes the run with its config changed, and weights that fit it by chance, as another model.pt."""

    def write(change: Change) -> Path:
        saved = load_model(finished_run)
        content = yaml.safe_load(yaml.safe_dump(saved.config))
        change(content)
        config = parse_config(content, "changed")
        torch.manual_seed(1)
        build = build_staged_detector if config.model.kind == "rcnn" else build_detector
        model = build(config, len(saved.classes))
        save_model(replace(saved, config=content, weights=model.state_dict()), tmp_path / "changed.pt")
        return tmp_path / "changed.pt"

    return write


def as_fast(content: dict[str, Any]) -> None:
    model = content["model"]
    model["kind"] = "fast_rcnn"
    del model["rpn"]
    model["proposals"] = {"kind": "selective_search", "count": 50}


def test_an_ensemble_of_a_run_with_itself_is_the_run(finished_run: Path) -> None:
    usual = detkit.load(finished_run, device="cpu")
    twice = detkit.load(finished_run, device="cpu", ensemble=[finished_run / "model.pt"])
    arrays = [sample.image for sample in images()]
    assert_same(twice.predict(arrays, min_score=0), usual.predict(arrays, min_score=0))  # type: ignore[arg-type]


def test_an_ensemble_knows_classes_by_name(finished_run: Path, tmp_path: Path) -> None:
    saved = load_model(finished_run)
    save_model(replace(saved, classes=("block", "bar")), tmp_path / "model.pt")
    made = detkit.load(finished_run, ensemble=[tmp_path]).detector
    assert isinstance(made, TestTimeDetector) and [view.labels for view in made.views] == [(0, 1), (1, 0)]
    save_model(replace(saved, classes=("block", "ball")), tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"its classes are not those of the first run of the ensemble: ball, bar$"):
        detkit.load(finished_run, ensemble=[tmp_path])


def test_an_ensemble_has_one_source_of_proposals(finished_run: Path, changed: Callable[[Change], Path]) -> None:
    fast = changed(as_fast)
    assert detkit.load(fast, ensemble=[finished_run]).config.model.kind == "fast_rcnn"
    with pytest.raises(ValueError, match=r"changed\.pt: its proposals are not those of the first run.*name it first"):
        detkit.load(finished_run, ensemble=[fast])


def test_staged_detectors_take_no_options(finished_run: Path, changed: Callable[[Change], Path]) -> None:
    def as_rcnn(content: dict[str, Any]) -> None:
        content["model"] = {"kind": "rcnn", "backbone": content["model"]["backbone"]}
        content["model"] |= {"proposals": {"kind": "selective_search"}, "head": {"batch_per_image": 8}}

    run = changed(as_rcnn)
    for call in (
        lambda: detkit.load(run, test_time=TestTime(flip=True)),
        lambda: detkit.load(finished_run, ensemble=[run]),
    ):
        with pytest.raises(ValueError, match=r"changed\.pt: test-time options and ensembles are for .*, this is rcnn"):
            call()


def test_scales_meet_no_scales(changed: Callable[[Change], Path]) -> None:
    def several(content: dict[str, Any]) -> None:
        as_fast(content)
        content["model"]["scales"] = {"sides": [48, 64]}

    run = changed(several)
    assert isinstance(detkit.load(run, test_time=TestTime(flip=True)).detector, TestTimeDetector)
    with pytest.raises(ValueError, match=r"scales \[32\]: the detector looks at several sizes already .*\[48, 64\]"):
        detkit.load(run, test_time=TestTime(scales=(32,)))


@pytest.mark.slow
def test_eval_detects_with_options(inside: Inside, finished_run: Path, tmp_path: Path) -> None:
    options = ("--test-time", "flip=true", "refine=1", "--ensemble", finished_run, "--out", tmp_path / "out")
    status, shown, said = inside("eval", finished_run, "--voc07", *options)
    assert status == 0, said
    assert "mAP (voc07)" in shown
    recorded = yaml.safe_load((tmp_path / "out" / "metrics.json").read_text())
    assert recorded["test_time"] == {"flip": True, "refine": 1, "ensemble": [str(finished_run)]}
    assert {"resize", "convolution", "proposals", "regions", "nms"} <= recorded["seconds_per_image"].keys()
    status, _, said = inside("eval", finished_run, "--voc07", "--test-time", "flop=true")
    assert status == 2 and "flop: unknown key, did you mean flip?" in said
