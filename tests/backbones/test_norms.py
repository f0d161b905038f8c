"""Norms: which layer, and the start of frozen ones."""

import pytest
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from detkit.backbones.norms import Norm, batch_norms, calibrate, norm_layer


@pytest.mark.parametrize(
    ("norm", "kind"), [("frozen", FrozenBatchNorm2d), ("batch", nn.BatchNorm2d), ("group", nn.GroupNorm)]
)
def test_layers(norm: Norm, kind: type[nn.Module]) -> None:
    layer = norm_layer(norm)(64)
    assert type(layer) is kind and layer(torch.randn(2, 64, 3, 3)).shape == (2, 64, 3, 3)


def test_batch_norms_are_found_at_any_depth() -> None:
    inner, outer = nn.BatchNorm2d(2), nn.BatchNorm2d(2)
    assert batch_norms(nn.Sequential(nn.Sequential(inner, nn.GroupNorm(1, 2)), outer)) == [inner, outer]


@torch.no_grad()
def test_calibrated_norms_keep_a_network_at_strength_one() -> None:
    torch.manual_seed(0)
    layers = [m for _ in range(40) for m in (nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())]
    network = nn.Sequential(nn.Conv2d(3, 8, 1), *layers)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=1.0)  # the 72 inputs of a 3x3 convolution make 8 of 1, forty times
    x = torch.randn(2, 3, 32, 32)
    assert float(network.eval()(x).std()) > 1e10
    calibrate(network, 32, 32)
    assert network.training
    assert 0.05 < float(network.eval()(x).std()) < 5
    assert 0.05 < float(network(0.5 * x + 1).std()) < 50  # other images do not blow up either
