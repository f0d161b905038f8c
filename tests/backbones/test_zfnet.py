"""ZF: its norm by hand, shapes as py-faster-rcnn has them, names, what is frozen."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from detkit.backbones.backbone import Backbone, Normalize
from detkit.backbones.zfnet import WithinChannelNorm, zfnet


def small(frozen_stages: int = 0, weights: str | None = None) -> Backbone:
    return zfnet(frozen_stages, fc_dim=16, width=1 / 16, weights=weights)


def test_the_norm_by_hand() -> None:
    x = torch.tensor([[1.0, 2], [3, 4]]).view(1, 1, 2, 2)
    both = torch.cat([x, 100 * x], 1)  # a channel does not see the other
    normal = WithinChannelNorm(alpha=0.9, beta=0.75)(both)
    factor = (1 + 0.9 * (1 + 4 + 9 + 16) / 9) ** -0.75  # each 3x3 holds all four, and five zeros of the border
    torch.testing.assert_close(normal[:, :1], x * factor)


def test_the_norm_is_one_for_small_values() -> None:
    x = torch.full((1, 2, 5, 5), 1e-3)
    torch.testing.assert_close(WithinChannelNorm()(x), x)


def test_layers_of_the_published_model() -> None:
    with torch.device("meta"):
        backbone = zfnet(0, 4096, 1.0, None)
        assert backbone.features(torch.zeros(1, 3, 600, 1000)).shape == (1, 256, 39, 64)  # as Caffe rounds
    convolutions = [m for m in backbone.features.modules() if isinstance(m, nn.Conv2d)]
    assert [tuple(m.weight.shape) for m in convolutions] == [
        (96, 3, 7, 7),
        (256, 96, 5, 5),
        (384, 256, 3, 3),
        (384, 384, 3, 3),
        (256, 384, 3, 3),
    ]
    assert (backbone.stride, backbone.channels, backbone.pool_size, backbone.tail_dim) == (16, 256, 6, 4096)
    assert backbone.tail.get_parameter("fc6.weight").shape == (4096, 256 * 36) and backbone.offset == 0
    assert isinstance(backbone.preprocess, Normalize) and backbone.preprocess.bgr


@pytest.mark.parametrize("frozen_stages", range(6))
def test_frozen_stages(frozen_stages: int) -> None:
    for name, parameter in small(frozen_stages).features.named_parameters():
        assert parameter.requires_grad == (int(name[4]) > frozen_stages), name  # conv1 ... conv5


def state_of(backbone: Backbone) -> dict[str, Tensor]:
    return backbone.features.state_dict() | backbone.tail.state_dict()


def test_a_file_with_caffes_names_is_loaded(tmp_path: Path) -> None:
    path, state = str(tmp_path / "zf.pth"), state_of(small())
    torch.save(state | {"fc8.weight": torch.zeros(2)}, path)
    loaded = state_of(small(weights=path))
    assert loaded.keys() == state.keys() and all(torch.equal(loaded[name], state[name]) for name in state)
    torch.save({name: value for name, value in state.items() if name != "conv3.bias"}, path)
    with pytest.raises(ValueError, match=r"1 missing \['features\.conv3\.bias'\]"):
        small(weights=path)


def test_there_are_no_imagenet_weights_to_fetch() -> None:
    with pytest.raises(ValueError, match="none for ZF: give the path"):
        small(weights="imagenet")


def test_trains_from_a_random_start() -> None:
    torch.manual_seed(0)
    backbone = small()
    images = torch.randint(0, 256, (1, 3, 96, 96), dtype=torch.uint8)
    features = backbone.features(backbone.preprocess(images, torch.tensor([[96, 96]])))
    assert features.shape[2:] == (7, 7) and 0.05 < float(features.square().mean().sqrt()) < 20
    backbone.tail(features[:, :, :6, :6]).sum().backward()
    for part in (backbone.features, backbone.tail):
        assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in part.parameters())
