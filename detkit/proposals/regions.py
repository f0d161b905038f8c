"""What grouping needs to know of the regions of a segmentation: sizes, boxes, histograms, neighbours.

Shapes: H, W the image, R regions, E pairs of neighbours, B bins of colour and texture together.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detkit.ops.compiled import compiled
from detkit.proposals.color import COLOR_BINS, TEXTURE_BINS


@dataclass(frozen=True)
class Regions:
    sizes: NDArray[np.int64]  # (R,) px
    boxes: NDArray[np.int64]  # (R, 4) x1, y1, x2, y2 in whole px
    counts: NDArray[np.int32]  # (R, B) votes of the pixels: colour first, then texture
    num_color: int  # of the bins
    num_channels: int  # votes of a pixel for colour, and as many for texture
    pairs: NDArray[np.int32]  # (E, 2) neighbours, each pair once
    num_pixels: int  # of the image


def describe(labels: NDArray[np.int32], votes: NDArray[np.uint16]) -> Regions:
    """Labels (H, W) of 0 ... R - 1 and the bins (H, W, 2 * channels) that each pixel counts in."""
    num_regions = int(labels.max()) + 1
    channels = votes.shape[2] // 2
    sizes, boxes = _extents(labels, num_regions)
    counts = _count(labels, votes, num_regions, channels * (COLOR_BINS + TEXTURE_BINS))
    return Regions(sizes, boxes, counts, channels * COLOR_BINS, channels, neighbours(labels, num_regions), labels.size)


@compiled
def _extents(labels: NDArray[np.int32], num_regions: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    height, width = labels.shape
    sizes = np.zeros(num_regions, np.int64)
    boxes = np.zeros((num_regions, 4), np.int64)
    boxes[:, 0] = width
    boxes[:, 1] = height
    for y in range(height):
        for x in range(width):
            box = boxes[labels[y, x]]
            sizes[labels[y, x]] += 1
            box[0] = min(box[0], x)
            box[1] = min(box[1], y)
            box[2] = max(box[2], x + 1)
            box[3] = max(box[3], y + 1)
    return sizes, boxes


@compiled
def _count(labels: NDArray[np.int32], votes: NDArray[np.uint16], num_regions: int, num_bins: int) -> NDArray[np.int32]:
    counts = np.zeros((num_regions, num_bins), np.int32)
    for y in range(votes.shape[0]):
        for x in range(votes.shape[1]):
            for vote in votes[y, x]:
                counts[labels[y, x], vote] += 1
    return counts


@compiled
def neighbours(labels: NDArray[np.int32], num_regions: int) -> NDArray[np.int32]:
    """Pairs (E, 2) of regions that share a side of a pixel, the lower label first, each once."""
    height, width = labels.shape
    found = 0
    lows, highs = np.empty(2 * labels.size, np.int32), np.empty(2 * labels.size, np.int32)
    starts = np.zeros(num_regions + 1, np.int64)
    for y in range(height):
        for x in range(width):
            for other in (labels[y, min(x + 1, width - 1)], labels[min(y + 1, height - 1), x]):
                if other != labels[y, x]:
                    lows[found], highs[found] = min(other, labels[y, x]), max(other, labels[y, x])
                    starts[lows[found] + 1] += 1
                    found += 1
    ends = np.cumsum(starts)  # counting sort by the lower label
    touching = np.empty(found, np.int32)
    for i in range(found):
        touching[ends[lows[i]]] = highs[i]
        ends[lows[i]] += 1
    pairs = np.empty((found, 2), np.int32)
    seen = np.full(num_regions, -1, np.int32)
    count = 0
    begin = 0
    for low in range(num_regions):
        for high in touching[begin : ends[low]]:
            if seen[high] != low:
                seen[high] = low
                pairs[count, 0], pairs[count, 1] = low, high
                count += 1
        begin = ends[low]
    return pairs[:count].copy()
