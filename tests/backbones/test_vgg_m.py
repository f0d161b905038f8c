"""VGG_CNN_M_1024: its layers as fast-rcnn has them, response normalisation by hand, names, what is frozen."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from detkit.backbones.backbone import Backbone, Normalize
from detkit.backbones.vgg_m import vgg_m


def small(frozen_stages: int = 0, weights: str | None = None) -> Backbone:
    return vgg_m(frozen_stages, fc_dim=64, fc7_dim=16, width=1 / 8, weights=weights)


def test_layers_of_the_published_model() -> None:
    with torch.device("meta"):
        backbone = vgg_m(0, 4096, 1024, 1.0, None)
        # 600 -> conv1 297 -> pool1 148 -> conv2 73 -> pool2 36, and 1000 -> 497 -> 248 -> 123 -> 61
        assert backbone.features(torch.zeros(1, 3, 600, 1000)).shape == (1, 512, 36, 61)
    convolutions = [m for m in backbone.features.modules() if isinstance(m, nn.Conv2d)]
    assert [tuple(m.weight.shape) for m in convolutions] == [
        (96, 3, 7, 7),
        (256, 96, 5, 5),
        (512, 256, 3, 3),
        (512, 512, 3, 3),
        (512, 512, 3, 3),
    ]
    assert (backbone.stride, backbone.channels, backbone.pool_size, backbone.tail_dim) == (16, 512, 6, 1024)
    assert backbone.tail.get_parameter("fc6.weight").shape == (4096, 512 * 36) and backbone.offset == 0
    assert backbone.tail.get_parameter("fc7.weight").shape == (1024, 4096)
    assert isinstance(backbone.preprocess, Normalize) and backbone.preprocess.bgr


def test_response_normalisation_by_hand() -> None:
    """Over five channels, of which those beyond the first and the last are 0: x / (2 + 5e-4 / 5 * sum) ** 0.75."""
    x = torch.tensor([100.0, 200, 300, 400]).view(1, 4, 1, 1)
    sums = torch.tensor([1 + 4 + 9, 1 + 4 + 9 + 16, 1 + 4 + 9 + 16, 4 + 9 + 16]).view(1, 4, 1, 1) * 1e4
    norm = small().features.get_submodule("norm1")
    torch.testing.assert_close(norm(x), x / (2 + 1e-4 * sums) ** 0.75)


@pytest.mark.parametrize("frozen_stages", range(6))
def test_frozen_stages(frozen_stages: int) -> None:
    for name, parameter in small(frozen_stages).features.named_parameters():
        assert parameter.requires_grad == (int(name[4]) > frozen_stages), name  # conv1 ... conv5


def state_of(backbone: Backbone) -> dict[str, Tensor]:
    return backbone.features.state_dict() | backbone.tail.state_dict()


def test_a_file_with_caffes_names_is_loaded(tmp_path: Path) -> None:
    path, state = str(tmp_path / "m.pth"), state_of(small())
    torch.save(state | {"fc8.weight": torch.zeros(2)}, path)
    loaded = state_of(small(weights=path))
    assert loaded.keys() == state.keys() and all(torch.equal(loaded[name], state[name]) for name in state)
    torch.save({name: value for name, value in state.items() if name != "conv3.bias"}, path)
    with pytest.raises(ValueError, match=r"1 missing \['features\.conv3\.bias'\]"):
        small(weights=path)


def test_there_are_no_imagenet_weights_to_fetch() -> None:
    with pytest.raises(ValueError, match="none for VGG_CNN_M_1024: give the path"):
        small(weights="imagenet")


def test_trains_from_a_random_start() -> None:
    torch.manual_seed(0)
    backbone = small()
    images = torch.randint(0, 256, (1, 3, 128, 128), dtype=torch.uint8)
    features = backbone.features(backbone.preprocess(images, torch.tensor([[128, 128]])))
    assert features.shape[2:] == (7, 7) and 0.02 < float(features.detach().square().mean().sqrt()) < 20
    backbone.tail(features[:, :, :6, :6]).sum().backward()
    for part in (backbone.features, backbone.tail):
        assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in part.parameters())
