"""Edge groups: edge pixels joined along nearly straight contours, and how well neighbouring groups continue each other.

Zitnick & Dollar 2014, section 3.1. H, W: the edge map; G: groups, numbered from 1 (0 is no group); P: neighbour pairs.
An orientation is the direction across the edge, an angle in [0, pi): 0 is a vertical contour.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detkit.ops.compiled import compiled
from detkit.proposals.edge_map import FloatMap

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

MIN_EDGE = 0.1  # weaker pixels are no edge (section 3.1)
MAX_TURN = 0.5  # a group ends when its orientation differences sum to this, in units of pi: pi/2 (section 3.1)
MIN_GROUP = 0.5  # groups of a smaller summed magnitude join a neighbour (published code; the paper says "small")
GAMMA = 2.0  # the affinity's sensitivity (equation 1)
MIN_AFFINITY = 0.05  # weaker affinities are taken for 0 (section 3.1)
REACH = 2  # px between neighbouring groups at most (section 3.1 with its footnote)


class EdgeGroups(NamedTuple):
    """A named tuple, which compiled functions can take."""

    ids: Ints  # (H, W)
    magnitude: Floats  # (1 + G,): summed edge magnitude
    x: Ints  # (1 + G,): one pixel of each group, which says whether the group lies in a box
    y: Ints
    first: Ints  # (2 + G,): group g's neighbours are neighbors[first[g]:first[g + 1]]
    neighbors: Ints  # (2 P,)
    affinities: Floats  # (2 P,) in MIN_AFFINITY..1


def group_edges(edges: FloatMap, orientation: FloatMap) -> EdgeGroups:
    """Groups of the map `edges` (H, W) of thin edges in 0..1 with their `orientation` (H, W)."""
    ids, count = _grow(edges, orientation)
    ids, count = _merge_small(ids, count, edges, orientation)
    inside, pixels = np.nonzero(ids.ravel())[0], ids[ids > 0]
    weights, angles = edges.ravel()[inside].astype(np.float64), orientation.ravel()[inside].astype(np.float64)
    y, x = np.divmod(inside, ids.shape[1])

    def total(values: Floats) -> Floats:
        return np.bincount(pixels, values, count + 1).astype(np.float64, copy=False)

    magnitude = total(weights)
    divisor = np.where(magnitude > 0, magnitude, 1)
    center_x, center_y = total(weights * x) / divisor, total(weights * y) / divisor
    angle = np.arctan2(total(weights * np.sin(2 * angles)), total(weights * np.cos(2 * angles))) / 2
    last_x, last_y = np.zeros(count + 1, np.int32), np.zeros(count + 1, np.int32)
    last_x[pixels], last_y[pixels] = x, y

    one, other = np.divmod(np.unique(_touching(ids, count)), count + 1)
    along = np.arctan2(center_y[one] - center_y[other], center_x[one] - center_x[other]) + np.pi / 2
    affinity = np.abs(np.cos(angle[one] - along) * np.cos(angle[other] - along)) ** GAMMA  # equation 1
    strong = affinity >= MIN_AFFINITY
    one, other, affinity = one[strong], other[strong], affinity[strong]
    source, target = np.concatenate([one, other]), np.concatenate([other, one])
    order = np.argsort(source, kind="stable")
    first = np.searchsorted(source[order], np.arange(count + 2)).astype(np.int32)
    affinities = np.concatenate([affinity, affinity])[order]
    return EdgeGroups(ids, magnitude, last_x, last_y, first, target[order].astype(np.int32), affinities)


@compiled
def _turn(one: float, other: float) -> float:
    """Difference of two orientations, in units of pi: 0..0.5."""
    difference = abs(one - other) / np.pi
    return min(difference, 1 - difference)


@compiled
def _grow(edges: FloatMap, orientation: FloatMap) -> tuple[Ints, int]:
    """Group after group takes in the edge pixel beside it that turns least, until it has turned by MAX_TURN."""
    height, width = edges.shape
    ids = np.zeros((height, width), np.int32)
    seen = np.zeros((height, width), np.int32)  # the last group that this pixel was a candidate of
    capacity = height * width
    candidates, turns = np.empty(capacity, np.int64), np.empty(capacity)
    count = 0
    for seed in range(capacity):
        y, x = seed // width, seed % width
        if ids[y, x] != 0 or edges[y, x] <= MIN_EDGE:
            continue
        count += 1
        turned, waiting = 0.0, 0
        while True:
            ids[y, x] = count
            for v in range(max(y - 1, 0), min(y + 2, height)):
                for u in range(max(x - 1, 0), min(x + 2, width)):
                    if ids[v, u] == 0 and seen[v, u] != count and edges[v, u] > MIN_EDGE:
                        seen[v, u] = count
                        candidates[waiting], turns[waiting] = v * width + u, _turn(orientation[y, x], orientation[v, u])
                        waiting += 1
            if waiting == 0:
                break
            best = np.argmin(turns[:waiting])
            turned += turns[best]
            if turned >= MAX_TURN:
                break
            y, x = candidates[best] // width, candidates[best] % width
            waiting -= 1
            candidates[best], turns[best] = candidates[waiting], turns[waiting]
    return ids, count


@compiled
def _merge_small(ids: Ints, count: int, edges: FloatMap, orientation: FloatMap) -> tuple[Ints, int]:
    """Pixels of small groups join the group beside them of the nearest orientation; what is left alone is dropped."""
    height, width = ids.shape
    magnitude = np.zeros(count + 1)
    for y in range(height):
        for x in range(width):
            magnitude[ids[y, x]] += edges[y, x]
    number = np.zeros(count + 1, np.int32)
    kept = 0
    for group in range(1, count + 1):
        if magnitude[group] > MIN_GROUP:
            kept += 1
            number[group] = kept
    homeless_y, homeless_x = np.nonzero((ids > 0) & (number.take(ids) == 0))
    new = number.take(ids)
    changed = True
    while changed:
        changed = False
        for i in range(len(homeless_y)):
            y, x = homeless_y[i], homeless_x[i]
            if new[y, x] == 0:
                least = 1.0
                for v in range(max(y - 1, 0), min(y + 2, height)):
                    for u in range(max(x - 1, 0), min(x + 2, width)):
                        turn = _turn(orientation[y, x], orientation[v, u])
                        if new[v, u] > 0 and turn < least:
                            least, new[y, x] = turn, new[v, u]
                changed = changed or new[y, x] > 0
    return new, kept


@compiled
def _touching(ids: Ints, count: int) -> NDArray[np.int64]:
    """Pairs of groups at most REACH px apart, (P,) with repeats: smaller * (count + 1) + larger."""
    height, width = ids.shape
    pairs = np.empty(0, np.int64)
    for attempt in range(2):  # count, then fill
        total, previous = 0, np.int64(-1)
        for y in range(height):
            for x in range(width):
                if ids[y, x] == 0:
                    continue
                for v in range(y, min(y + REACH + 1, height)):
                    start = x + 1 if v == y else max(x - REACH, 0)
                    for u in range(start, min(x + REACH + 1, width)):
                        if ids[v, u] == 0 or ids[v, u] == ids[y, x]:
                            continue
                        one, other = np.int64(ids[y, x]), np.int64(ids[v, u])
                        pair = min(one, other) * (count + 1) + max(one, other)
                        if pair != previous:
                            if attempt == 1:
                                pairs[total] = pair
                            total += 1
                            previous = pair
        if attempt == 0:
            pairs = np.empty(total, np.int64)
    return pairs
