"""Networks of timm: each is cut, trains, and gives what the whole network gives; what cannot be cut says why."""

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from detkit.backbones.backbone import Backbone, Normalize
from detkit.backbones.timm_backbone import timm_backbone

timm = pytest.importorskip("timm")

slow = pytest.mark.slow
NETWORKS = [  # name, channels, tail_dim, offset in px
    ("resnet18", 256, 512, 0.0),
    ("vit_tiny_patch16_224", 192, 64, 0.0),
    ("densenet121", 1024, 1024, 0.0),
    # 1 + 2 + 2 + 4 + 4 + 8 px from layers of kernel 3 without padding, half a px, less half a cell
    pytest.param("inception_v3", 768, 2048, 13.5, marks=slow),
    pytest.param("inception_v4", 1024, 1536, 13.5, marks=slow),
    pytest.param("inception_resnet_v2", 1088, 1536, 13.5, marks=slow),
    pytest.param("vgg16", 512, 4096, 0.0, marks=slow),
    pytest.param("resnet50", 1024, 2048, 0.0, marks=slow),
    pytest.param("resnetv2_50", 1024, 2048, 0.0, marks=slow),
    pytest.param("wide_resnet50_2", 1024, 2048, 0.0, marks=slow),
    pytest.param("resnext50_32x4d", 1024, 2048, 0.0, marks=slow),
    pytest.param("seresnet50", 1024, 2048, 0.0, marks=slow),
    pytest.param("legacy_seresnet18", 256, 512, 0.0, marks=slow),
    pytest.param("xception41", 728, 2048, 0.0, marks=slow),
    pytest.param("xception65", 728, 2048, 0.0, marks=slow),
    ("coatnet_0_rw_224", 384, 768, 0.0),
]


@pytest.mark.parametrize(("name", "channels", "tail_dim", "offset"), NETWORKS)
def test_every_family_is_cut_and_trains(name: str, channels: int, tail_dim: int, offset: float) -> None:
    torch.manual_seed(0)
    backbone = timm_backbone(name, None, fc_dim=64)
    assert (backbone.channels, backbone.tail_dim, backbone.offset) == (channels, tail_dim, offset)
    features = backbone.features(torch.randn(1, 3, 150, 200))  # 9.4 and 12.5 cells
    assert features.shape[:2] == (1, channels)
    rows, columns = ((7, 8, 9, 10), (10, 11, 12, 13)) if offset else ((9, 10), (12, 13))
    assert features.shape[2] in rows and features.shape[3] in columns
    pooled = nn.functional.adaptive_avg_pool2d(features, backbone.pool_size)
    vectors = backbone.tail(pooled.repeat(2, 1, 1, 1))
    assert vectors.shape == (2, tail_dim)
    for values in (features, vectors):
        assert 0.01 < float(values.detach().std()) < 50
    vectors.square().sum().backward()
    for part in (backbone.features, backbone.tail):
        unused = [n for n, p in part.named_parameters() if p.requires_grad and p.grad is None]
        assert not unused and any(p.requires_grad for p in part.parameters())
        assert all(bool(p.grad.isfinite().all()) for p in part.parameters() if p.grad is not None)
        assert not any(m.training for m in part.modules() if isinstance(m, nn.BatchNorm2d))


def randomised(name: str) -> nn.Module:
    """timm's whole network; no block of it is the identity, as some are after timm's own random start."""
    torch.manual_seed(0)
    network: nn.Module = timm.create_model(name).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.2, 0.6)
    return network


@pytest.mark.parametrize(
    ("name", "side"), [("resnet18", 224), ("densenet121", 224), pytest.param("vgg16", 112, marks=slow)]
)
@torch.no_grad()
def test_both_parts_together_are_the_network(name: str, side: int, tmp_path: Path) -> None:
    network = randomised(name)
    torch.save(network.state_dict(), tmp_path / "weights.pth")  # with the classifier
    backbone = timm_backbone(name, str(tmp_path / "weights.pth"))
    images = torch.randn(1, 3, side, side)
    features = backbone.features.eval()(images)
    assert features.shape[2:] == (side // 16, side // 16)
    maps = network.forward_features(images) if name != "vgg16" else features  # which regions pool 7x7
    torch.testing.assert_close(backbone.tail.eval()(features), network.forward_head(maps, pre_logits=True).flatten(1))


def test_norms_and_preprocessing() -> None:
    backbone = timm_backbone("resnet18", None, norm="batch", frozen_stages=2)
    assert isinstance(backbone.preprocess, Normalize)
    torch.testing.assert_close(backbone.preprocess.mean.flatten(), torch.tensor([123.675, 116.28, 103.53]))
    training = {n: m.training for n, m in backbone.features.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert not training["bn1"] and not training["layer1_1.bn2"] and training["layer2_0.bn1"]
    free = {n.split("_")[0] for n, p in backbone.features.named_parameters() if p.requires_grad}
    assert free == {"layer2", "layer3"}
    assert all(p.requires_grad for p in backbone.tail.parameters())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("resnet5O", r"timm .* has no resnet5O; near it are .*'resnet50'"),
        ("vit_tiny_patch16", "has no vit_tiny_patch16; near it are"),
        ("swin_tiny_patch4_window7_224", r"not take images of any size, only of 224 x 224 px .*can be cut: ResNet"),
        ("vit_small_patch32_224", r"no map of stride 16, only of \[32\]; networks that can be cut"),
        ("selecsls42", "is no chain of modules; networks that can be cut"),
    ],
)
def test_what_cannot_be_cut_says_why(name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        timm_backbone(name, None)


def test_without_timm_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"resnet18 needs timm: pip install 'detkit\[timm\]'"):
        timm_backbone("resnet18", None)


def test_weights_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    with monkeypatch.context() as patch:
        patch.setattr(timm, "create_model", unreachable)
        with pytest.raises(ValueError, match=r"resnet18 could not be had .no route to host.*weights=FILE"):
            timm_backbone("resnet18", "imagenet")
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"weights\.pth: not the weights of this network: \d+ missing"):
        timm_backbone("resnet18", str(tmp_path / "weights.pth"))


def reach(backbone: Backbone, height: int) -> Tensor:
    """The first and the last row of px that the middle row of cells sees; a mean instead of a maximum sees all."""
    for name, child in list(backbone.features.named_children()):
        if isinstance(child, nn.MaxPool2d):
            backbone.features.add_module(name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
    for parameter in backbone.features.parameters():
        nn.init.constant_(parameter, 1 / parameter[0].numel())
    image = torch.ones(1, 3, height, 96, requires_grad=True)
    features = backbone.features.double().eval()(image.double())
    features[0, :, features.shape[2] // 2].sum().backward()
    assert image.grad is not None
    return image.grad.abs().amax(dim=(0, 1, 3)).nonzero().flatten()[[0, -1]]


@pytest.mark.slow
def test_inceptions_offset_is_that_of_the_gradient() -> None:
    backbone = timm_backbone("inception_v3", None)
    height = 1400
    first, last = reach(backbone, height).tolist()
    assert first > 0 and last < height - 1
    row = backbone.features(torch.zeros(1, 3, height, 96, dtype=torch.float64)).shape[2] // 2
    assert (first + last + 1) / 2 == backbone.offset + (row + 0.5) * backbone.stride
