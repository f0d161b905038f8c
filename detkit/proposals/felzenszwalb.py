"""Graph-based segmentation of Felzenszwalb & Huttenlocher (IJCV 2004): where selective search begins.

Shapes: H, W the image, C channels, P = H * W pixels, E = 4 * P edges to the right, down and both diagonals down.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from detkit.ops.compiled import compiled

SIGMA = 0.8  # px, smoothing before the edges are measured; the authors' choice
STEPS = 64  # weights are counted in 1/64 of a grey level, so that they sort by counting


def segment(image: NDArray[np.uint8], scales: Sequence[float]) -> list[NDArray[np.int32]]:
    """The regions of `image` (H, W, C) for each k of `scales`: labels (H, W), 0 ... regions - 1 in reading order.

    k weighs the inner variation of a region against the difference to its neighbour (equations 4, 5): the larger, the
    larger the regions. A region of fewer than k pixels joins the neighbour it differs least from (Uijlings et al.
    use the same number for both). The edges are weighed and sorted once for all k.
    """
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), SIGMA)
    weights = _weights(np.asarray(smooth, np.float32).reshape(image.shape))
    order = _sort(weights)
    return [_join(weights, order, image.shape[0], image.shape[1], k, int(k)) for k in scales]


@compiled
def _weights(smooth: NDArray[np.float32]) -> NDArray[np.int32]:
    """Colour distance along every edge, (E,) in 1/64 grey levels; -1 where the edge would leave the image."""
    height, width, channels = smooth.shape
    weights = np.full(height * width * 4, -1, np.int32)
    for y in range(height):
        for x in range(width):
            for direction in range(4):  # right, down left, down, down right
                dy = 0 if direction == 0 else 1
                dx = 1 if direction == 0 else direction - 2
                if y + dy >= height or x + dx < 0 or x + dx >= width:
                    continue
                total = np.float32(0)
                for c in range(channels):
                    difference = smooth[y, x, c] - smooth[y + dy, x + dx, c]
                    total += difference * difference
                weights[(y * width + x) * 4 + direction] = np.int32(np.sqrt(total) * np.float32(STEPS))
    return weights


@compiled
def _sort(weights: NDArray[np.int32]) -> NDArray[np.int32]:
    """The edges inside the image by weight, those of equal weight in reading order."""
    starts = np.zeros(weights.max() + 2 if len(weights) else 1, np.int32)
    for weight in weights:
        if weight >= 0:
            starts[weight + 1] += 1
    starts = np.cumsum(starts)
    order = np.empty(starts[-1], np.int32)
    for edge in range(len(weights)):
        if weights[edge] >= 0:
            order[starts[weights[edge]]] = edge
            starts[weights[edge]] += 1
    return order


@compiled
def _root(parents: NDArray[np.int32], item: int) -> int:
    while parents[item] != item:
        parents[item] = parents[parents[item]]
        item = parents[item]
    return item


@compiled
def _join(
    weights: NDArray[np.int32], order: NDArray[np.int32], height: int, width: int, k: float, min_size: int
) -> NDArray[np.int32]:
    """Algorithm 1, then the joining of small regions; labels (H, W)."""
    steps = np.array([1, width - 1, width, width + 1])
    parents = np.arange(height * width).astype(np.int32)
    sizes = np.ones(height * width, np.int32)
    limits = np.full(height * width, k * STEPS, np.float32)  # the heaviest edge that may join: Int(C) + k / |C|
    between = np.empty_like(order)  # the edges that join nothing
    num_between = 0
    for edge in order:
        a = _root(parents, edge >> 2)
        b = _root(parents, (edge >> 2) + steps[edge & 3])
        if a == b:
            continue
        weight = np.float32(weights[edge])
        if weight <= limits[a] and weight <= limits[b]:
            parents[b] = a
            sizes[a] += sizes[b]
            limits[a] = weight + k * STEPS / sizes[a]
        else:
            between[num_between] = edge
            num_between += 1
    for edge in between[:num_between]:
        a = _root(parents, edge >> 2)
        b = _root(parents, (edge >> 2) + steps[edge & 3])
        if a != b and (sizes[a] < min_size or sizes[b] < min_size):
            parents[b] = a
            sizes[a] += sizes[b]
    return _labels(parents).reshape(height, width)


@compiled
def _labels(parents: NDArray[np.int32]) -> NDArray[np.int32]:
    """The number (P,) of each pixel's region, by the place of its first pixel."""
    names = np.full(len(parents), -1, np.int32)
    labels = np.empty(len(parents), np.int32)
    count = 0
    for pixel in range(len(parents)):
        root = _root(parents, pixel)
        if names[root] < 0:
            names[root] = count
            count += 1
        labels[pixel] = names[root]
    return labels
