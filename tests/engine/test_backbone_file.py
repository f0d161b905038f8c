"""A backbone's weights out of what detkit trained, and errors for what does not hold them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from detkit.backbones.backbone import Backbone
from detkit.engine import checkpoint
from detkit.engine.backbone_file import load_backbone, read_backbone, save_backbone


def backbone(seed: int, fc_dim: int = 5, channels: int = 4) -> Backbone:
    torch.manual_seed(seed)
    features = nn.Sequential(nn.Conv2d(3, channels, 3), nn.BatchNorm2d(channels))
    features[1].running_mean.normal_()
    tail = nn.Sequential(nn.Flatten(), nn.Linear(channels, fc_dim))
    return Backbone(nn.Identity(), features, tail, stride=1, channels=channels, pool_size=1, tail_dim=fc_dim)


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def detector_file(path: Path, kind: str, made: Backbone) -> Path:
    weights: dict[str, Tensor] = {f"features.{k}": v for k, v in made.features.state_dict().items()}
    weights |= {f"head.tail.{k}": v for k, v in made.tail.state_dict().items()}
    weights |= {"head.classifier.weight": torch.zeros(3, 5), "proposals.conv.weight": torch.zeros(1)}
    checkpoint.save_model(checkpoint.SavedModel({"model": {"kind": kind}}, ("a",), weights, 7), path)
    return path


def test_there_and_back(tmp_path: Path) -> None:
    made, other = backbone(1), backbone(2)
    save_backbone(made, tmp_path / "backbone.pt")
    weights = read_backbone(tmp_path / "backbone.pt")
    assert weights is not None
    load_backbone(other, weights, "backbone.pt")
    assert same(other.features, made.features) and same(other.tail, made.tail)


@pytest.mark.parametrize("kind", ["fast_rcnn", "faster_rcnn"])
def test_a_backbone_is_taken_out_of_a_detector(tmp_path: Path, kind: str) -> None:
    made = backbone(1)
    path = detector_file(tmp_path / "model.pt", kind, made)
    for given in (path, tmp_path):  # the file, or the run folder
        other, weights = backbone(2), read_backbone(given)
        assert weights is not None and {name.split(".")[0] for name in weights} == {"features", "tail"}
        load_backbone(other, weights, "run")
        assert same(other.features, made.features) and same(other.tail, made.tail)


@pytest.mark.parametrize("kind", ["rcnn", "sppnet"])
def test_a_staged_detector_gives_none(tmp_path: Path, kind: str) -> None:
    path = detector_file(tmp_path / "model.pt", kind, backbone(1))
    with pytest.raises(ValueError, match=f"a {kind} detector; backbones are taken from Fast and Faster R-CNN"):
        read_backbone(path)


def test_what_detkit_did_not_write_is_left_to_the_backbones_own_reader(tmp_path: Path) -> None:
    torch.save(backbone(1).features.state_dict(), tmp_path / "plain.pt")
    (tmp_path / "text.pt").write_text("no weights")
    (tmp_path / "empty").mkdir()
    for name in ("plain.pt", "text.pt", "empty", "missing.pt"):
        assert read_backbone(tmp_path / name) is None, name


def test_a_file_of_another_version_is_told(tmp_path: Path) -> None:
    checkpoint.save({"format": "detkit-backbone-0", "weights": {}}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"a\.pt: .*detkit-backbone-0"):
        read_backbone(tmp_path / "a.pt")


def test_another_tail_keeps_its_start(tmp_path: Path) -> None:
    save_backbone(backbone(1), tmp_path / "backbone.pt")
    weights = read_backbone(tmp_path / "backbone.pt")
    assert weights is not None
    wider, untouched = backbone(2, fc_dim=6), backbone(2, fc_dim=6)
    load_backbone(wider, weights, "backbone.pt")
    assert same(wider.features, backbone(1).features) and same(wider.tail, untouched.tail)


def test_another_network_is_told(tmp_path: Path) -> None:
    save_backbone(backbone(1), tmp_path / "backbone.pt")
    weights = read_backbone(tmp_path / "backbone.pt")
    assert weights is not None
    for wrong in (weights | {"features.9.weight": torch.zeros(1)}, {}):
        with pytest.raises(ValueError, match=r"model\.backbone\.weights: backbone\.pt holds another network"):
            load_backbone(backbone(2), wrong, "backbone.pt")
    with pytest.raises(ValueError, match="holds another network"):
        load_backbone(backbone(2, channels=5), weights, "backbone.pt")
