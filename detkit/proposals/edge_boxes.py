"""EdgeBoxes (Zitnick & Dollar 2014): boxes scored by the contours that lie wholly inside them.

Shapes: H, W the image; G edge groups (edge_groups.py); N boxes. While boxes are searched they are whole pixels
x, y, x2, y2, with the last pixel included; what is returned is (x1, y1, x2, y2) as structures.py states it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detkit.ops.compiled import compiled
from detkit.proposals.edge_groups import MIN_AFFINITY, MIN_EDGE, EdgeGroups, Floats, Ints, group_edges
from detkit.proposals.edge_map import EdgeDetector, FloatMap

GRID = 16  # cells along the image's longer side, by which boxes to be compared are looked up
WIDTH_CLASS = 0.3  # and by classes of width: from one to the next it grows by e^0.3
WIDTH_CLASSES = 64  # enough for e^19 px


@dataclass(frozen=True)
class EdgeBoxesRule:
    """The search's constants; the defaults are the paper's, or its published code's."""

    alpha: float = 0.65  # IoU of neighbouring windows of the sliding search (section 4.1)
    beta: float = 0.75  # IoU above which the worse of two boxes is dropped (section 4.1)
    eta: float = 1.0  # after each box kept, beta is multiplied by this while it is above 0.5 (published code)
    min_score: float = 0.01  # (section 3.3)
    max_boxes: int = 10_000  # (published code)
    max_aspect: float = 3.0  # of width to height or height to width (section 3.3)
    min_area: float = 1_000.0  # px^2 of the smallest window (section 3.3)
    kappa: float = 1.5  # bias against large boxes, which hold more edges (section 3.2)
    # Ours: the score is multiplied by `crowded_share` for each of these IoUs at which a better box suppresses this
    # one, so that the first boxes are spread over the objects; () for the paper's order. The set does not change.
    crowding: tuple[float, ...] = (0.7, 0.65, 0.6, 0.55)  # falling
    crowded_share: float = 0.7

    def __post_init__(self) -> None:
        good = {
            "alpha": 0 < self.alpha < 1,
            "beta": 0 < self.beta <= 1,
            "eta": 0 < self.eta <= 1,
            "max_boxes": self.max_boxes > 0,
            "max_aspect": self.max_aspect >= 1,
            "min_area": self.min_area >= 1,
            "crowding": all(0 < iou <= 1 for iou in self.crowding),
        }
        for name, is_good in good.items():
            if not is_good:
                raise ValueError(f"EdgeBoxes: {name} = {getattr(self, name)} is out of its range")


class Scene(NamedTuple):
    """What scoring a box looks up; a named tuple, which compiled functions can take."""

    groups: EdgeGroups
    group_sum: Floats  # (H + 1, W + 1): integral image of the groups' magnitudes, each at its one pixel
    edge_sum: Floats  # (H + 1, W + 1): integral image of the edge pixels' magnitudes
    runs: Ints  # the groups met along every row, then along every column: a run of one group counts once
    run: Ints  # (2, H, W): the run of its row and of its column that a pixel is in, indices into `runs`
    weight: Floats  # by half the sum of a box's sides in px: the score's divisor, inverted


def edge_boxes(
    image: NDArray[np.uint8], detector: EdgeDetector, rule: EdgeBoxesRule = EdgeBoxesRule()
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """RGB (H, W, 3) -> boxes (N, 4) and their scores (N,), best first. ValueError for another shape or type."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"an image is (H, W, 3) uint8 RGB, not {image.shape} {image.dtype}")
    edges, orientation = detector(image.copy())  # contiguous, whatever runs backwards in what was given
    return boxes_of_edges(edges, orientation, rule)


def boxes_of_edges(
    edges: FloatMap, orientation: FloatMap, rule: EdgeBoxesRule = EdgeBoxesRule()
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The boxes (N, 4) and scores (N,) of a detector's edge map, (H, W) both, best first."""
    scene = _prepare(edges, orientation, rule)
    windows = _windows(edges.shape[0], edges.shape[1], rule)
    step = (1 - rule.alpha) / (1 + rule.alpha)
    found, scores = _search(windows, scene, step, rule.min_score)
    order = np.argsort(-scores, kind="stable")
    found, scores = found[order], scores[order]
    kept = _suppress(found, rule.beta, rule.eta, rule.max_boxes)
    found, scores = found[kept], _spread(found[kept], scores[kept], rule)
    order = np.argsort(-scores, kind="stable")
    return _inner(found[order], edges.shape), scores[order].astype(np.float32)


def _inner(boxes: Ints, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """What boxes of whole pixels (N, 4) hold: the contours on their border pixels are lost to them, but for those at
    the image's frame, where there are none."""
    size = np.array(shape[::-1])
    first, last = boxes[:, :2], boxes[:, 2:]
    return np.concatenate(
        [np.where(first > 0, first + 1, 0), np.where(last == size - 1, size, last)], axis=1, dtype=np.float32
    )


def _spread(boxes: Ints, scores: Floats, rule: EdgeBoxesRule) -> Floats:
    """Scores (N,) of boxes (N, 4), best first, lowered for boxes that crowd about better ones."""
    level, alive = np.zeros(len(boxes)), np.arange(len(boxes))
    for iou in rule.crowding:
        alive = alive[_suppress(boxes[alive], iou, 1.0, len(alive))]
        level[alive] += 1
    return scores * rule.crowded_share ** (len(rule.crowding) - level)


def _prepare(edges: FloatMap, orientation: FloatMap, rule: EdgeBoxesRule) -> Scene:
    # Without the outermost pixels: a contour that the image cuts off is not lost to a box that ends there as well.
    framed = np.zeros_like(edges)
    framed[1:-1, 1:-1] = edges[1:-1, 1:-1]
    groups = group_edges(framed, orientation)
    at_pixel = np.zeros(edges.shape)
    at_pixel[groups.y[1:], groups.x[1:]] = groups.magnitude[1:]
    row_runs, row_run = _runs(groups.ids)
    column_runs, column_run = _runs(np.ascontiguousarray(groups.ids.T))
    runs, run = np.concatenate([row_runs, column_runs]), np.stack([row_run, column_run.T + np.int32(len(row_runs))])
    # Half the sides and no factor 2, unlike equation 4: the units of the published code, which min_score goes with.
    weight = 1 / np.maximum(np.arange(sum(edges.shape) + 1), 1) ** rule.kappa
    edge_sum = _integral(np.where(framed > MIN_EDGE, framed, 0).astype(np.float64))
    return Scene(groups, _integral(at_pixel), edge_sum, runs, run, weight)


def _integral(values: Floats) -> Floats:
    return np.pad(values.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))


def _runs(ids: Ints) -> tuple[Ints, Ints]:
    """The group of each run along the rows (R,), and the run of each pixel (H, W)."""
    starts = np.ones(ids.shape, bool)
    starts[:, 1:] = ids[:, 1:] != ids[:, :-1]
    return ids[starts], (np.cumsum(starts).reshape(ids.shape) - 1).astype(np.int32)


def _windows(height: int, width: int, rule: EdgeBoxesRule) -> Ints:
    """The sliding search's boxes (N, 4): neighbours in place, size and shape overlap by about alpha (section 3.3)."""
    size_step = 1 / np.sqrt(rule.alpha)
    shape_step = (1 + rule.alpha) / (2 * rule.alpha)
    ratio = (1 - rule.alpha) / (1 + rule.alpha)
    shapes = int(np.log(rule.max_aspect) / np.log(shape_step**2))
    least = np.sqrt(rule.min_area)
    sizes = int(np.ceil(np.log(max(height, width) / least) / np.log(size_step)))
    windows = [np.zeros((0, 4), np.int32)]
    for size in range(sizes):
        for shape in range(-shapes, shapes + 1):
            side, stretch = least * size_step**size, shape_step**shape
            w, h = int(side * stretch), int(side / stretch)
            step_x, step_y = max(2, int(w * ratio)), max(2, int(h * ratio))
            x, y = np.arange(0, width - w + step_x, step_x), np.arange(0, height - h + step_y, step_y)
            x, y = (grid.ravel() for grid in np.meshgrid(x, y))
            windows.append(np.stack([x, y, x + w, y + h], axis=1).astype(np.int32))
    boxes = np.concatenate(windows)
    return np.minimum(boxes, np.array([width, height, width, height], np.int32) - 1)


@compiled
def _search(windows: Ints, scene: Scene, step: float, min_score: float) -> tuple[Ints, Floats]:
    """Windows of at least `min_score`, each moved to the best place near it: boxes (N, 4), scores (N,)."""
    groups, group_sum, edge_sum, runs, run, weight = scene
    ids, magnitude, group_x, group_y, first, neighbors, affinities = groups
    size = len(magnitude)
    met, place, call = np.zeros(size, np.int32), np.zeros(size, np.int32), np.zeros(size, np.int64)
    lost = np.zeros(size)
    calls = 0
    boxes, scores = windows.copy(), np.zeros(len(windows))
    limits = (ids.shape[1] - 1, ids.shape[0] - 1)
    box, trial = np.zeros(4, np.int32), np.zeros(4, np.int32)
    found = 0
    for i in range(len(windows)):
        box[:] = windows[i]
        calls += 1
        score = _score(
            box, min_score, calls, group_sum, edge_sum, runs, run, weight,
            magnitude, group_x, group_y, first, neighbors, affinities, met, place, call, lost,
        )  # fmt: skip
        if score == 0:
            continue
        step_x, step_y = int((box[2] - box[0]) * step) // 2, int((box[3] - box[1]) * step) // 2
        while max(step_x, step_y) > 2:
            for side in (1, 3, 0, 2):
                axis = side % 2
                stride = max(step_y if axis == 1 else step_x, 1)
                for move in (-stride, stride):
                    trial[:] = box
                    trial[side] = min(max(box[side] + move, 0), limits[axis])
                    if trial[side] == box[side] or trial[axis] >= trial[axis + 2]:
                        continue
                    calls += 1
                    trial_score = _score(
                        trial, score, calls, group_sum, edge_sum, runs, run, weight,
                        magnitude, group_x, group_y, first, neighbors, affinities, met, place, call, lost,
                    )  # fmt: skip
                    if trial_score > score:
                        score = trial_score
                        box[:] = trial
                        break
            step_x, step_y = step_x // 2, step_y // 2
        boxes[found] = box
        scores[found] = score
        found += 1
    return boxes[:found], scores[:found]


@compiled
def _score(
    box: Ints, least: float, this_call: int, group_sum: Floats, edge_sum: Floats, runs: Ints, run: Ints,
    weight: Floats, magnitude: Floats, group_x: Ints, group_y: Ints, first: Ints, neighbors: Ints, affinities: Floats,
    met: Ints, place: Ints, call: NDArray[np.int64], lost: Floats,
) -> float:  # fmt: skip
    """Score of a box (equations 3 and 4), or 0 as soon as it cannot reach `least`."""
    x, y, x2, y2 = box[0], box[1], box[2], box[3]
    half_width, half_height = (x2 - x) >> 1, (y2 - y) >> 1
    mx, my = x + (half_width >> 1), y + (half_height >> 1)
    mx2, my2 = mx + half_width, my + half_height
    least = least / weight[half_width + half_height]
    value = group_sum[y2 + 1, x2 + 1] - group_sum[y, x2 + 1] - group_sum[y2 + 1, x] + group_sum[y, x]
    value -= edge_sum[my2 + 1, mx2 + 1] - edge_sum[my, mx2 + 1] - edge_sum[my2 + 1, mx] + edge_sum[my, mx]
    if value < least:
        return 0.0
    count = 0
    starts = (run[0, y, x], run[0, y2, x], run[1, y, x], run[1, y, x2])
    ends = (run[0, y, x2], run[0, y2, x2], run[1, y2, x], run[1, y2, x2])
    for border in range(4):
        for i in range(starts[border], ends[border] + 1):
            group = runs[i]
            if group > 0 and call[group] != this_call:
                call[group] = this_call
                lost[group] = 1.0
                place[group] = count
                met[count] = group
                count += 1
                if x <= group_x[group] and group_x[group] <= x2 and y <= group_y[group] and group_y[group] <= y2:
                    value -= magnitude[group]
    i = 0
    while i < count and value >= least:
        group = met[i]
        for k in range(first[group], first[group + 1]):
            share = lost[group] * affinities[k]
            if share < MIN_AFFINITY:
                continue
            other = neighbors[k]
            if call[other] == this_call:
                if share > lost[other]:
                    if x <= group_x[other] and group_x[other] <= x2 and y <= group_y[other] and group_y[other] <= y2:
                        value -= (share - lost[other]) * magnitude[other]
                    lost[other] = share
                    i = min(i, place[other] - 1)
            elif x <= group_x[other] and group_x[other] <= x2 and y <= group_y[other] and group_y[other] <= y2:
                value -= share * magnitude[other]
                call[other] = this_call
                lost[other] = share
                place[other] = count
                met[count] = other
                count += 1
        i += 1
    return value * weight[half_width + half_height] if value >= least else 0.0


@compiled
def _suppress(boxes: Ints, beta: float, eta: float, max_boxes: int) -> Ints:
    """Indices (K,) of the boxes (N, 4), best first, that no kept one before them overlaps by more than `beta`.

    At such an overlap widths differ by less than the factor beta, and centres by less than 1 / beta - 1 of the width
    and of the height; a box is compared only with those kept that are so near.
    """
    n = len(boxes)
    kept, next_alike = np.empty(min(n, max_boxes), np.int32), np.full(n, -1, np.int32)
    newest = np.full((WIDTH_CLASSES, GRID, GRID), -1, np.int32)  # of each class and cell; next_alike chains the others
    cell = (boxes.max() + 1) / GRID if n > 0 else 1.0
    count = 0
    for i in range(n):
        if count == max_boxes:
            break
        x, y, x2, y2 = boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3]
        center_x, center_y = (x + x2) / 2, (y + y2) / 2
        off_x, off_y = (x2 - x) * (1 / beta - 1), (y2 - y) * (1 / beta - 1)
        left, right = max(int((center_x - off_x) / cell), 0), min(int((center_x + off_x) / cell) + 1, GRID)
        top, bottom = max(int((center_y - off_y) / cell), 0), min(int((center_y + off_y) / cell) + 1, GRID)
        wide, reach = int(np.log(max(x2 - x, 1)) / WIDTH_CLASS), int(np.ceil(-np.log(beta) / WIDTH_CLASS))
        keep = True
        for like in range(max(wide - reach, 0), min(wide + reach + 1, WIDTH_CLASSES)):
            for row in range(top, bottom):
                for column in range(left, right):
                    k = newest[like, row, column]
                    while keep and k >= 0:
                        width = min(x2, boxes[k, 2]) - max(x, boxes[k, 0])
                        height = min(y2, boxes[k, 3]) - max(y, boxes[k, 1])
                        if width > 0 and height > 0:
                            other_area = (boxes[k, 2] - boxes[k, 0]) * (boxes[k, 3] - boxes[k, 1])
                            keep = width * height <= beta * ((x2 - x) * (y2 - y) + other_area - width * height)
                        k = next_alike[k]
        if keep:
            kept[count] = i
            count += 1
            row, column = int(center_y / cell), int(center_x / cell)
            next_alike[i], newest[wide, row, column] = newest[wide, row, column], i
            if beta > 0.5:
                beta *= eta
    return kept[:count]
