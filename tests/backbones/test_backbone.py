"""Preprocessing: values by hand."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

from detkit.backbones.backbone import AveragedTail, Normalize, caffe_bgr, imagenet_rgb


def one_colour(red: int, green: int, blue: int, height: int = 2, width: int = 3) -> torch.Tensor:
    return torch.tensor([red, green, blue], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, height, width)


def test_by_hand() -> None:
    normal = Normalize(mean=(10, 20, 30), std=(1, 2, 4))(one_colour(11, 24, 22), torch.tensor([[2, 3]]))
    assert normal.dtype == torch.float32
    assert normal[0, :, 1, 2].tolist() == [(11 - 10) / 1, (24 - 20) / 2, (22 - 30) / 4]
    assert torch.equal(normal, normal[:, :, :1, :1].expand(1, 3, 2, 3))


def test_bgr_normalises_each_channel_by_its_own_mean_then_flips() -> None:
    normal = Normalize(mean=(10, 20, 30), std=(1, 2, 4), bgr=True)(one_colour(11, 24, 22), torch.tensor([[2, 3]]))
    assert normal[0, :, 0, 0].tolist() == [(22 - 30) / 4, (24 - 20) / 2, (11 - 10) / 1]


@pytest.mark.parametrize("bgr", [False, True])
def test_padding_becomes_zero_and_only_padding(bgr: bool) -> None:
    images = one_colour(200, 100, 50, 4, 5).repeat(2, 1, 1, 1)
    normal = Normalize((1, 2, 3), (1, 1, 1), bgr)(images, torch.tensor([[2, 5], [4, 3]]))  # heights 2, 4; widths 5, 3
    assert bool((normal[0, :, :2] != 0).all()) and bool((normal[0, :, 2:] == 0).all())
    assert bool((normal[1, :, :, :3] != 0).all()) and bool((normal[1, :, :, 3:] == 0).all())
    alone = Normalize((1, 2, 3), (1, 1, 1), bgr)(images[1:], torch.tensor([[4, 3]]))
    assert torch.equal(normal[1:], alone)


def test_imagenet_is_torchvisions_mean_and_deviation() -> None:
    # torchvision's ImageNet recipe, in fractions of 255: mean .485 .456 .406, deviation .229 .224 .225.
    normal = imagenet_rgb()(one_colour(255, 0, 51), torch.tensor([[2, 3]]))
    expected = torch.tensor([(1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (0.2 - 0.406) / 0.225])
    torch.testing.assert_close(normal[0, :, 0, 0], expected)


def test_caffe_is_blue_first_without_division() -> None:
    # py-faster-rcnn, config.py: PIXEL_MEANS = [[[102.9801, 115.9465, 122.7717]]], for BGR.
    normal = caffe_bgr()(one_colour(255, 100, 0), torch.tensor([[2, 3]]))
    expected = torch.tensor([0 - 102.9801, 100 - 115.9465, 255 - 122.7717])
    torch.testing.assert_close(normal[0, :, 0, 0], expected)


def test_nothing_of_it_is_a_weight() -> None:
    assert not list(imagenet_rgb().parameters()) and not imagenet_rgb().state_dict()


def test_an_averaged_tail_keeps_the_names_of_its_modules() -> None:
    tail = AveragedTail(OrderedDict(stage=nn.Conv2d(2, 3, 1), relu=nn.ReLU()))
    assert [name for name, _ in tail.named_parameters()] == ["stage.weight", "stage.bias"]
    regions = torch.randn(4, 2, 5, 5)
    torch.testing.assert_close(tail(regions), tail.stage(regions).relu().flatten(2).mean(dim=2))
