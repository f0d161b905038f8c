"""A backbone from crops: what is saved is what detectors start from."""

from pathlib import Path
from typing import Any

import pytest
import torch

from detkit.build.backbone import build_backbone
from detkit.build.detector import build_detector
from detkit.commands.pretrain import pretrain
from detkit.config.loading import parse_config
from detkit.engine.checkpoint import load


def test_detectors_start_from_it(tiny: dict[str, Any], tmp_path: Path) -> None:
    path = pretrain(parse_config(tiny, "x"), tmp_path / "pretrained", steps=2, side=32, grid=2)
    saved = load(path)["weights"]
    tiny["model"]["backbone"]["weights"] = str(path)
    config = parse_config(tiny, "x")
    detector = build_detector(config, 2)
    for name, value in detector.features.state_dict().items():
        assert torch.equal(value, saved[f"features.{name}"])
    for name, value in detector.head.tail.state_dict().items():
        assert torch.equal(value, saved[f"tail.{name}"])
    random = build_backbone(config.model.backbone.model_copy(update={"weights": None}))
    assert not torch.equal(random.features.conv1.weight, saved["features.conv1.weight"])


def test_a_run_gives_its_backbone_too(finished_run: Path, tiny: dict[str, Any], tmp_path: Path) -> None:
    tiny["model"]["backbone"]["weights"] = str(finished_run)
    detector = build_detector(parse_config(tiny, "x"), 5)  # whatever the classes are
    saved = load(finished_run / "model.pt")["weights"]
    assert torch.equal(detector.features.conv1.weight, saved["features.conv1.weight"])


def test_another_network_is_refused(tiny: dict[str, Any], finished_run: Path) -> None:
    tiny["model"]["backbone"] |= {"weights": str(finished_run), "depth": 34}
    with pytest.raises(ValueError, match=r"model.backbone.weights: .* holds another network"):
        build_detector(parse_config(tiny, "x"), 2)


def test_the_same_command_finds_it_finished(tiny: dict[str, Any], tmp_path: Path) -> None:
    config = parse_config(tiny, "x")
    first = load(pretrain(config, tmp_path, steps=2, side=32, grid=2))["weights"]
    train_log = (tmp_path / "pretraining" / "log.jsonl").read_text()
    second = load(pretrain(config, tmp_path, steps=2, side=32, grid=2))["weights"]
    assert all(torch.equal(second[name], value) for name, value in first.items())
    assert (tmp_path / "pretraining" / "log.jsonl").read_text() == train_log
