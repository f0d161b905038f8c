"""AlexNet and GoogLeNet: torchvision's own networks beside them, what is frozen, training."""

from pathlib import Path
from typing import Literal

import pytest
import torch
import torchvision
from torch import nn

from detkit.backbones.backbone import Normalize
from detkit.backbones.torchvision_backbone import torchvision_backbone


@torch.no_grad()
def test_alexnet_is_torchvisions(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = torchvision.models.alexnet().eval()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    backbone = torchvision_backbone("alexnet", str(tmp_path / "weights.pth"))
    images = torch.randn(1, 3, 224, 224)
    features = backbone.features.eval()(images)
    assert features.shape == (1, backbone.channels, 13, 13)
    pool5 = network.features[-1](features)
    assert pool5.shape[2] == backbone.pool_size and torch.equal(pool5, network.features(images))
    vectors = network.classifier[:-1](pool5.flatten(1))
    assert vectors.shape == (1, backbone.tail_dim)
    torch.testing.assert_close(backbone.tail.eval()(pool5), vectors)


@torch.no_grad()
def test_googlenet_is_torchvisions(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = torchvision.models.googlenet(init_weights=False, transform_input=True).eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)  # torch's own start dies out on the way
    nn.init.zeros_(network.fc.bias)
    nn.init.eye_(network.fc.weight)  # the first 1,000 of the 1,024 values come out
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    backbone = torchvision_backbone("googlenet", str(tmp_path / "weights.pth"))
    images = torch.randint(0, 256, (1, 3, 224, 224), dtype=torch.uint8)
    features = backbone.features.eval()(backbone.preprocess(images, torch.tensor([[224, 224]])))
    assert features.shape == (1, backbone.channels, backbone.pool_size, backbone.pool_size)
    vectors = backbone.tail.eval()(features)
    assert vectors.shape == (1, backbone.tail_dim) and float(vectors.std()) > 1e-4
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])  # torchvision's recipe
    theirs = (images / 255 - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    torch.testing.assert_close(vectors[:, :1000], network(theirs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "trained"), [("alexnet", 3), ("googlenet", "inception3a")])
def test_frozen_stages(name: Literal["alexnet", "googlenet"], trained: int | str) -> None:
    """Two stages: conv1 of AlexNet has stride 4, conv2 (layer 3) works at stride 8, as inception 3a does."""
    backbone = torchvision_backbone(name, None, "batch", frozen_stages=2)
    free = [n.split(".")[0] for n, p in backbone.features.named_parameters() if p.requires_grad]
    assert free[0] == str(trained)
    assert all(p.requires_grad for p in backbone.tail.parameters())


@pytest.mark.parametrize("norm", ["frozen", "batch"])
def test_googlenet_trains_from_a_random_start(norm: Literal["frozen", "batch"]) -> None:
    torch.manual_seed(0)
    backbone = torchvision_backbone("googlenet", None, norm)
    assert isinstance(backbone.preprocess, Normalize) and backbone.preprocess.mean.flatten().tolist() == [127.5] * 3
    features = backbone.features(torch.randn(2, 3, 100, 132))
    assert features.shape == (2, 832, 6, 8)
    vectors = backbone.tail(features)
    for values in (features, vectors):
        assert 0.01 < float(values.detach().std()) < 20
    vectors.square().sum().backward()
    for part in (backbone.features, backbone.tail):
        norms = [m for m in part.modules() if isinstance(m, nn.BatchNorm2d)]
        assert norms and all(m.training == (norm == "batch") for m in norms)
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in part.parameters() if p.requires_grad)


def test_weights_of_the_other_are_refused(tmp_path: Path) -> None:
    torch.save({"conv1.conv.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "weights.pth")
    for name in ("alexnet", "googlenet"):
        with pytest.raises(ValueError, match=r"weights\.pth: not the weights of this network: \d+ missing"):
            torchvision_backbone(name, str(tmp_path / "weights.pth"))
