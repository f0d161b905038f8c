"""Weights: names, kinds of file, the random start. What is refused is tested with each network."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from detkit.backbones.weights import file_state, load, random_start, renamed


def test_renamed() -> None:
    value = torch.zeros(1)
    state = {"classifier.0.bias": value, "classifier.10.bias": value, "features.0.bias": value}
    assert list(renamed(state, {"classifier.0.": "tail.fc6."})) == [
        "tail.fc6.bias",
        "classifier.10.bias",
        "features.0.bias",
    ]
    assert renamed({}, {"a": "b"}) == {}


def test_both_kinds_of_file(tmp_path: Path) -> None:
    state = {"weight": torch.randn(2, 3)}
    torch.save(state, tmp_path / "a.pth")
    save_file(state, tmp_path / "a.safetensors")
    for name in ("a.pth", "a.safetensors"):
        assert torch.equal(file_state(str(tmp_path / name))["weight"], state["weight"])
    (tmp_path / "b.safetensors").write_bytes(b"not one")
    with pytest.raises(ValueError, match=r"b\.safetensors: not a file of safetensors"):
        file_state(str(tmp_path / "b.safetensors"))


def test_load_leaves_the_classifier_and_counters_out() -> None:
    network = nn.ModuleDict({"norm": nn.BatchNorm2d(2), "fc": nn.Linear(2, 2)})
    norm = {"norm.weight": torch.ones(2), "norm.bias": torch.full((2,), 3.0)}
    norm |= {"norm.running_mean": torch.zeros(2), "norm.running_var": torch.ones(2)}
    load(network, norm | {"fc.weight": torch.zeros(9, 9)}, "source", unused=("fc.",))
    assert network["norm"].bias.tolist() == [3, 3]
    with pytest.raises(ValueError, match=r"source: .*2 missing \['fc\.weight', 'fc\.bias'\]"):
        load(network, norm, "source", unused=("head.",))


@torch.no_grad()
def test_a_random_start_keeps_the_strength_of_its_input() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(*[m for _ in range(20) for m in (nn.Linear(200, 200), nn.ReLU())])
    x = torch.randn(50, 200)
    assert float(network(x).square().mean()) < 0.01  # torch's own start dies out
    random_start(network)
    assert 0.1 < float(network(x).square().mean()) < 10
    random_start(network, pixel_std=58)
    assert 0.1 < float(network(58 * x).square().mean()) < 10
