"""Pre-activation ResNet: timm's resnetv2 beside it, what is frozen, a sane random start."""

from pathlib import Path

import pytest
import torch
from torch import nn

from detkit.backbones.norms import Norm
from detkit.backbones.preresnet import preresnet


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("norm", ["frozen", "batch"])
@torch.no_grad()
def test_is_timms_resnetv2(depth: int, norm: Norm, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(depth)
    network = timm.create_model(f"resnetv2_{depth}").eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.0)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    backbone = preresnet(depth, norm, 0, str(tmp_path / "weights.pth"))
    images = torch.randn(1, 3, 224, 224)
    features = backbone.features.eval()(images)
    assert features.shape == (1, backbone.channels, backbone.pool_size, backbone.pool_size)
    vectors = backbone.tail.eval()(features)
    torch.testing.assert_close(vectors, network.forward_head(network.forward_features(images), pre_logits=True))
    assert vectors.shape == (1, backbone.tail_dim) and float(vectors.std()) > 1e-3


def test_shapes_of_the_deepest() -> None:
    with torch.device("meta"):
        backbone = preresnet(200, "batch", 0, None)
        assert backbone.features(torch.zeros(1, 3, 65, 33)).shape == (1, 1024, 5, 3)
        assert backbone.tail(torch.zeros(0, 1024, 14, 14)).shape == (0, 2048)
    convolutions = [m for part in (backbone.features, backbone.tail) for m in part.modules() if type(m) is nn.Conv2d]
    assert len(convolutions) == 199 + 4  # without the classifier, with the shortcuts of the four stages


@pytest.mark.parametrize("frozen_stages", range(5))
def test_frozen_stages(frozen_stages: int) -> None:
    backbone = preresnet(18, "batch", frozen_stages, None)
    stages = ("stem.", "stage1.", "stage2.", "stage3.")
    for name, parameter in backbone.features.named_parameters():
        assert parameter.requires_grad == (not name.startswith(stages[:frozen_stages] or ("-",))), name


@pytest.mark.parametrize("norm", ["frozen", "batch", "group"])
@torch.no_grad()
def test_a_random_start_is_sane(norm: Norm) -> None:
    torch.manual_seed(0)
    backbone = preresnet(50, norm, 0, None)
    features = backbone.features(torch.randn(2, 3, 64, 64))
    for values in (features, backbone.tail(features)):
        assert 0.05 < float(values.std()) < 20


def test_wrong_weights(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none for pre-activation ResNets: take .*name=resnetv2_50"):
        preresnet(18, "frozen", 0, "imagenet")
    torch.save({"stem.conv.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"weights\.pth: not the weights of this network: \d+ missing"):
        preresnet(18, "batch", 0, str(tmp_path / "weights.pth"))
