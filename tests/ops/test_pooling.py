"""Region pooling: against plain loops of the published algorithms, and on maps whose answer is known."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from detkit.ops.pooling import PyramidLevels, PyramidPool, RegionPool, RoIAlign, RoIMaxPool, WarpedCrop, as_regions
from detkit.structures import Pyramid

STRIDE = 16
Box = tuple[float, float, float, float]


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


def plain_align(features_CHW: Tensor, box: Box, size: int, sampling: int, stride: int = STRIDE) -> Tensor:
    """RoIAlign of Mask R-CNN, section 3: the mean of regularly spaced samples in each bin. (C, P, P)"""
    x1, y1, x2, y2 = (value / stride - 0.5 for value in box)  # a pixel's centre is half a pixel from its corner
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


def plain_pyramid(features_CHW: Tensor, box: Box, levels: tuple[int, ...]) -> Tensor:
    """SPPNet, appendix A and section 2.2: cells floor(x1 / S) + 1 to ceil(x2 / S) - 1, then n x n bins. (C, cells)"""
    spans = []
    for start, end, limit in ((box[1], box[3], 8), (box[0], box[2], 10)):  # the map has 8 rows and 10 columns
        first, last = math.floor(start / STRIDE) + 1, math.ceil(end / STRIDE) - 1
        if last < first:  # no cell: the one at the middle
            first = last = math.floor((start + end) / 2 / STRIDE)
        spans.append((min(first, limit - 1), min(last, limit - 1)))
    (top, bottom), (left, right) = spans
    inside = features_CHW[:, top : bottom + 1, left : right + 1]
    _, height, width = inside.shape
    bins = []
    for n in levels:
        for i in range(n):
            for j in range(n):
                rows = slice(i * height // n, -(-(i + 1) * height // n))  # floor and ceil in whole numbers
                columns = slice(j * width // n, -(-(j + 1) * width // n))
                bins.append(inside[:, rows, columns].amax(dim=(1, 2)))
    return torch.stack(bins, dim=1)


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


# Where the grid does not begin with the image


@pytest.mark.parametrize("pool", [RoIMaxPool(2, STRIDE), PyramidPool([2, 1], STRIDE)])
def test_maps_of_half_precision_under_autocast(pool: RoIMaxPool | PyramidPool) -> None:
    """A maximum is one of the values, so that nothing is lost."""
    maps = torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    regions = torch.tensor([[0.0, 0, 0, 100, 60], [1, 20, 10, 70, 90]])
    with torch.autocast("cpu", torch.bfloat16):
        pooled = pool(maps, regions)
    assert pooled.dtype == torch.bfloat16
    assert torch.equal(pooled.float(), pool(maps.float(), regions))
    pooled.sum().backward()
    assert maps.grad is not None and maps.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", [RoIMaxPool, RoIAlign, PyramidPool])
def test_an_offset_grid_is_the_grid_moved(kind: type[RegionPool]) -> None:
    def pool(offset: float) -> RegionPool:
        if kind is PyramidPool:
            return PyramidPool((3, 1), STRIDE, offset)
        return RoIAlign(3, STRIDE, 2, offset) if kind is RoIAlign else RoIMaxPool(3, STRIDE, offset)

    maps = features()
    regions = torch.tensor([[1.0, *box] for box in random_boxes(20)])
    moved = regions + torch.tensor([0, 23.5, 23.5, 23.5, 23.5])
    torch.testing.assert_close(pool(23.5)(maps, moved), pool(0.0)(maps, regions), atol=1e-5, rtol=0)
    assert not torch.allclose(pool(23.5)(maps, regions), pool(0.0)(maps, regions))


def test_the_corner_can_be_rounded_instead_of_the_last_px() -> None:
    """x2 = 24 is 1.5 cells: rounded up, to cell 2, where the last px inside, 23, is in cell 1."""
    ramp = torch.arange(4.0).expand(1, 1, 4, 4)
    region = torch.tensor([[0.0, 0, 0, 24, 16]])
    pooled = [RoIMaxPool(1, STRIDE, rounds=rounds)(ramp, region).item() for rounds in ("last_px", "corner")]
    assert STRIDE == 16 and pooled == [1.0, 2.0]


# R-CNN's warped crops


def test_a_crop_shows_the_box_and_its_context_by_hand() -> None:
    """8 px with 2 of context leave 4 for the box of 40 x 20 px: a crop's pixel is 10 x 5 px of the image."""
    x = (torch.arange(200) + 0.5).expand(100, 200)  # each pixel holds where its centre is
    y = (torch.arange(100) + 0.5)[:, None].expand(100, 200)
    crop = WarpedCrop(side=8, context=2)(torch.stack([x, y])[None], torch.tensor([[0.0, 60, 30, 100, 50]]))
    torch.testing.assert_close(crop[0, 0], (60 - 20 + 5 + 10 * torch.arange(8.0)).expand(8, 8))
    torch.testing.assert_close(crop[0, 1], (30 - 10 + 2.5 + 5 * torch.arange(8.0))[:, None].expand(8, 8))


def test_a_crop_holds_the_mean_beyond_the_image() -> None:
    """The box fills the right half of an image of ones; beyond it there is 0, from the first pixel on."""
    image = torch.ones(1, 1, 40, 80)
    crop = WarpedCrop(side=8, context=2)(image, torch.tensor([[0.0, 40, 0, 80, 40]]))[0, 0]  # 10 px a pixel
    inside = torch.zeros(8, 8)
    inside[2:6, :6] = 1
    # Where the image ends, the outermost sample lies half a pixel outside and may see half of the image's last pixel.
    torch.testing.assert_close(crop, inside, atol=0.06, rtol=0)
    assert crop[0].tolist() == crop[7].tolist() == [0.0] * 8
    padded = torch.nn.functional.pad(image, (0, 30, 0, 50))  # as in a batch with a larger image
    torch.testing.assert_close(WarpedCrop(8, 2)(padded, torch.tensor([[0.0, 40, 0, 80, 40]]))[0, 0], crop)


@pytest.mark.parametrize("side", [4, 9])  # of boxes of 4 to 20 px: averaged, and interpolated
def test_crops_are_the_plain_ones(side: int) -> None:
    images = torch.randn(2, 3, 16, 20, generator=torch.Generator().manual_seed(0))
    boxes = [(5.5, 2.25, 15, 14), (0, 0, 20, 16), (16, 3, 20, 6.5)]
    context = 1
    crops = WarpedCrop(side, context)(images, torch.tensor([[1, *box] for box in boxes]))
    assert crops.shape == (3, 3, side, side)
    framed = torch.nn.functional.pad(images[1].double(), (20, 20, 20, 20))
    for crop, (x1, y1, x2, y2) in zip(crops, boxes, strict=True):
        # R-CNN, appendix A: `context` px of the crop around the box, which fills the other side - 2 * context.
        dx, dy = ((high - low) * context / (side - 2 * context) for low, high in ((x1, x2), (y1, y2)))
        widened = (20 + x1 - dx, 20 + y1 - dy, 20 + x2 + dx, 20 + y2 + dy)
        torch.testing.assert_close(crop, plain_align(framed, widened, side, 0, stride=1).float(), atol=1e-4, rtol=1e-4)


# SPPNet's pyramid


def test_the_pyramid_is_the_plain_one() -> None:
    maps, levels = features(), (6, 3, 2, 1)
    pool = PyramidPool(levels, STRIDE)
    assert pool.cells == 50
    edges = [(0.0, 0.0, 160.0, 128.0), (16.0, 32.0, 48.0, 64.0), (33.0, 20.0, 46.0, 30.0), (150.0, 120.0, 160.0, 128.0)]
    boxes = [*edges, *([value + 0.25 for value in box] for box in random_boxes(40, 159, 127))]
    pooled = pool(maps, torch.tensor([[1, *box] for box in boxes]))
    assert pooled.shape == (len(boxes), 2, 50, 1)
    for of_box, box in zip(pooled, boxes, strict=True):
        assert torch.equal(of_box[..., 0], plain_pyramid(maps[1], tuple(box), levels)), box
    assert pool(maps, torch.zeros(0, 5)).shape == (0, 2, 50, 1)


# Several image sizes: SPPNet's nearest, NoC's maxout

SIDE = 64.0
FACTORS = (0.5, 1.0, 2.0)
CHOSEN = {  # side of a square region -> nearest, the two of maxout
    4: (2, (1, 2)),
    32: (2, (1, 2)),
    40: (2, (1, 2)),  # areas 1600 and 6400, which is 2304 above 4096: less than the 2496 below
    41: (1, (1, 2)),
    50: (1, (1, 2)),
    64: (1, None),  # the one in the middle: both pairs are as good
    80: (1, (0, 1)),
    82: (0, (0, 1)),  # areas 1681 and 6724: nearer in area, though 41 is further from 64 than 82 is
    500: (0, (0, 1)),
}


def one_hot_pyramid() -> Pyramid:
    """Map i has 1 in channel i and 0 elsewhere: what is pooled shows where it is from."""
    sizes = [(int(8 * f), int(10 * f)) for f in FACTORS]
    maps = [torch.eye(3)[i].view(1, 3, 1, 1).expand(2, 3, *size).contiguous() for i, size in enumerate(sizes)]
    return Pyramid(tuple(maps), FACTORS)


def test_which_sizes_a_region_is_pooled_from() -> None:
    regions = torch.tensor([[0.0, 0, 0, side, side] for side in CHOSEN])
    nearest = PyramidLevels(RoIMaxPool(1, STRIDE), "nearest", SIDE)(one_hot_pyramid(), regions).flatten(1)
    maxout = PyramidLevels(RoIMaxPool(1, STRIDE), "maxout", SIDE)(one_hot_pyramid(), regions).flatten(1)
    for side, near, pair in zip(CHOSEN, nearest, maxout, strict=True):
        one, two = CHOSEN[side]
        assert near.nonzero().flatten().tolist() == [one], side
        assert two is None or pair.nonzero().flatten().tolist() == list(two), side
    assert sorted(maxout[5].tolist()) == [0, 1, 1]


@pytest.mark.parametrize("combine", ["nearest", "maxout"])
def test_regions_are_pooled_at_their_sizes_in_the_order_given(combine: str) -> None:
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, 2, int(8 * f), int(10 * f), generator=generator) for f in FACTORS]
    pool = RoIAlign(2, STRIDE, 2)
    regions = torch.tensor([[i % 2, *box] for i, box in enumerate(random_boxes(40))])
    pooled = PyramidLevels(pool, combine, SIDE)(Pyramid(tuple(maps), FACTORS), regions.float())
    for region, found in zip(regions.tolist(), pooled, strict=True):
        side = math.sqrt((region[3] - region[1]) * (region[4] - region[2]))
        if combine == "nearest":
            used = [min(range(3), key=lambda i: abs((side * FACTORS[i]) ** 2 - SIDE**2))]
        else:
            used = [0, 1] if side > SIDE else [1, 2]
        at = [torch.tensor([[region[0], *(value * FACTORS[i] for value in region[1:])]]).float() for i in used]
        expected = torch.stack([pool(maps[i], scaled)[0] for i, scaled in zip(used, at, strict=True)]).amax(dim=0)
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("combine", ["nearest", "maxout"])
def test_one_size_and_no_regions(combine: str) -> None:
    pool = RoIMaxPool(3, STRIDE)
    levels = PyramidLevels(pool, combine, SIDE)
    assert levels.cells == 9
    assert levels(one_hot_pyramid(), torch.zeros(0, 5)).shape == (0, 3, 3, 3)
    maps, regions = features(), torch.tensor([[0.0, 0, 0, 30, 30], [1, 5, 5, 100, 90]])
    assert torch.equal(levels(Pyramid((maps,), (1.0,)), regions), pool(maps, regions))
