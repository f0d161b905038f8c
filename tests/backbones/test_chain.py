"""A chain: its order, and that what is frozen stays as it is."""

import copy

import pytest
import torch
from torch import nn

from detkit.backbones.chain import Chain, first


def parts() -> list[tuple[str, nn.Module]]:
    return [("conv", nn.Conv2d(3, 4, 1)), ("norm", nn.BatchNorm2d(4)), ("last", nn.Sequential(nn.BatchNorm2d(4)))]


def test_runs_in_order_under_its_names() -> None:
    modules = parts()
    chain, x = Chain(modules, []), torch.randn(2, 3, 4, 4)
    assert [name for name, _ in chain.named_children()] == ["conv", "norm", "last"]
    assert torch.equal(chain.eval()(x), modules[2][1](modules[1][1](modules[0][1](x))))
    assert first(modules, 2) == [modules[0][1], modules[1][1]] and first(modules, 0) == []


@pytest.mark.parametrize("num_frozen", [0, 1, 2, 3])
def test_what_is_frozen_neither_trains_nor_counts(num_frozen: int) -> None:
    modules = parts()
    chain = Chain(modules, first(modules, num_frozen))
    frozen = tuple(f"{name}." for name, _ in modules[:num_frozen])
    for name, parameter in chain.named_parameters():
        assert parameter.requires_grad == (not name.startswith(frozen)), name
    for prepare in (lambda: None, chain.train, lambda: chain.eval().train()):
        prepare()
        before = copy.deepcopy(dict(chain.named_buffers()))
        chain(torch.randn(2, 3, 4, 4))
        for name, buffer in chain.named_buffers():
            assert torch.equal(buffer, before[name]) == name.startswith(frozen), name


def test_a_module_inside_another_can_be_frozen() -> None:
    modules = parts()
    inner = next(modules[2][1].children())
    chain = Chain(modules, [inner]).train()
    assert not inner.training and chain.norm.training
    assert [name for name, p in chain.named_parameters() if not p.requires_grad] == ["last.0.weight", "last.0.bias"]
