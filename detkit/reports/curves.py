"""Precision against recall, of each class at one or several overlaps: as points for the page and as a figure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from detkit.data.ground_truth import Floats
from detkit.evaluation.assessment import Assessment
from detkit.evaluation.coco import CocoResult
from detkit.evaluation.coco_matching import IOUS, RECALLS
from detkit.reports.figures import SERIES, curve_points, plain

SHOWN_IOUS = (0.5, 0.75, 0.9)
SHOWN_ROWS = [int(np.argmin(np.abs(np.array(IOUS) - iou))) for iou in SHOWN_IOUS]

MAX_PANELS = 25  # matplotlib takes a second for ten of them

Points = list[tuple[float, float]]  # recall, precision


@dataclass(frozen=True)
class Curves:
    """A panel: the curves of one class, or of the mean over all."""

    name: str
    ap: float | None
    points: list[Points]  # of each overlap; empty where nothing was hit

    @property
    def polylines(self) -> list[str]:
        """Points of SVG polylines in a 100 x 100 box, recall to the right and precision upward."""
        return [" ".join(f"{100 * x:.4g},{100 - 100 * y:.4g}" for x, y in points) for points in self.points]


def precision_recall_curves(assessment: Assessment) -> tuple[list[float], list[Curves]]:
    """The overlaps, and the panels of the classes that have objects, the best first; with COCO the mean before them."""
    if assessment.coco is not None:
        return list(SHOWN_IOUS), _coco_curves(assessment.coco)
    if not assessment.voc:
        return [], []
    result = next(iter(assessment.voc.values()))
    panels = [Curves(name, one.ap, [curve_points(one)]) for name, one in result.classes.items() if one.ap is not None]
    return [result.min_iou], sorted(panels, key=lambda panel: panel.ap or 0.0, reverse=True)


def _coco_curves(result: CocoResult) -> list[Curves]:
    precision = result.precision[SHOWN_ROWS]  # (3, R, C)
    panels = [
        Curves(name, ap, [_falling(curve) for curve in precision[:, :, label]])
        for label, (name, ap) in enumerate(result.ap.items())
        if ap is not None
    ]
    if not panels:
        return []
    there = ~np.isnan(precision[0, 0])
    mean = Curves(
        "mean of all classes", result.summary["AP"], [_falling(curve) for curve in precision[..., there].mean(2)]
    )
    return [mean, *sorted(panels, key=lambda panel: panel.ap or 0.0, reverse=True)]


def _falling(curve: Floats) -> Points:
    """The points of a curve (R,) at RECALLS, without those in the middle of a level stretch or after its end."""
    reached = np.flatnonzero(curve > 0)
    if not len(reached):
        return []
    last = int(reached[-1])
    rows = [
        row
        for row in range(last + 1)
        if row in (0, last) or curve[row] != curve[row - 1] or curve[row] != curve[row + 1]
    ]
    return [(float(RECALLS[row]), float(curve[row])) for row in rows]


def precision_recall_figure(ious: Sequence[float], panels: Sequence[Curves]) -> Figure:
    """One small panel each, in rows of five; the first MAX_PANELS, of which the page has all."""
    panels = panels[:MAX_PANELS]
    columns = max(1, min(5, len(panels)))
    rows = max(1, math.ceil(len(panels) / columns))
    width, height = 2.2 * columns + 0.6, 2.2 * rows + 0.6
    figure = Figure(figsize=(width, height))
    # Margins in inches: matplotlib's own layouts take half a minute for 80 panels.
    figure.subplots_adjust(0.6 / width, 0.6 / height, 1 - 0.1 / width, 1 - 0.3 / height, wspace=0.2, hspace=0.3)
    for index, panel in enumerate(panels):
        axes = figure.add_subplot(rows, columns, index + 1)
        for iou, points, color in zip(ious, panel.points, SERIES):
            axes.plot(*zip(*points or [(0.0, 0.0)]), color=color, linewidth=1.4, label=f"IoU {iou:g}")
        axes.set(xlim=(0, 1.01), ylim=(0, 1.03))
        axes.set_title(f"{panel.name[:24]}  {100 * (panel.ap or 0.0):.1f}", fontsize=9, parse_math=False)
        plain(axes)
        if index == 0 and len(ious) > 1:
            axes.legend(fontsize=7, frameon=False)
    figure.supxlabel("recall", fontsize=9, y=0.1 / height, va="bottom")
    figure.supylabel("precision", fontsize=9, x=0.1 / width, ha="left")
    return figure
