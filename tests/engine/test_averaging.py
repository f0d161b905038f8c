"""The averaged double of a model."""

import pytest
import torch
from torch import nn

from detkit.engine.averaging import WeightAverage


def scalar(value: float) -> nn.Linear:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, value)
    return layer


def test_the_decay_is_small_at_the_start() -> None:
    """Decay (1 + step) / (10 + step): 0.1, then 2 / 11; weights 0, then 1, 1."""
    average = WeightAverage(scalar(0.0), decay=0.9)
    average.update(scalar(1.0), step=0)
    assert average.model.weight.item() == pytest.approx(0.9)
    average.update(scalar(1.0), step=1)
    assert average.model.weight.item() == pytest.approx(1 - 0.1 * 2 / 11)


def test_the_decay_ends_at_what_was_asked_for() -> None:
    average = WeightAverage(scalar(0.0), decay=0.75)
    average.update(scalar(1.0), step=10_000)
    assert average.model.weight.item() == pytest.approx(0.25)


def test_the_double_is_separate_frozen_and_in_eval_mode() -> None:
    model = nn.Sequential(scalar(1.0), nn.BatchNorm1d(1)).train()
    average = WeightAverage(model, decay=0.9)
    nn.init.constant_(model[0].weight, 5.0)
    assert average.model[0].weight.item() == 1.0
    assert model.training and not average.model.training
    assert all(not p.requires_grad for p in average.model.parameters())
    assert all(p.requires_grad for p in model.parameters())


def test_statistics_are_averaged_and_counters_copied() -> None:
    norm = nn.BatchNorm1d(1)
    average = WeightAverage(norm, decay=0.5)
    norm.running_mean.fill_(4.0)
    norm.num_batches_tracked.fill_(7)
    average.update(norm, step=100)
    assert average.model.running_mean.item() == pytest.approx(2.0)
    assert average.model.num_batches_tracked.item() == 7
    assert average.model.num_batches_tracked.dtype == torch.int64
