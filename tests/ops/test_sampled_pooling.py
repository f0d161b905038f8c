"""Poolings by samples: worked by hand on ramps, against plain loops, and as exporters follow them."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from detkit.ops.pooling import PyramidLevels, RegionPool, RoIAlign
from detkit.ops.sampled_pooling import CornerAlign, RoICrop
from detkit.structures import Pyramid

STRIDE = 16
POOLS: dict[str, Callable[[], RegionPool]] = {
    "crop": lambda: RoICrop(3, STRIDE, max_pool=False),
    "crop, max": lambda: RoICrop(3, STRIDE, max_pool=True),
    "corners": lambda: CornerAlign(3, STRIDE),
}


def ramp(height: int = 4, width: int = 6) -> Tensor:
    """One map that holds 10 y + x in the cell (y, x)."""
    return (10 * torch.arange(float(height))[:, None] + torch.arange(float(width)))[None, None]


def region(x1: float, y1: float, x2: float, y2: float, image: int = 0) -> Tensor:
    """In cells: from the first px to the last inside."""
    return torch.tensor([[float(image), STRIDE * x1, STRIDE * y1, STRIDE * x2 + 1, STRIDE * y2 + 1]])


def some_regions(count: int, images: int = 2, seed: int = 0) -> Tensor:
    """Of all sizes, within 6 x 4 cells."""
    generator = torch.Generator().manual_seed(seed)
    limit = torch.tensor([6.0 * STRIDE, 4.0 * STRIDE])
    ends = torch.rand(count, 2, 2, generator=generator).sort(dim=1).values * limit
    image = torch.randint(images, (count, 1), generator=generator)
    return torch.cat([image, ends[:, 0], torch.minimum(ends[:, 1] + 1, limit)], dim=1)


def some_maps(images: int = 2) -> Tensor:
    return torch.randn(images, 5, 4, 6, generator=torch.Generator().manual_seed(1))


# RoICrop


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((1, 0, 3, 2), [[1, 2, 3], [11, 12, 13], [21, 22, 23]]),
        ((1.5, 1, 1.5, 2), [[11.5, 11.5, 11.5], [16.5, 16.5, 16.5], [21.5, 21.5, 21.5]]),  # a px wide
        ((4, 0, 6, 0), [[4, 5, 0], [4, 5, 0], [4, 5, 0]]),  # the last cell is 5
        ((4.5, 0, 5.5, 0), [[4.5, 5, 2.5], [4.5, 5, 2.5], [4.5, 5, 2.5]]),  # fades to 0 at 6
        ((-0.5, 1, 0.5, 1), [[5, 10, 10.5]] * 3),
    ],
)
def test_a_crop_by_hand(box: tuple[float, ...], expected: list[list[float]]) -> None:
    pooled = RoICrop(3, STRIDE, max_pool=False)(ramp(), region(*box))
    torch.testing.assert_close(pooled, torch.tensor([[expected]], dtype=torch.float32), atol=1e-4, rtol=0)


def test_a_crop_of_the_largest_of_four() -> None:
    """4 samples a side, at 0, 1, 2, 3."""
    pooled = RoICrop(2, STRIDE, max_pool=True)(ramp(), region(0, 0, 3, 3))
    torch.testing.assert_close(pooled, torch.tensor([[[[11.0, 13], [31, 33]]]]))


def test_a_crop_of_one_sample_is_the_middle() -> None:
    assert RoICrop(1, STRIDE, max_pool=False)(ramp(), region(1, 0, 4, 2)).item() == pytest.approx(12.5)


@pytest.mark.parametrize("max_pool", [False, True])
def test_a_crop_is_a_spatial_transformers(max_pool: bool) -> None:
    """Torch's own grids and sampler, as faster-rcnn.pytorch has them."""
    maps, regions = some_maps(), some_regions(40)
    last = regions[:, 1:] - torch.tensor([0, 0, 1, 1])
    x1, y1, x2, y2 = (last / STRIDE).T
    width, height, zero = 6, 4, torch.zeros(40)
    theta = torch.stack([(x2 - x1) / (width - 1), zero, (x1 + x2) / (width - 1) - 1], dim=1)
    theta = torch.stack(
        [theta, torch.stack([zero, (y2 - y1) / (height - 1), (y1 + y2) / (height - 1) - 1], dim=1)], dim=1
    )
    count = 6 if max_pool else 3
    grid = torch.nn.functional.affine_grid(theta, [40, 1, count, count], align_corners=True)
    expected = torch.nn.functional.grid_sample(maps[regions[:, 0].long()], grid, align_corners=True)
    if max_pool:
        expected = torch.nn.functional.max_pool2d(expected, 2)
    torch.testing.assert_close(RoICrop(3, STRIDE, max_pool)(maps, regions), expected, atol=1e-5, rtol=0)


# CornerAlign


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((1, 0, 2, 1), [[6.5, 7.5], [16.5, 17.5]]),  # 2 cells a side with the one more: corners at 1, 2, 3 and 0, 1, 2
        # Corners at 3, 4.5, 6 in x: the last is outside, 0; at 0, 1, 2 in y.
        ((3, 0, 5, 1), [[8.75, 4.75], [18.75, 9.75]]),
        # Corners at 3.5, 4.5, 5.5: 5.5 goes on beyond the last cell, 5.
        ((3.5, 0, 4.5, 1), [[9, 10], [19, 20]]),
        ((-1, 0, 0, 1), [[2.5, 5.5], [7.5, 15.5]]),  # corners at -1, 0, 1
    ],
)
def test_corners_by_hand(box: tuple[float, ...], expected: list[list[float]]) -> None:
    pooled = CornerAlign(2, STRIDE)(ramp(), region(*box))
    torch.testing.assert_close(pooled, torch.tensor([[expected]], dtype=torch.float32), atol=1e-4, rtol=0)


def plain_corners(feature_map: Tensor, box: list[float], size: int) -> Tensor:
    """roi_align.c, one corner after the other, then the mean of each four: (C, H, W) -> (C, P, P)."""
    _, height, width = feature_map.shape
    x1, y1, x2, y2 = box[0] / STRIDE, box[1] / STRIDE, (box[2] - 1) / STRIDE, (box[3] - 1) / STRIDE
    corners = torch.zeros(len(feature_map), size + 1, size + 1)
    for i in range(size + 1):
        for j in range(size + 1):
            y, x = y1 + i * max(y2 - y1 + 1, 0) / size, x1 + j * max(x2 - x1 + 1, 0) / size
            if 0 <= y < height and 0 <= x < width:
                top, left = min(math.floor(y), height - 2), min(math.floor(x), width - 2)
                upper = (1 - x + left) * feature_map[:, top, left] + (x - left) * feature_map[:, top, left + 1]
                lower = (1 - x + left) * feature_map[:, top + 1, left] + (x - left) * feature_map[:, top + 1, left + 1]
                corners[:, i, j] = (1 - y + top) * upper + (y - top) * lower
    return (corners[:, 1:, 1:] + corners[:, 1:, :-1] + corners[:, :-1, 1:] + corners[:, :-1, :-1]) / 4


def test_corners_are_the_plain_ones() -> None:
    maps, regions = some_maps(), some_regions(60)
    pooled = CornerAlign(3, STRIDE)(maps, regions)
    for (image, *box), found in zip(regions.tolist(), pooled, strict=True):
        torch.testing.assert_close(found, plain_corners(maps[int(image)], box, 3), atol=1e-5, rtol=0)


def test_one_row_of_cells_goes_on_as_it_is() -> None:
    pooled = CornerAlign(1, STRIDE)(ramp(height=1), region(1, 0, 1, -0.5))  # corners at 1, 2 and 0, 0.5
    assert pooled.item() == pytest.approx(1.5)


# RoIAlign with pixel centres at whole coordinates


def test_pixel_centers_at_whole_coordinates() -> None:
    """Between the middles of the first px and of the last, a cell wide at least; and at half ones as ever."""
    pool = RoIAlign(2, STRIDE, 1, pixel_centers="integer")
    torch.testing.assert_close(pool(ramp(), region(1, 0, 3, 2)), torch.tensor([[[[6.5, 7.5], [16.5, 17.5]]]]))
    torch.testing.assert_close(pool(ramp(), region(2, 1, 2, 1)), torch.tensor([[[[14.75, 15.25], [19.75, 20.25]]]]))
    at_half = RoIAlign(2, STRIDE, 1)(ramp(), torch.tensor([[0.0, 16, 0, 48, 32]]))
    torch.testing.assert_close(at_half, torch.tensor([[[[1.0, 2], [11, 12]]]]))


# All of them


@pytest.mark.parametrize("name", POOLS)
def test_no_regions(name: str) -> None:
    pool = POOLS[name]()
    assert pool.cells == 9 and pool(some_maps(), torch.zeros(0, 5)).shape == (0, 5, 3, 3)


@pytest.mark.parametrize("name", POOLS)
def test_each_region_is_of_its_image(name: str) -> None:
    maps, regions, pool = some_maps(3), some_regions(20, images=3), POOLS[name]()
    pooled = pool(maps, regions)
    for one, found in zip(regions, pooled, strict=True):
        alone = torch.cat([torch.zeros(1), one[1:]])[None]
        torch.testing.assert_close(pool(maps[int(one[0])][None], alone)[0], found)


@pytest.mark.parametrize("name", POOLS)
def test_a_level_of_a_pyramid(name: str) -> None:
    maps, regions, pool = some_maps(), some_regions(20), POOLS[name]()
    levels = PyramidLevels(pool, "nearest", region_side=64.0)
    assert torch.equal(levels(Pyramid((maps,), (1.0,)), regions), pool(maps, regions))


@pytest.mark.parametrize("kind", [lambda offset: RoICrop(3, STRIDE, True, offset), lambda o: CornerAlign(3, STRIDE, o)])
def test_an_offset_grid_is_the_grid_moved(kind: Callable[[float], RegionPool]) -> None:
    maps, regions = some_maps(), some_regions(20)
    moved = regions + torch.tensor([0, 23.5, 23.5, 23.5, 23.5])
    torch.testing.assert_close(kind(23.5)(maps, moved), kind(0.0)(maps, regions), atol=1e-4, rtol=0)
    assert not torch.allclose(kind(23.5)(maps, regions), kind(0.0)(maps, regions))


@pytest.mark.parametrize("name", POOLS)
def test_gradients_are_those_of_differences(name: str) -> None:
    regions = some_regions(4).double()
    maps = some_maps().double()[:, :1].requires_grad_()
    assert torch.autograd.gradcheck(lambda m: POOLS[name]()(m, regions), (maps,))


class Pooled(torch.nn.Module):
    def __init__(self, pool: RegionPool) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, maps: Tensor, regions: Tensor) -> Tensor:
        return self.pool(maps, regions)


@pytest.mark.parametrize("name", POOLS)
def test_torch_export_follows_any_number_of_regions_and_any_map(name: str) -> None:
    module = Pooled(POOLS[name]())
    auto = torch.export.Dim.DYNAMIC
    shapes = ({0: auto, 2: auto, 3: auto}, {0: auto})
    program = torch.export.export(module, (some_maps(), some_regions(7)), dynamic_shapes=shapes).module()
    maps, regions = torch.randn(3, 5, 7, 3), some_regions(11, images=3)
    torch.testing.assert_close(program(maps, regions), module(maps, regions))
