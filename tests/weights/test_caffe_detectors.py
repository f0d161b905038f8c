"""Fast and Faster R-CNN of Caffe: detections as in the original system, and files that do not fit."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from detkit.build.detector import build_detector
from detkit.config.loading import parse_config
from detkit.detectors.two_stage import TwoStageDetector
from detkit.structures import Batch
from detkit.weights.caffe_detectors import convert
from detkit.weights.class_lists import COCO_CLASSES, VOC_CLASSES
from detkit.weights.imported import Imported, WeightFile
from detkit.weights.weight_file import read_weight_file
from tests.weights import caffe_reference as reference
from tests.weights.caffe_writer import write_caffemodel

Layers = dict[str, list[NDArray[np.float32]]]
HEIGHT, WIDTH = 130, 165  # no multiples of 16: poolings round up
NETWORKS = ("vgg16", "zf", "vgg_m")
RPN_CONV = {"vgg16": "rpn_conv/3x3", "zf": "rpn_conv1", "vgg_m": "rpn_conv/3x3"}


def caffe_layers(network: str, num_classes: int = 20, anchors: int = 9, seed: int = 0) -> Layers:
    """A small network of random weights that finds things: offsets of a quarter, scores of several classes."""
    rng = np.random.default_rng(seed)
    layers: Layers = {}

    def add(name: str, *shape: int, gain: float = 2.0, bias: float = 0.1) -> None:
        fan_in = int(np.prod(shape[1:]))
        weight = rng.normal(0, np.sqrt(gain / fan_in), shape)
        layers[name] = [weight.astype(np.float32), rng.normal(0, bias, shape[0]).astype(np.float32)]

    if network == "vgg16":
        before = 3
        for stage, count in reference.VGG16:
            channels = (8, 16, 32, 64, 64)[stage - 1]
            for i in range(1, count + 1):
                add(f"conv{stage}_{i}", channels, before, 3, 3)
                before = channels
        first, cells, fc = "conv1_1", 7, (48, 48)
    else:
        channels_of = {"zf": (12, 32, 48, 48, 32), "vgg_m": (12, 32, 64, 64, 64)}[network]
        before = 3
        for i, (channels, kernel) in enumerate(zip(channels_of, (7, 5, 3, 3, 3), strict=True), start=1):
            add(f"conv{i}", channels, before, kernel, kernel)
            before = channels
        first, cells, fc = "conv1", 6, (64, 64) if network == "zf" else (64, 16)
    layers[first][0] /= 30  # pixels
    add("fc6", fc[0], before * cells**2)
    add("fc7", fc[1], fc[0])
    if anchors:
        add(RPN_CONV[network], 40, before, 3, 3)
        add("rpn_cls_score", 2 * anchors, 40, 1, 1)
        add("rpn_bbox_pred", 4 * anchors, 40, 1, 1, gain=0.0003)
    scores, offsets = {"vgg16": (0.5, 0.0005), "zf": (9.0, 0.05), "vgg_m": (2.0, 0.015)}[network]
    add("cls_score", num_classes + 1, fc[1], gain=scores)  # logits of a deviation of about 2.5
    add("bbox_pred", 4 * (num_classes + 1), fc[1], gain=offsets)  # offsets of one of a tenth to a quarter
    return layers


def noise_image(seed: int = 1) -> NDArray[np.uint8]:
    """Smooth blots and noise, so that places differ."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (HEIGHT // 20 + 2, WIDTH // 20 + 2, 3))
    blots = coarse.repeat(20, axis=0).repeat(20, axis=1)[:HEIGHT, :WIDTH]
    return np.clip(blots + rng.integers(-40, 41, (HEIGHT, WIDTH, 3)), 0, 255).astype(np.uint8)


def imported(path: Path, layers: Mapping[str, list[NDArray[np.float32]]], old: bool = False) -> Imported:
    found = convert(read_weight_file(write_caffemodel(path, layers, old)))
    assert found is not None
    return found


def detector_of(found: Imported) -> TwoStageDetector:
    detector = build_detector(parse_config(found.config, source="imported"), len(found.classes))
    detector.load_state_dict(found.weights)
    return detector.eval()


def assert_same_detections(
    detector: TwoStageDetector,
    image: NDArray[np.uint8],
    wanted: reference.Found,
    proposals: reference.Array | None,
    box_tolerance: float = 1e-4,  # px
) -> None:
    sizes = torch.tensor([image.shape[:2]])
    ours = None if proposals is None else (torch.from_numpy(proposals + np.array([0, 0, 1, 1])).float(),)
    images = torch.from_numpy(image).permute(2, 0, 1)[None]
    found = detector.detect(Batch(images, sizes, sizes, ("image",), None, ours))[0]
    assert sorted(found.labels.tolist()) == sorted(wanted.labels.tolist())
    np.testing.assert_allclose(found.scores.numpy(), wanted.scores, atol=1e-5, rtol=0)
    boxes = found.boxes.double().numpy() - np.array([0, 0, 1, 1])  # to the last px inside
    left = list(range(len(boxes)))  # two regions of the same cells have the same score, so that their order is open
    for box, score, label in zip(wanted.boxes, wanted.scores, wanted.labels, strict=True):
        off = [np.abs(boxes[i] - box).max() if found.labels[i] == label else np.inf for i in left]
        nearest = left.pop(int(np.argmin(off)))
        assert min(off) <= box_tolerance and abs(float(found.scores[nearest]) - score) <= 1e-5


def proposals_in(seed: int) -> reference.Array:
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, [WIDTH - 24, HEIGHT - 24], (120, 2))
    far = np.minimum(corners + rng.integers(20, 110, (120, 2)), [WIDTH - 1, HEIGHT - 1])
    return np.concatenate([corners, far], axis=1).astype(np.float64)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("with_rpn", [True, False])
def test_detections_are_those_of_the_original(tmp_path: Path, network: str, with_rpn: bool) -> None:
    layers = caffe_layers(network, anchors=9 if with_rpn else 0)
    found = imported(tmp_path / "net.caffemodel", layers)
    assert found.kind.startswith("Faster R-CNN on" if with_rpn else "Fast R-CNN on")
    assert found.classes == VOC_CLASSES
    image, proposals = noise_image(), None if with_rpn else proposals_in(2)
    wanted = reference.detect(network, layers, image, proposals)
    assert len(set(wanted.labels.tolist())) >= 3 and len(wanted.labels) > 20
    assert_same_detections(detector_of(found), image, wanted, proposals)


def test_coco_has_smaller_anchors(tmp_path: Path) -> None:
    layers = caffe_layers("vgg16", num_classes=80, anchors=12, seed=3)
    found = imported(tmp_path / "net.caffemodel", layers, old=True)
    assert found.classes == COCO_CLASSES and found.config["model"]["rpn"]["sizes"] == [64, 128, 256, 512]
    wanted = reference.detect("vgg16", layers, noise_image())
    assert len(wanted.labels) > 5
    assert_same_detections(detector_of(found), noise_image(), wanted, None)


def test_other_classes_are_numbered(tmp_path: Path) -> None:
    found = imported(tmp_path / "net.caffemodel", caffe_layers("zf", num_classes=2))
    assert found.classes == ("class_1", "class_2")


@pytest.mark.parametrize(
    ("name", "index", "shape", "message"),
    [
        ("fc7", 0, (48, 47), r"fc7\.0 is \(48, 47\), expected \(48, 48\)"),
        ("bbox_pred", 1, (83,), r"bbox_pred\.1 is \(83,\), expected \(84,\)"),
        ("rpn_cls_score", 0, (14, 40, 1, 1), "7 anchors a cell; known are"),
        ("conv5_1", 0, (600, 64, 3, 3), "600 channels; the published network has 512"),
        ("fc6", 0, (3,), "expected 2 axes"),
    ],
)
def test_other_shapes_are_named(tmp_path: Path, name: str, index: int, shape: tuple[int, ...], message: str) -> None:
    layers = caffe_layers("vgg16")
    layers[name][index] = np.zeros(shape, np.float32)
    with pytest.raises(ValueError, match=message):
        imported(tmp_path / "net.caffemodel", layers)


def test_missing_and_strange_layers_are_named(tmp_path: Path) -> None:
    layers = caffe_layers("vgg16")
    layers["mask"] = layers.pop("fc7")
    with pytest.raises(ValueError, match=r"missing \(fc7\.0, fc7\.1\).*\(mask\.0, mask\.1\)"):
        imported(tmp_path / "net.caffemodel", layers)
    alone = {name: layers[name] for name in ("cls_score", "bbox_pred")}
    with pytest.raises(ValueError, match="unknown network"):
        imported(tmp_path / "net.caffemodel", alone)


def test_what_is_no_detector_is_left_to_others() -> None:
    weights = {"cls_score.0": torch.zeros(3, 4), "bbox_pred.0": torch.zeros(12, 4)}
    assert convert(WeightFile(Path("a.pth"), "torch file", weights)) is None
    assert convert(WeightFile(Path("a.caffemodel"), "caffemodel", {"conv1_1.0": torch.zeros(1)})) is None
