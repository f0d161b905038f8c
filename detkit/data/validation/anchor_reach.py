"""How well the anchors of a region proposal network can overlap each object, wherever they stand on their grid.

An object that no anchor reaches is learned from the one anchor that overlaps it most, if at all (Faster R-CNN, section
3.1.2). Notation: M objects, A anchors a cell.
"""

import numpy as np

from detkit.data.ground_truth import Bools, Floats

_AT_ONCE = 100_000  # objects: some 100 MB


def best_overlaps(boxes: Floats, sizes: Floats, cell: Floats, stride: int, across_border: bool) -> Floats:
    """The best IoU (M,) of each box with any anchor; 0 where no anchor is to be had.

    boxes: (M, 4) px. sizes: (M, 2) height and width of each box's image, px. cell: (A, 4) the anchors seen from the
    centre of a cell of `stride` px; cells cover the image from its upper left. Without `across_border` anchors that
    leave the image are not used.

    All positions need not be tried. The intersection of an anchor with a box is a length along x times one along y,
    and neither grows as the anchor's centre moves away from the box's: the nearest position that is allowed is best.
    """
    best = np.zeros(len(boxes))
    for start in range(0, len(boxes), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        best[part] = _best_overlaps(boxes[part], sizes[part], cell, stride, across_border)
    return best


def _best_overlaps(boxes: Floats, sizes: Floats, cell: Floats, stride: int, across_border: bool) -> Floats:
    widths, has_x = _common_length(boxes[:, 0::2], sizes[:, 1], cell[:, 0::2], stride, across_border)
    heights, has_y = _common_length(boxes[:, 1::2], sizes[:, 0], cell[:, 1::2], stride, across_border)
    common = np.where(has_x & has_y, widths * heights, 0.0)  # (M, A)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)[:, None]
    anchor_area = (cell[:, 2:] - cell[:, :2]).prod(axis=1)
    best: Floats = (common / (area + anchor_area - common)).max(axis=1, initial=0.0)
    return best


def _common_length(
    spans: Floats, lengths: Floats, cell: Floats, stride: int, across_border: bool
) -> tuple[Floats, Bools]:
    """Along one axis: the longest overlap of spans (M, 2) with each anchor's span (A, 2), and whether it has a place.

    lengths: (M,) px of the images. Both results are (M, A).
    """
    first = np.zeros((len(spans), len(cell)))
    last = np.broadcast_to(np.ceil(lengths / stride)[:, None] - 1, first.shape)
    if not across_border:
        first = np.maximum(first, np.ceil(-cell[:, 0] / stride - 0.5))
        last = np.minimum(last, np.floor((lengths[:, None] - cell[:, 1]) / stride - 0.5))
    middle = (spans.sum(axis=1)[:, None] - cell.sum(axis=1)) / 2  # of the cell that would centre the anchor on the span
    place = np.clip(np.rint(middle / stride - 0.5), first, last)
    start = (place + 0.5) * stride + cell[:, 0]
    end = (place + 0.5) * stride + cell[:, 1]
    common = np.minimum(end, spans[:, 1:]) - np.maximum(start, spans[:, :1])
    return common.clip(min=0), first <= last
