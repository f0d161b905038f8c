"""Exported detectors: in other programs' words they find the same, whatever the number and the sizes of images."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file

import detkit
from detkit.build.detector import build_detector, build_staged_detector
from detkit.commands.export import (
    OnnxDetector,
    TorchExportDetector,
    agreement,
    export_onnx,
    export_safetensors,
    export_torch,
)
from detkit.config.loading import parse_config
from detkit.data.pipeline.prepare import collate
from detkit.detectors.two_stage import TwoStageDetector
from detkit.engine.checkpoint import SavedModel, load_model, save_model
from detkit.engine.inference import prepare
from detkit.export.batched import BatchedDetector, Suppress
from detkit.export.suppression import suppress_each, suppress_together
from detkit.predictor import Predictor
from detkit.structures import Batch, Detections, Sample

CLASSES = ("bar", "block")
CPU = torch.device("cpu")
EXPORTING = Path(__file__).parents[2] / "docs" / "exporting.md"
SIZES = ((64, 96), (70, 81), (96, 64), (64, 64), (40, 96), (96, 33), (64, 64), (77, 90))  # px of images
SELECTION = {f"{mode}_{when}_nms": 16 for mode in ("train", "test") for when in ("before", "after")}
RPN = {"channels": 16, "sizes": [24, 40], "ratios": [1.0], "min_side": 2} | SELECTION
VGG = {"kind": "vgg", "depth": 11, "width": 0.0625, "fc_dim": 32, "weights": None}
MODELS: dict[str, dict[str, Any]] = {
    "align": {
        "kind": "faster_rcnn",
        "backbone": VGG,
        "pool": {"kind": "roi_align", "sampling": 0},
        "rpn": RPN,
        "head": {"class_agnostic": True},
        "global_context": True,
    },
    "max": {
        "kind": "fast_rcnn",
        "backbone": VGG | {"layout": "caffe"},
        "pool": {"kind": "roi_pool"},
        "proposals": {"kind": "edge_boxes", "count": 12},
        "box_decoding": "inclusive",
    },
}
TRAIN = {
    "steps": 1,
    "batch_size": 1,
    "lr": 0.1,
    "optimizer": {"kind": "sgd"},
    "schedule": {"kind": "step", "drops": []},
    "checkpoint_every": 1,
    "log_every": 1,
}


def predictor(model: dict[str, Any]) -> Predictor:
    """Of random weights, made large enough that scores and boxes differ from region to region."""
    head = {"min_score": 0.05, "max_detections": 10} | model.get("head", {})
    data = {"kind": "voc", "root": "x", "train": ["a"], "test": ["b"], "short_side": 64, "long_side": 96}
    config = parse_config({"data": data, "model": model | {"head": head}, "train": TRAIN}, "test")
    torch.manual_seed(0)
    detector = build_detector(config, len(CLASSES))
    layers = {"classifier": 5, "regressor": 100, "objectness": 30, "offsets": 10}
    with torch.no_grad():
        for name, parameter in detector.named_parameters():
            parameter.mul_(layers.get(name.split(".")[-2], 1))
    prepare(detector, CPU)
    return Predictor(detector, CLASSES, config, CPU)


def images(count: int) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3)).astype(np.uint8) for size in SIZES[:count]]


def thin_images() -> list[NDArray[np.uint8]]:
    """Each by itself narrower than two cells once its longer side fits; VGG cannot look at less than one."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3)).astype(np.uint8) for size in ((4, 200), (300, 7), (1, 500), (1, 1))]


def batch(of: Predictor, count: int, seed: int = 0) -> Batch:
    """Images of different sizes, padded, half their stored size."""
    doubled = [
        replace(one, original_size=(2 * h, 2 * w)) for one in samples(of, count, seed) for h, w in [one.original_size]
    ]
    return collate(doubled)


def samples(of: Predictor, count: int, seed: int = 0) -> list[Sample]:
    """Images as stored; proposals, if need be, ever fewer, at last none."""
    rng = np.random.default_rng(seed)
    made = []
    for i, (height, width) in enumerate(SIZES[:count]):
        image = torch.from_numpy(rng.integers(0, 256, (3, height, width)).astype(np.uint8))
        corner = rng.uniform(0, 20, (6, 2))
        boxes = torch.from_numpy(np.hstack([corner, corner + rng.uniform(3, 60, (6, 2))])).float()
        proposals = None if of.config.model.kind == "faster_rcnn" else boxes[: max(0, 6 - i)]
        made.append(Sample(str(i), image, (height, width), proposals=proposals))
    return made


def detector_of(of: Predictor) -> TwoStageDetector:
    assert isinstance(of.detector, TwoStageDetector)
    return of.detector


def check_same(found: list[Detections], expected: list[Detections], px: float, score: float) -> None:
    assert len(found) == len(expected) and sum(len(one) for one in expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert one.labels.tolist() == other.labels.tolist()
        torch.testing.assert_close(one.boxes, other.boxes, atol=px, rtol=0)
        torch.testing.assert_close(one.scores, other.scores, atol=score, rtol=0)


@pytest.fixture(scope="module", params=["align", "max"])
def original(request: pytest.FixtureRequest) -> Predictor:
    return predictor(MODELS[request.param])


# As one function of tensors


@pytest.mark.parametrize("suppress", [suppress_together, suppress_each])
@pytest.mark.parametrize("count", [1, 2, 8])
def test_all_images_at_once_are_the_detector(original: Predictor, suppress: Suppress, count: int) -> None:
    core = OnBatch(detector_of(original), suppress)
    check_same(core.detect(batch(original, count)), original.detector.detect(batch(original, count)), 1e-4, 1e-6)


class OnBatch:
    """BatchedDetector in use, without any export."""

    def __init__(self, detector: TwoStageDetector, suppress: Suppress) -> None:
        self.core = BatchedDetector(detector, suppress)

    @torch.no_grad()
    def detect(self, batch: Batch) -> list[Detections]:
        proposals = None
        if batch.proposals is not None:
            proposals = torch.nn.utils.rnn.pad_sequence(list(batch.proposals), batch_first=True)
        boxes, scores, labels = self.core(batch.images, batch.sizes, batch.original_sizes, proposals)
        assert boxes.shape == (len(batch), 10, 4) and scores.shape == labels.shape == (len(batch), 10)
        assert not boxes[scores == 0].any() and not labels[scores == 0].any()
        return [Detections(boxes[i, real], scores[i, real], labels[i, real]) for i, real in enumerate(scores > 0)]


def test_nothing_likely_gives_padding_alone() -> None:
    nothing = predictor(MODELS["align"] | {"head": {"min_score": 1.0}})
    found = OnBatch(detector_of(nothing), suppress_together).detect(batch(nothing, 2))
    assert [len(one) for one in found] == [0, 0]


# ONNX


@pytest.mark.slow
def test_onnxruntime_finds_the_same(original: Predictor, tmp_path: Path) -> None:
    """All of ONNX in one test, since making the file takes ten seconds."""
    path = tmp_path / "detector.onnx"
    export_onnx(original, path)
    assert [p.name for p in tmp_path.iterdir()] == ["detector.onnx"]
    exported = OnnxDetector(path)
    assert exported.classes == CLASSES and exported.config == original.config
    for count in (1, 2, 8):
        stored = samples(original, count, seed=count)
        resized = collate([original.resize(one) for one in stored])
        check_same(exported.detect(collate(stored)), original.detector.detect(resized), px=0.01, score=1e-4)
    assert agreement(original, exported, thin_images()).holds
    whole = agreement(original, exported, images(5))
    assert whole.holds and whole.detections > 0, whole
    check_header(path, takes_proposals=original.config.model.kind == "fast_rcnn")
    if original.config.model.kind == "faster_rcnn":
        check_documented_use(path, exported)
    if original.config.model.kind == "fast_rcnn":
        check_without_proposals(exported, collate(samples(original, 2)))


def check_header(path: Path, takes_proposals: bool) -> None:
    model = onnx.load(path)
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(about["classes"]) == list(CLASSES)
    assert (about["short_side"], about["long_side"]) == ("64", "96") and "RGB" in about["usage"]
    assert {one.op_type for one in model.graph.node} >= {"NonMaxSuppression", "TopK"}
    assert {node.domain for node in model.graph.node} == {""}  # ONNX's own operators alone
    shapes = {
        one.name: [d.dim_param or d.dim_value for d in one.type.tensor_type.shape.dim] for one in model.graph.input
    }
    expected = {"images": ["batch", 3, "height", "width"], "sizes": ["batch", 2]}
    assert shapes == (expected | {"proposals": ["batch", "proposals", 4]} if takes_proposals else expected)


def check_documented_use(path: Path, exported: OnnxDetector) -> None:
    """The program of docs/exporting.md, which knows nothing of detkit."""
    [program] = re.findall(r"```python\n(.*?)```", EXPORTING.read_text(), re.DOTALL)
    assert "detkit" not in program
    Image.fromarray(images(1)[0]).save(path.with_name("street.jpg"), quality=95)
    script = path.with_name("use.py")
    script.write_text(program.replace("model.onnx", path.name).replace("0.5:", "0.1:"))
    done = subprocess.run([sys.executable, script], cwd=path.parent, capture_output=True, text=True, check=True)
    [found] = exported.predict(path.with_name("street.jpg"), min_score=0.1)
    expected = [f"{name} {score:.3f} " for name, score, _ in found]
    assert len(expected) > 3
    for line, start in zip(done.stdout.splitlines(), expected, strict=True):
        name, score = line.split()[:2]
        assert f"{name} {float(score):.3f} " == start


def check_without_proposals(exported: OnnxDetector, two: Batch) -> None:
    assert two.proposals is not None
    found = exported.detect(replace(two, proposals=(two.proposals[0], torch.zeros(0, 4))))
    assert len(found[0]) > 0 and len(found[1]) == 0
    assert [len(one) for one in exported.detect(replace(two, proposals=(torch.zeros(0, 4),) * 2))] == [0, 0]


# torch.export


def test_torch_export_finds_the_same(original: Predictor, tmp_path: Path) -> None:
    export_torch(original, tmp_path / "detector.pt2")
    exported = TorchExportDetector(tmp_path / "detector.pt2")
    assert exported.classes == CLASSES and exported.config == original.config
    for count in (1, 2, 8):
        same = batch(original, count, seed=count)
        check_same(exported.detect(same), original.detector.detect(same), px=1e-3, score=1e-5)
    assert agreement(original, exported, thin_images()).holds


# safetensors


def saved(of: Predictor) -> SavedModel:
    return SavedModel(of.config.model_dump(mode="json"), CLASSES, dict(detector_of(of).state_dict()), step=3)


def test_safetensors_hold_the_same_detector(tmp_path: Path) -> None:
    first = predictor(MODELS["align"])
    save_model(saved(first), tmp_path / "model.pt")
    export_safetensors(tmp_path, tmp_path / "model.safetensors")
    again = detkit.load(tmp_path / "model.safetensors", device="cpu")
    assert again.classes == CLASSES and load_model(tmp_path / "model.safetensors").step == 3
    for one, other in zip(again.predict(images(3), 0.05), first.predict(images(3), 0.05), strict=True):
        assert torch.equal(one.boxes, other.boxes) and torch.equal(one.scores, other.scores)
    assert load_file(tmp_path / "model.safetensors").keys() == detector_of(first).state_dict().keys()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.pt", "model.safetensors"]


ABOUT = {"detkit": "1", "config": "{}", "classes": '["a"]', "step": "0"}


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({}, r"format None\); weights of other tools are read by detkit import-weights"),
        (ABOUT | {"detkit": "9"}, "format '9'"),
        ({"detkit": "1"}, "not a whole detector"),
        (ABOUT | {"config": "[" * 100_000}, "not a whole detector"),
        (ABOUT | {"config": "[]"}, "its config is no mapping"),
        (ABOUT | {"classes": "[1]"}, "its classes are no list of names"),
        (ABOUT | {"step": "x"}, "not a whole detector"),
        (ABOUT, "model: Field required"),
    ],
)
def test_other_safetensors_are_refused(about: dict[str, str], message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"w": torch.zeros(1)}, path, about)
    with pytest.raises(ValueError, match=message) as error:
        detkit.load(path)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 64, (2**40).to_bytes(8, "little") + b"{}"])
def test_damaged_files_are_refused(content: bytes, tmp_path: Path) -> None:
    for name, read in {"m.safetensors": load_model, "m.onnx": OnnxDetector, "m.pt2": TorchExportDetector}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}: not .*, or damaged"):
            read(tmp_path / name)


def test_an_onnx_file_of_another_tool(tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    other = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [value], [other])
    opset = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path / "other.onnx")
    with pytest.raises(ValueError, match=r"other\.onnx: detkit export of this version of detkit did not write it"):
        OnnxDetector(tmp_path / "other.onnx")


# What has no graph


def test_detectors_without_a_graph_are_refused(tmp_path: Path) -> None:
    staged = {"kind": "sppnet", "backbone": VGG, "proposals": {"kind": "edge_boxes"}, "noc": {"convs": 0, "fc_dim": 8}}
    first = predictor(staged)
    svms = Predictor(build_staged_detector(first.config, 2), CLASSES, first.config, CPU)
    scales = predictor(MODELS["align"] | {"scales": {"sides": [48, 64]}})
    for export, name in ((export_onnx, "d.onnx"), (export_torch, "d.pt2")):
        with pytest.raises(ValueError, match=r"sppnet: .* export this detector as safetensors"):
            export(svms, tmp_path / name)
        with pytest.raises(ValueError, match=r"faster_rcnn with model\.scales: .* export this detector as safetensors"):
            export(scales, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_files_of_another_suffix_are_refused(tmp_path: Path) -> None:
    some = predictor(MODELS["align"])
    with pytest.raises(ValueError, match=r"d\.bin: the name of this file is to end with \.onnx"):
        export_onnx(some, tmp_path / "d.bin")
    with pytest.raises(ValueError, match=r"d\.pt: the name of this file is to end with \.pt2"):
        export_torch(some, tmp_path / "d.pt")
    with pytest.raises(ValueError, match=r"d: the name of this file is to end with \.safetensors"):
        export_safetensors(tmp_path, tmp_path / "d")
