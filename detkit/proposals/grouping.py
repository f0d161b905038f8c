"""Hierarchical grouping of regions by similarity (Uijlings et al. 2013, algorithm 1 and section 3.2).

Shapes: R regions at the start, E pairs of neighbours, B bins of colour and texture together. Similarities are whole
numbers, ONE standing for 1: sums are exact and the order of merges is the same on every machine.
"""

import heapq
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detkit.ops.compiled import compiled
from detkit.proposals.regions import Regions

ONE = 1 << 20
SHARES_ONE = 1 << 14  # what the bins of a normalised histogram add up to, or a little less
ID_BITS = 20  # of a region in a key of the queue: MAX_PIXELS keeps far below
ID_MASK = (1 << ID_BITS) - 1
MOST = 4 * ONE  # the largest similarity


class Measures(NamedTuple):
    """Which similarities are added up (equation 6)."""

    color: bool
    texture: bool
    size: bool
    fill: bool


class _State(NamedTuple):
    """The regions that are left, each in the row of its first part."""

    sizes: NDArray[np.int64]  # (R,)
    boxes: NDArray[np.int64]  # (R, 4)
    counts: NDArray[np.int32]  # (R, B)
    shares: NDArray[np.int32]  # (R, B) counts in parts of SHARES_ONE
    num_color: int
    num_channels: int
    num_pixels: int


def group(regions: Regions, measures: Measures) -> NDArray[np.int64]:
    """Boxes (2 * R - 1, 4) px of the regions and of all that merging the most similar neighbours makes of them."""
    state = _State(
        regions.sizes.copy(),
        regions.boxes.copy(),
        regions.counts.copy(),
        np.zeros_like(regions.counts),
        regions.num_color,
        regions.num_channels,
        regions.num_pixels,
    )
    return _merge_all(state, regions.pairs, measures)


@compiled
def _set_shares(state: _State, row: int) -> None:
    total = state.sizes[row] * state.num_channels
    for i in range(state.counts.shape[1]):
        state.shares[row, i] = np.int64(state.counts[row, i]) * SHARES_ONE // total


@compiled
def _common(one: NDArray[np.int32], other: NDArray[np.int32]) -> np.int64:
    total = np.int32(0)
    for i in range(len(one)):
        total += min(one[i], other[i])
    return np.int64(total) * (ONE // SHARES_ONE)


@compiled
def _similarity(state: _State, a: int, b: int, measures: Measures) -> np.int64:
    """The sum of those of equations 1, 3, 4 and 5 that `measures` names."""
    total = np.int64(0)
    if measures.color:
        total += _common(state.shares[a, : state.num_color], state.shares[b, : state.num_color])
    if measures.texture:
        total += _common(state.shares[a, state.num_color :], state.shares[b, state.num_color :])
    size = state.sizes[a] + state.sizes[b]
    if measures.size:
        total += ONE - size * ONE // state.num_pixels
    if measures.fill:
        one, other = state.boxes[a], state.boxes[b]
        width = max(one[2], other[2]) - min(one[0], other[0])
        height = max(one[3], other[3]) - min(one[1], other[1])
        total += ONE - (width * height - size) * ONE // state.num_pixels
    return total


@compiled
def _merge(state: _State, a: int, b: int, measures: Measures) -> None:
    """Row a takes in row b: all but the neighbours follows from the two rows."""
    state.sizes[a] += state.sizes[b]
    one, other = state.boxes[a], state.boxes[b]
    one[0], one[1] = min(one[0], other[0]), min(one[1], other[1])
    one[2], one[3] = max(one[2], other[2]), max(one[3], other[3])
    if measures.color or measures.texture:
        for i in range(state.counts.shape[1]):
            state.counts[a, i] += state.counts[b, i]
        _set_shares(state, a)


@compiled
def _key(similarity: np.int64, one: int, other: int) -> np.int64:
    """For a queue that gives its least: the most similar pair first, then the one of lower ids."""
    return ((MOST - similarity) << (2 * ID_BITS)) + (np.int64(one) << ID_BITS) + np.int64(other)


@compiled
def _root(parents: NDArray[np.int32], row: int) -> int:
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = parents[row]
    return row


@compiled
def _neighbour_lists(
    pairs: NDArray[np.int32], num_regions: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Linked lists, joined in one step at a merge: first and last item of each row; target and next of each item."""
    first, last = np.full(num_regions, -1, np.int32), np.full(num_regions, -1, np.int32)
    target, following = np.empty(2 * len(pairs), np.int32), np.full(2 * len(pairs), -1, np.int32)
    for pair in range(len(pairs)):
        for side in range(2):
            item, owner = 2 * pair + side, pairs[pair, side]
            target[item] = pairs[pair, 1 - side]
            if first[owner] < 0:
                first[owner] = item
            else:
                following[last[owner]] = item
            last[owner] = item
    return first, last, target, following


@compiled
def _merge_all(state: _State, pairs: NDArray[np.int32], measures: Measures) -> NDArray[np.int64]:
    num_regions = len(state.sizes)
    boxes = np.empty((2 * num_regions - 1, 4), np.int64)  # by id: the first R are the rows, each merge makes the next
    boxes[:num_regions] = state.boxes
    row_of = np.full(2 * num_regions - 1, -1, np.int32)  # of each id; -1 once it is merged
    row_of[:num_regions] = np.arange(num_regions)
    id_of, parents = row_of[:num_regions].copy(), row_of[:num_regions].copy()
    seen = np.full(num_regions, -1, np.int32)
    first, last, target, following = _neighbour_lists(pairs, num_regions)
    if measures.color or measures.texture:
        for row in range(num_regions):
            _set_shares(state, row)
    queue = [_key(_similarity(state, a, b, measures), a, b) for a, b in pairs]
    heapq.heapify(queue)
    new = num_regions
    while len(queue) > 0:
        key = heapq.heappop(queue)
        one, other = (key >> ID_BITS) & ID_MASK, key & ID_MASK
        a, b = row_of[one], row_of[other]
        if a < 0 or b < 0:
            continue  # one of the two has been merged with another since
        row_of[one], row_of[other], row_of[new] = -1, -1, a
        id_of[a], parents[b] = new, a
        _merge(state, a, b, measures)
        boxes[new] = state.boxes[a]
        following[last[a]], last[a] = first[b], last[b]
        item, before = first[a], -1
        while item >= 0:
            row = _root(parents, target[item])
            if row == a or seen[row] == new:  # itself, or named twice: leaves the list
                if before < 0:
                    first[a] = following[item]
                else:
                    following[before] = following[item]
            else:
                seen[row], target[item], before = new, row, item
                heapq.heappush(queue, _key(_similarity(state, a, row, measures), new, id_of[row]))
            item = following[item]
        last[a] = before
        new += 1
    return boxes
