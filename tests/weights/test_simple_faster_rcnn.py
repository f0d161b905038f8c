"""Checkpoints of simple-faster-rcnn-pytorch: detections as there, with its two kinds of pixels, and files unlike it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from detkit.structures import Batch
from detkit.weights.imported import Imported, WeightFile
from detkit.weights.simple_faster_rcnn import convert
from detkit.weights.weight_file import read_weight_file
from tests.weights import simple_faster_rcnn_reference as reference
from tests.weights.test_caffe_detectors import detector_of, noise_image

CHANNELS = (8, 16, 32, 64, 64)


def state_dict(first_gain: float, seed: int = 0) -> dict[str, Tensor]:
    """A VGG-16 of an eighth of the channels whose random weights find things."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}

    def add(name: str, *shape: int, gain: float = 2.0) -> None:
        fan_in = torch.Size(shape[1:]).numel()
        state[f"{name}.weight"] = torch.randn(shape, generator=generator) * (gain / fan_in) ** 0.5
        state[f"{name}.bias"] = torch.randn(shape[0], generator=generator) * 0.1

    layer, before = 0, 3
    for channels, count in zip(CHANNELS, reference.CONVOLUTIONS, strict=True):
        layer += 1 if layer else 0
        for _ in range(count):
            add(f"extractor.{layer}", channels, before, 3, 3)
            layer, before = layer + 2, channels
    state["extractor.0.weight"] *= first_gain
    add("rpn.conv1", 40, before, 3, 3)
    add("rpn.score", 18, 40, 1, 1)
    add("rpn.loc", 36, 40, 1, 1, gain=0.0003)
    add("head.classifier.0", 48, before * 49)
    add("head.classifier.2", 48, 48)
    add("head.cls_loc", 84, 48, gain=0.03)
    add("head.score", 21, 48, gain=0.5)
    return state


def imported(path: Path, state: dict[str, Tensor]) -> Imported:
    torch.save({"model": state, "config": {}, "vis_info": None}, path)
    found = convert(read_weight_file(path))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "gain"), [("fasterrcnn_torchvision.pth", 2.0), ("fasterrcnn_caffe_pretrain.pth", 1 / 30)]
)
def test_detections_are_those_of_the_original(tmp_path: Path, name: str, gain: float) -> None:
    state, image = state_dict(gain), noise_image()
    found = imported(tmp_path / name, state)
    wanted = sorted(reference.detect(state, image, caffe="caffe" in name), key=lambda one: -one[1])
    assert len({label for label, _, _ in wanted}) >= 3 and len(wanted) > 15
    sizes = torch.tensor([image.shape[:2]])
    batch = Batch(torch.from_numpy(image).permute(2, 0, 1)[None], sizes, sizes, ("image",))
    ours = detector_of(found).detect(batch)[0]
    assert ours.labels.tolist() == [label for label, _, _ in wanted]
    np.testing.assert_allclose(ours.scores.numpy(), [score for _, score, _ in wanted], atol=1e-5, rtol=0)
    boxes = np.stack([box[[1, 0, 3, 2]] for _, _, box in wanted])
    np.testing.assert_allclose(ours.boxes.numpy(), boxes, atol=1e-4, rtol=0)


def test_dropout_moves_fc7(tmp_path: Path) -> None:
    state = state_dict(2.0)
    plain = imported(tmp_path / "a.pth", state)
    moved = {name.replace("classifier.2", "classifier.3"): value for name, value in state.items()}
    dropped = imported(tmp_path / "b.pth", moved)
    assert all(torch.equal(plain.weights[name], value) for name, value in dropped.weights.items())


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    state = state_dict(2.0)
    with pytest.raises(ValueError, match=r"extractor\.5\.weight is \(3,\), expected \(16, 8, 3, 3\)"):
        imported(tmp_path / "a.pth", state | {"extractor.5.weight": torch.zeros(3)})
    with pytest.raises(ValueError, match=r"0 tensors missing, 1 tensors that this network has not \(mask\)"):
        imported(tmp_path / "a.pth", state | {"mask": torch.zeros(3)})
    with pytest.raises(ValueError, match="expected VGG-16"):
        imported(tmp_path / "a.pth", {name: v for name, v in state.items() if name != "extractor.28.weight"})
    with pytest.raises(ValueError, match=r"rpn\.conv1\.weight is missing"):
        imported(tmp_path / "a.pth", {name: v for name, v in state.items() if name != "rpn.conv1.weight"})
    assert convert(WeightFile(Path("a.pth"), "torch file", {"head.score.weight": torch.zeros(3)})) is None
