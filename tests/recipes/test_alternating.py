"""4-step alternating training: the phases share what they should, and go on where they were stopped."""

from pathlib import Path
from typing import Any

import pytest
import torch

from detkit.build.detector import build_detector
from detkit.commands.train import train
from detkit.config.loading import ConfigError, parse_config
from detkit.config.schema import Config
from detkit.config.train import Train
from detkit.engine.checkpoint import load_model
from detkit.predictor import load
from detkit.recipes import alternating
from detkit.recipes.alternating import PHASES, PhaseModel, phase_settings
from detkit.recipes.session import Session


@pytest.fixture
def content(tiny: dict[str, Any]) -> dict[str, Any]:
    tiny["train"] |= {"kind": "alternating", "alternating_steps": [2, 3, 2, 3], "lr_batch": 2}
    return tiny


def test_phases_are_as_long_as_in_the_published_code(tiny_config: Config) -> None:
    train = tiny_config.train.model_copy(update={"steps": 70_000})
    train = train.model_copy(
        update={"schedule": train.schedule.model_copy(update={"drops": (50_000,)}), "eval_every": 5}
    )
    settings = phase_settings(train)
    assert [phase.steps for phase in settings] == [80_000, 40_000, 80_000, 40_000]
    assert [phase.schedule.drops for phase in settings] == [(57_143,), (28_571,), (57_143,), (28_571,)]
    assert {phase.eval_every for phase in settings} == {None}
    named = train.model_copy(update={"alternating_steps": (7, 5, 3, 1)})
    assert [phase.steps for phase in phase_settings(named)] == [7, 5, 3, 1]


def test_the_last_two_phases_leave_the_convolutions_as_they_are(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    states: dict[str, dict[str, torch.Tensor]] = {}
    fit = Session.fit

    def watched(self: Session, model: torch.nn.Module, settings: Train, *arguments: Any) -> None:
        fit(self, model, settings, *arguments)
        states[arguments[-1]] = {name: value.clone() for name, value in model.state_dict().items()}

    monkeypatch.setattr(Session, "fit", watched)
    train(parse_config(content, "x"), folder)
    assert tuple(states) == PHASES

    def features(phase: str) -> list[torch.Tensor]:
        return [value for name, value in states[phase].items() if name.startswith("features.")]

    def same(one: str, other: str) -> bool:
        return all(torch.equal(a, b) for a, b in zip(features(one), features(other), strict=True))

    assert same("detector_2", "rpn_3") and same("rpn_3", "detector_4")
    assert not same("rpn_1", "detector_2")  # two networks, before they share
    final = load_model(folder).weights
    learned = {name.removeprefix("learner."): value for name, value in states["rpn_3"].items() if "learner" in name}
    assert all(torch.equal(final[f"proposals.{name}"], value) for name, value in learned.items())
    learned = {
        name.removeprefix("learner."): value for name, value in states["detector_4"].items() if "learner" in name
    }
    assert all(torch.equal(final[f"head.{name}"], value) for name, value in learned.items())
    assert not list(folder.rglob("checkpoint.pt"))
    assert len(load(folder).predict([torch.zeros(3, 40, 50, dtype=torch.uint8)], 0.0)) == 1


@pytest.mark.parametrize("phase", range(4))
def test_stopped_in_any_phase_it_ends_as_undisturbed(
    phase: int, content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = parse_config(content, "x")
    train(config, tmp_path / "whole")
    fit = Session.fit

    def stopping(self: Session, model: torch.nn.Module, settings: Train, dataset: Any, name: str) -> None:
        if name == PHASES[phase]:
            short = settings.model_copy(update={"steps": 2})
            fit(self, model, short.model_copy(update={"schedule": settings.schedule}), dataset, name)
            raise KeyboardInterrupt
        fit(self, model, settings, dataset, name)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "fit", stopping)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "stopped")
    train(config, tmp_path / "stopped")
    whole, again = (load_model(tmp_path / name).weights for name in ("whole", "stopped"))
    assert all(torch.equal(again[name], value) for name, value in whole.items())


def test_it_is_for_faster_rcnn_alone(content: dict[str, Any]) -> None:
    content["model"] = {"kind": "fast_rcnn", "proposals": {"kind": "selective_search"}} | {
        key: content["model"][key] for key in ("backbone", "pool")
    }
    with pytest.raises(ConfigError, match=r"alternating is for a faster_rcnn, model.kind is fast_rcnn"):
        parse_config(content, "x")


def test_shared_convolutions_stay_in_eval_mode(content: dict[str, Any]) -> None:
    detector = build_detector(parse_config(content, "x"), 2)
    part = PhaseModel(detector, is_rpn=True, share_features=True).train()
    assert part.learner.training and not part.features.training
    assert not any(p.requires_grad for p in part.features.parameters())
    assert alternating.STEPS == (80_000, 40_000, 80_000, 40_000)  # py-faster-rcnn, train_faster_rcnn_alt_opt.py
