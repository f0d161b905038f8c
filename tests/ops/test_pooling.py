"""Region pooling: against plain loops of the published algorithms, and on maps whose answer is known."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from detkit.ops.pooling import RoIAlign, RoIMaxPool, as_regions

STRIDE = 16


def plain_round(x: float) -> int:
    return math.floor(x + 0.5)  # C's round for what is not negative


def caffe_max_pool(features_CHW: Tensor, box: tuple[int, int, int, int], size: int) -> Tensor:
    """ROIPoolForward of fast-rcnn's roi_pooling_layer.cu: `box` ends with the last pixel inside. (C, P, P)"""
    channels, height, width = features_CHW.shape
    start_w, start_h, end_w, end_h = (plain_round(value / STRIDE) for value in box)
    bin_h = np.float32(max(end_h - start_h + 1, 1)) / np.float32(size)
    bin_w = np.float32(max(end_w - start_w + 1, 1)) / np.float32(size)
    pooled = torch.zeros(channels, size, size)
    for i in range(size):
        for j in range(size):
            top = min(max(math.floor(i * bin_h) + start_h, 0), height)
            left = min(max(math.floor(j * bin_w) + start_w, 0), width)
            bottom = min(max(math.ceil((i + 1) * bin_h) + start_h, 0), height)
            right = min(max(math.ceil((j + 1) * bin_w) + start_w, 0), width)
            if bottom > top and right > left:  # an empty bin is 0
                pooled[:, i, j] = features_CHW[:, top:bottom, left:right].amax(dim=(1, 2))
    return pooled


def bilinear(features_CHW: Tensor, y: float, x: float) -> Tensor:
    """The features (C,) at a place in cells, cell centres at whole numbers; 0 more than a cell outside."""
    _, height, width = features_CHW.shape
    if y < -1 or y > height or x < -1 or x > width:
        return features_CHW.new_zeros(len(features_CHW))
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = min(int(y), height - 1), min(int(x), width - 1)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, along = y - top, x - left
    upper = features_CHW[:, top, left] * (1 - along) + features_CHW[:, top, right] * along
    lower = features_CHW[:, bottom, left] * (1 - along) + features_CHW[:, bottom, right] * along
    return upper * (1 - down) + lower * down


def plain_align(features_CHW: Tensor, box: tuple[float, float, float, float], size: int, sampling: int) -> Tensor:
    """RoIAlign of Mask R-CNN, section 3: the mean of regularly spaced samples in each bin. (C, P, P)"""
    x1, y1, x2, y2 = (value / STRIDE - 0.5 for value in box)  # a pixel's centre is half a pixel from its corner
    bin_h, bin_w = (y2 - y1) / size, (x2 - x1) / size
    samples_h, samples_w = (sampling or math.ceil(length) for length in (bin_h, bin_w))
    rows = []
    for i in range(size):
        for j in range(size):
            points = [
                bilinear(
                    features_CHW, y1 + (i + (a + 0.5) / samples_h) * bin_h, x1 + (j + (b + 0.5) / samples_w) * bin_w
                )
                for a in range(samples_h)
                for b in range(samples_w)
            ]
            rows.append(torch.stack(points).mean(dim=0))
    return torch.stack(rows, dim=1).reshape(-1, size, size)


def features(channels: int = 2, height: int = 8, width: int = 10) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, channels, height, width, generator=generator) - 3  # mostly below 0: an empty bin shows


def random_boxes(count: int, width: int = 170, height: int = 140) -> list[tuple[int, int, int, int]]:
    """Whole-pixel boxes of at least a pixel, some beyond the map's 160 x 128 px."""
    generator = np.random.default_rng(0)
    corners = [np.sort(generator.choice(limit, (2,), replace=False)) for _ in range(count) for limit in (width, height)]
    return [(int(x[0]), int(y[0]), int(x[1]), int(y[1])) for x, y in zip(corners[::2], corners[1::2], strict=True)]


def test_as_regions() -> None:
    first, last = torch.tensor([[1.0, 2, 3, 4]]), torch.tensor([[5.0, 6, 7, 8], [0, 0, 1, 1]])
    regions = as_regions([first, torch.zeros(0, 4), last])
    assert regions.tolist() == [[0, 1, 2, 3, 4], [2, 5, 6, 7, 8], [2, 0, 0, 1, 1]]
    assert as_regions([torch.zeros(0, 4)]).shape == (0, 5)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_max_pool_is_the_caffe_codes(size: int) -> None:
    maps, boxes = features(), random_boxes(40)
    for image in range(2):
        regions = torch.tensor([[image, x1, y1, x2 + 1, y2 + 1] for x1, y1, x2, y2 in boxes]).float()
        expected = torch.stack([caffe_max_pool(maps[image], box, size) for box in boxes])
        torch.testing.assert_close(RoIMaxPool(size, STRIDE)(maps, regions), expected, atol=0, rtol=0)


def test_max_pool_by_hand() -> None:
    ramp = torch.arange(80.0).reshape(1, 1, 8, 10)  # cell (row, column) holds 10 * row + column
    # Pixels 0..31 and 0..15: cells round(0) .. round(31 / 16 = 1.94) = 0..2 across, 0..round(15 / 16) = 0..1 down.
    pooled = RoIMaxPool(1, STRIDE)(ramp, torch.tensor([[0.0, 0, 0, 32, 16]]))
    assert pooled.tolist() == [[[[12.0]]]]
    # Pixels 0..23: 23 / 16 = 1.44 rounds to 1; without "the last pixel inside" 24 / 16 = 1.5 would round to 2.
    assert RoIMaxPool(1, STRIDE)(ramp, torch.tensor([[0.0, 0, 0, 24, 16]])).item() == 11.0


@pytest.mark.parametrize("sampling", [0, 1, 2])
@pytest.mark.parametrize("size", [1, 3])
def test_align_and_its_gradient_are_the_plain_ones(size: int, sampling: int) -> None:
    boxes = [tuple(value + 0.25 for value in box) for box in random_boxes(6)]
    maps, plain_maps = features().requires_grad_(), features().double().requires_grad_()
    regions = torch.tensor([[1.0, *box] for box in boxes])
    pooled = RoIAlign(size, STRIDE, sampling)(maps, regions)
    expected = torch.stack([plain_align(plain_maps[1], box, size, sampling) for box in boxes])
    torch.testing.assert_close(pooled, expected.float(), atol=1e-4, rtol=1e-4)
    weight = torch.linspace(-1, 1, pooled.numel()).reshape(pooled.shape)
    (gradient,) = torch.autograd.grad((pooled * weight).sum(), maps)
    (plain_gradient,) = torch.autograd.grad((expected * weight).sum(), plain_maps)
    torch.testing.assert_close(gradient, plain_gradient.float(), atol=1e-3, rtol=1e-3)
    assert float(gradient[1].abs().sum()) > 0 == float(gradient[0].abs().sum())  # the other image has no region


def test_align_reads_a_ramp_at_bin_centres() -> None:
    """Where a map holds its own cells' centres in px, each bin's mean is the bin's own centre."""
    x = ((torch.arange(10) + 0.5) * STRIDE).expand(8, 10)
    y = ((torch.arange(8) + 0.5) * STRIDE)[:, None].expand(8, 10)
    pooled = RoIAlign(2, STRIDE, sampling=2)(torch.stack([x, y])[None], torch.tensor([[0.0, 20, 30, 60, 110]]))
    # The box is 40 px wide and 80 px high: bins of 20 x 40 with centres x = 30, 50 and y = 50, 90.
    torch.testing.assert_close(pooled[0, 0], torch.tensor([[30.0, 50], [30, 50]]))
    torch.testing.assert_close(pooled[0, 1], torch.tensor([[50.0, 50], [90, 90]]))


@pytest.mark.parametrize("pool", [RoIMaxPool(3, STRIDE), RoIAlign(3, STRIDE, 2)])
def test_no_regions_batches_and_gradient(pool: RoIMaxPool | RoIAlign) -> None:
    maps = features().requires_grad_()
    assert pool.size == 3
    empty = pool(maps, torch.zeros(0, 5))
    assert empty.shape == (0, 2, 3, 3)
    boxes = [torch.tensor(random_boxes(5)).float(), torch.tensor(random_boxes(3)).float()]
    together = pool(maps, as_regions(boxes))
    one_by_one = [pool(maps[i : i + 1], as_regions([boxes[i]])) for i in range(2)]
    torch.testing.assert_close(together, torch.cat(one_by_one))
    together.sum().backward()
    assert maps.grad is not None and bool(maps.grad.isfinite().all()) and bool((maps.grad != 0).any())
