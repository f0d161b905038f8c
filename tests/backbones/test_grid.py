"""The grid of a network's cells: layers by hand, and the gradient of real networks' cells beside it."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.backbones.backbone import Backbone
from detkit.backbones.grid import Grid, frozen_modules, trace
from detkit.backbones.resnet import resnet
from detkit.backbones.torchvision_backbone import torchvision_backbone
from detkit.backbones.vgg import vgg
from detkit.backbones.zfnet import zfnet


class Gated(nn.Module):
    """A convolution whose channels are weighted by gates, then put beside a pooling, as in SENet and Inception."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = nn.Conv2d(3, 3, 3, stride=2), nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        gates = self.gate(self.conv(x).mean((2, 3), keepdim=True)).sigmoid()
        return torch.cat([gates * F.relu(self.conv(x), inplace=True), F.max_pool2d(x, 3, 2)], 1)


@pytest.mark.parametrize(
    ("layer", "stride", "first"),  # px 0 has its centre at 0.5
    [
        (nn.Conv2d(3, 3, 1), 1, 0.5),
        (nn.Conv2d(3, 3, 3, padding=1), 1, 0.5),
        (nn.Conv2d(3, 3, 3), 1, 1.5),  # sees px 0 to 2
        (nn.Conv2d(3, 3, 2, stride=2), 2, 1.0),  # px 0 and 1
        (nn.Conv2d(3, 3, 3, stride=2, padding=1), 2, 0.5),  # px -1 to 1
        (nn.Conv2d(3, 3, 11, stride=4, padding=2), 4, 3.5),  # px -2 to 8
        (nn.Conv2d(3, 3, 3, dilation=2), 1, 2.5),  # px 0, 2, 4
        (nn.MaxPool2d(3, 2), 2, 1.5),
        (nn.MaxPool2d(2), 2, 1.0),
        (nn.MaxPool2d(3, 2, ceil_mode=True), 2, 1.5),  # rounding up adds cells at the far end
        (nn.AvgPool2d(3, 1, 1), 1, 0.5),
        (nn.ZeroPad2d((0, 1, 1, 0)), 1, -0.5),
        (nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 3, 3, stride=2)), 2, 1.5),  # TensorFlow's "same"
        (nn.Sequential(nn.Conv2d(3, 3, 3, stride=2), nn.MaxPool2d(3, 2)), 4, 3.5),  # px 0 to 6
        (Gated(), 2, 1.5),
    ],
)
def test_layers_by_hand(layer: nn.Module, stride: int, first: float) -> None:
    assert trace([layer], torch.randn(1, 3, 16, 16)) == [Grid(stride, first)]


@pytest.mark.parametrize(
    ("stride", "first", "offset"), [(16, 8.0, 0.0), (16, 0.5, 0.0), (16, 21.5, 13.5), (16, 8.5, 0.5), (1, 0.5, 0.0)]
)
def test_offset_is_what_lies_further_in_than_half_a_cell(stride: int, first: float, offset: float) -> None:
    assert Grid(stride, first).offset == offset


def test_frozen_modules_by_stride() -> None:
    grids = [Grid(stride, 0.5) for stride in (1, 2, 2, 4, 8, 16, 16)]
    assert [frozen_modules(grids, stages) for stages in range(5)] == [0, 3, 4, 5, 7]
    assert frozen_modules([], 4) == 0


def first_centre(backbone: Backbone, height: int) -> float:
    """px where the centre of what the first cell sees lies, from the gradient of a cell in the middle.

    Every weight is made positive and every maximum a mean, so that no part of the gradient vanishes or cancels.
    """
    features = copy.deepcopy(backbone.features).double().eval()
    for module in list(features.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.MaxPool2d):
                mean = nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode)
                module.add_module(name, mean)
    for parameter in features.parameters():
        nn.init.constant_(parameter, 1 / parameter[0].numel())
    image = torch.ones(1, 3, height, 96, dtype=torch.float64, requires_grad=True)
    row = features(image).shape[2] // 2
    features(image)[0, :, row].sum().backward()
    assert image.grad is not None
    seen = image.grad.abs().amax(dim=(0, 1, 3)).nonzero().flatten()
    assert seen[0] > 0 and seen[-1] < height - 1, "the image is too small to hold all that the cell sees"
    return float(seen[0] + seen[-1] + 1) / 2 - backbone.stride * row


@pytest.mark.parametrize(
    ("backbone", "first"),
    [
        (resnet(18, "torchvision", "batch", 0, None), 0.5),
        (vgg(16, "caffe", "none", 0, 8, 1 / 64, None), 8.0),
        (zfnet(0, 8, 1 / 32, None), 0.5),
        (torchvision_backbone("alexnet", None), 15.5),  # 5 - 2, then 1 of 4 px, then 1 of 8 px: 15, and half a px
        (torchvision_backbone("googlenet", None), 14.5),  # three poolings without padding: 2 + 4 + 8
    ],
    ids=["resnet18", "vgg16", "zf", "alexnet", "googlenet"],
)
def test_offset_is_that_of_the_gradient(backbone: Backbone, first: float) -> None:
    assert first_centre(backbone, 1024) == first
    grid = trace(list(backbone.features.eval().children()), torch.zeros(1, 3, 128, 128))[-1]
    assert grid == Grid(16, first)
    assert backbone.offset == max(0, first - 8)  # within half a cell of the papers' grid it counts as 0
