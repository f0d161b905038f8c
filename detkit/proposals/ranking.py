"""Which boxes come first: those that many groupings agree on, and no two nearly alike among the first.

The paper orders boxes by their place in the hierarchy times a random number (section 3.3). With that order the 2,000
boxes of a detector are partly near-copies of each other; this one finds more objects with as many boxes
(docs/results/proposals). Shapes: N boxes, L levels of width and of height.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detkit.ops.compiled import compiled

AGREE_IOU = 0.7  # boxes that overlap by more count as found together
TIERS = (0.7, 0.8, 0.9)  # no two boxes of the first tier overlap by more than 0.7, of the first two by 0.8 ...


class _Grid(NamedTuple):
    """Boxes sorted into cells of like width and height, so that only few are compared with each."""

    boxes: NDArray[np.float64]  # (N, 4)
    levels: NDArray[np.int64]  # (N, 2) of width and height; one level is a factor of 1 / AGREE_IOU
    members: NDArray[np.int64]  # (N,) indices of boxes by cell, in a cell by x1
    starts: NDArray[np.int64]  # (L * L + 1,) of the cells in members
    num_levels: int


def rank(boxes: NDArray[np.float64], votes: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices (N,) of the boxes (N, 4), best first; votes (N,): how many groupings made exactly this box.

    A box is worth the votes of all boxes that overlap it by more than AGREE_IOU, times its shorter side: small
    regions are many and seldom objects. The best box of each neighbourhood comes into the first tier, the others
    follow tier by tier.
    """
    grid = _sorted_into_cells(boxes)
    worth = _agreement(grid, votes) * (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf)
    order = np.argsort(-worth, kind="stable")
    tier = np.full(len(boxes), len(TIERS), np.int64)
    for number, max_iou in enumerate(TIERS):
        _fill_tier(grid, order, tier, number, max_iou)
    return np.lexsort((-worth, tier))


def _sorted_into_cells(boxes: NDArray[np.float64]) -> _Grid:
    levels = np.floor(np.log(boxes[:, 2:] - boxes[:, :2]) / -np.log(AGREE_IOU)).astype(np.int64)
    num_levels = int(levels.max(initial=0)) + 1
    cells = levels[:, 0] * num_levels + levels[:, 1]
    members = np.lexsort((boxes[:, 0], cells))
    starts = np.searchsorted(cells[members], np.arange(num_levels**2 + 1))
    return _Grid(boxes, levels, members, starts, num_levels)


@compiled
def _iou(one: NDArray[np.float64], other: NDArray[np.float64]) -> np.float64:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return np.float64(0)
    areas = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1])
    return np.float64(width * height / (areas - width * height))


@compiled
def _alike(grid: _Grid, index: int, min_iou: float, found: NDArray[np.int64]) -> int:
    """How many boxes, itself among them, overlap a box by more than `min_iou` >= AGREE_IOU; into `found` which."""
    box, count = grid.boxes[index], 0
    least = box[2] - (box[2] - box[0]) / min_iou  # x1 of another box lies between these two
    most = box[2] - (box[2] - box[0]) * min_iou
    wide, high = grid.levels[index]
    for level in range(max(wide - 1, 0), min(wide + 2, grid.num_levels)):
        for other_level in range(max(high - 1, 0), min(high + 2, grid.num_levels)):
            cell = level * grid.num_levels + other_level
            start, end = grid.starts[cell], grid.starts[cell + 1]
            low, up = start, end
            while low < up:  # binary search
                middle = (low + up) // 2
                if grid.boxes[grid.members[middle], 0] < least:
                    low = middle + 1
                else:
                    up = middle
            for other in grid.members[low:end]:
                if grid.boxes[other, 0] > most:
                    break
                if _iou(box, grid.boxes[other]) > min_iou:
                    found[count] = other
                    count += 1
    return count


@compiled
def _agreement(grid: _Grid, votes: NDArray[np.float64]) -> NDArray[np.float64]:
    total = np.zeros(len(votes))
    found = np.empty(len(votes), np.int64)
    for index in range(len(votes)):
        for other in found[: _alike(grid, index, AGREE_IOU, found)]:
            total[index] += votes[other]
    return total


@compiled
def _fill_tier(grid: _Grid, order: NDArray[np.int64], tier: NDArray[np.int64], number: int, max_iou: float) -> None:
    """Non-maximum suppression among the boxes of no tier yet; those of earlier tiers suppress too."""
    hidden = np.zeros(len(order), np.bool_)
    found = np.empty(len(order), np.int64)
    for earlier in (True, False):
        for index in order:
            if (tier[index] < number) != earlier or (not earlier and hidden[index]):
                continue
            tier[index] = min(tier[index], number)
            for other in found[: _alike(grid, index, max_iou, found)]:
                hidden[other] = True
