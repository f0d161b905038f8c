"""detectron2's C4 detectors: the same detections as in detectron2, and what is said of its other models."""

import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor

import detkit
from detkit.backbones.resnet import resnet
from detkit.commands.import_weights import import_weights
from detkit.config.loading import parse_config
from detkit.ops.anchors import cell_anchors
from detkit.structures import Batch
from detkit.weights.class_lists import COCO_CLASSES, VOC_CLASSES
from detkit.weights.detectron2 import convert
from detkit.weights.imported import Imported, ImportedBackbone, WeightFile
from tests.weights.detectron2_reference import Weights, detect, random_weights, spread

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
RPN, BOX = "proposal_generator.rpn_head", "roi_heads.box_predictor"


def blank(*shape: int) -> Tensor:
    """Zeros that take no memory."""
    return torch.zeros(()).expand(shape)


def conv(name: str, *shape: int) -> Weights:
    norm = {f"{name}.norm.{part}": blank(shape[0]) for part in ("weight", "bias", "running_mean", "running_var")}
    return {f"{name}.weight": blank(*shape)} | norm


def state(depth: int, num_classes: int) -> Weights:
    """A whole detector by detectron2's names, of zeros."""
    weights, inputs, width = conv("backbone.stem.conv1", 64, 3, 7, 7), 64, 64
    for stage, count in enumerate(BLOCKS[depth], start=2):
        prefix = f"roi_heads.res{stage}" if stage == 5 else f"backbone.res{stage}"
        weights |= conv(f"{prefix}.0.shortcut", 4 * width, inputs, 1, 1)
        for i in range(count):
            weights |= conv(f"{prefix}.{i}.conv1", width, inputs, 1, 1)
            weights |= conv(f"{prefix}.{i}.conv2", width, width, 3, 3)
            weights |= conv(f"{prefix}.{i}.conv3", 4 * width, width, 1, 1)
            inputs = 4 * width
        width *= 2
    shapes = {
        f"{RPN}.conv": (1024, 1024, 3, 3),
        f"{RPN}.objectness_logits": (15, 1024, 1, 1),
        f"{RPN}.anchor_deltas": (60, 1024, 1, 1),
        f"{BOX}.cls_score": (num_classes + 1, 2048),
        f"{BOX}.bbox_pred": (4 * num_classes, 2048),
    }
    for name, shape in shapes.items():
        weights |= {f"{name}.weight": blank(*shape), f"{name}.bias": blank(shape[0])}
    return weights


def converted(tensors: Weights) -> Imported | ImportedBackbone | None:
    return convert(WeightFile(Path("model.pkl"), "pickle with 'model'", tensors))


@pytest.mark.slow
def test_detects_what_detectron2_detects(tmp_path: Path) -> None:
    """A file as of detectron2's model zoo, random weights: boxes to 1e-4 px, scores to 1e-5."""
    num_classes = 4
    image = torch.randint(0, 256, (3, 32, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    size = torch.tensor([[32, 64]])
    with torch.no_grad():
        weights = spread(random_weights(num_classes, seed=1), image)
        boxes, scores, labels, num_suppressed = detect(weights, image, num_classes)
    assert len(scores) > 20 and len(labels.unique()) == num_classes and num_suppressed > 5  # not trivial
    old = {  # as older files have them beside the weights
        "pixel_mean": torch.tensor([103.53, 116.28, 123.675]).view(3, 1, 1),
        "pixel_std": torch.ones(3, 1, 1),
        "proposal_generator.anchor_generator.cell_anchors.0": torch.from_numpy(
            cell_anchors((32, 64, 128, 256, 512), (0.5, 1, 2))
        ),
    }
    content = {name: value.numpy() for name, value in (weights | old).items()}
    file, out = tmp_path / "model_final.pkl", tmp_path / "model.pt"
    file.write_bytes(pickle.dumps({"model": content, "__author__": "Detectron2 Model Zoo"}))
    told = import_weights(file, out, classes=["ant", "bee", "cat", "dog"])
    assert "detectron2's Faster R-CNN R50-C4 with 4 classes" in told
    predictor = detkit.load(out, device="cpu")
    assert predictor.classes == ("ant", "bee", "cat", "dog")
    [found] = predictor.detector.detect(Batch(image[None], size, size, ("image",)))
    assert torch.equal(found.labels, labels)
    torch.testing.assert_close(found.scores, scores, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.boxes, boxes, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("depth", "num_classes", "classes"),
    [(101, 80, COCO_CLASSES), (50, 20, VOC_CLASSES), (50, 2, ("class_1", "class_2"))],
)
def test_depth_and_classes_are_read_off_the_tensors(depth: int, num_classes: int, classes: tuple[str, ...]) -> None:
    made = converted(state(depth, num_classes))
    assert isinstance(made, Imported) and made.classes == classes
    assert made.kind == f"detectron2's Faster R-CNN R{depth}-C4 with {num_classes} classes"
    config = parse_config(made.config, "imported")
    assert config.data.kind == ("voc" if num_classes == 20 else "coco")
    assert made.config["data"]["classes"] == list(classes)
    backbone = made.config["model"]["backbone"]
    assert (backbone["depth"], backbone["layout"], backbone["weights"]) == (depth, "msra", None)
    assert made.weights["features.layer3.1.conv2.weight"].shape == (256, 256, 3, 3)
    assert made.weights["head.tail.layer4.0.downsample.1.running_var"].shape == (2048,)


def test_what_is_missing_or_left_over_is_named() -> None:
    tensors = state(50, 3)
    for changed, message in {
        "backbone.res3.0.shortcut.norm.bias": r"1 tensors missing \(backbone\.res3\.0\.shortcut\.norm\.bias\)",
        f"{BOX}.cls_score.bias": r"1 tensors missing \(roi_heads\.box_predictor\.cls_score\.bias\)",
        f"{RPN}.anchor_deltas.weight": r"1 tensors missing \(proposal_generator\.rpn_head\.anchor_deltas\.weight\)",
    }.items():
        with pytest.raises(ValueError, match=message):
            converted({name: value for name, value in tensors.items() if name != changed})
    with pytest.raises(ValueError, match=r"1 tensors that this network has not \(roi_heads\.extra\)"):
        converted(tensors | {"roi_heads.extra": blank(1)})


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        (
            f"{RPN}.objectness_logits.weight",
            (9, 1024, 1, 1),
            r"objectness_logits\.weight is \(9, 1024, 1, 1\), expected",
        ),
        (f"{BOX}.bbox_pred.weight", (4, 2048), r"bbox_pred\.weight is \(4, 2048\), expected \(12, 2048\)"),
        ("backbone.res2.0.conv2.weight", (128, 4, 3, 3), r"res2\.0\.conv2\.weight is .*, expected \(64, 64, 3, 3\)"),
        (f"{BOX}.cls_score.bias", (1,), "no class beside the background"),
    ],
)
def test_other_shapes_are_named(name: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        converted(state(50, 3) | {name: blank(*shape)})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("pixel_mean", torch.tensor([123.675, 116.28, 103.53]), "pixel_mean is .*not started from detectron2's MSRA"),
        ("pixel_std", torch.tensor([57.375, 57.12, 58.395]), r"pixel_std is .*, expected \[1\.0, 1\.0, 1\.0\]"),
        (
            "proposal_generator.anchor_generator.cell_anchors.0",
            torch.zeros(15, 4),
            "its anchors are not those of sizes",
        ),
    ],
)
def test_other_conventions_are_refused(name: str, value: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        converted(state(50, 3) | {name: value})


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("backbone.fpn_lateral2.weight", "a detectron2 model with FPN"),
        ("backbone.bottom_up.stem.conv1.weight", "FPN or a backbone of its own"),
        ("roi_heads.mask_head.deconv.weight", "a detectron2 Mask R-CNN"),
        ("roi_heads.keypoint_head.conv_fcn1.weight", "a detectron2 Keypoint R-CNN"),
        ("roi_heads.box_head.fc1.weight", "FPN, DC5 or Cascade"),
        ("head.cls_subnet.0.weight", "a detectron2 RetinaNet"),
        ("sem_seg_head.p2.0.weight", "a detectron2 segmentation model"),
        ("backbone.body.conv1.weight", "a detector of torchvision"),
    ],
)
def test_other_models_are_refused_by_what_they_are(name: str, what: str) -> None:
    with pytest.raises(ValueError, match=f"{what}.*which detkit does not have"):
        converted(state(50, 3) | {name: blank(1)})


def test_other_depths_are_refused() -> None:
    tensors = {n: v for n, v in state(50, 3).items() if not n.startswith("backbone.res4.5.")}
    with pytest.raises(ValueError, match=r"its stages have \[3, 4, 5, 3\] blocks"):
        converted(tensors)


def test_other_files_are_left_to_other_converters() -> None:
    assert converted({"conv1.weight": blank(64, 3, 7, 7)}) is None


def test_torchvisions_network_under_detectron2s_names() -> None:
    """As detectron2's convert-torchvision-to-d2.py writes it."""
    own = resnet(50, "torchvision", "frozen", 2, None)
    tensors = {
        name.replace("backbone.", "").replace("roi_heads.", ""): value
        for name, value in state(50, 3).items()
        if ".res" in name or ".stem" in name
    }
    made = converted(tensors | {"stem.fc.weight": blank(1000, 2048), "stem.fc.bias": blank(1000)})
    assert isinstance(made, ImportedBackbone)
    assert made.section == {"kind": "resnet", "depth": 50, "layout": "torchvision"}
    assert made.weights.keys() == own.features.state_dict().keys() | own.tail.state_dict().keys()
