"""The figures of a page about a data set: how its objects spread over sizes and shapes, beside the anchors."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter

from detkit.data.ground_truth import Floats
from detkit.data.validation.statistics import REACHED, Frame, SplitStatistics
from detkit.reports.figures import INK, SERIES, plain

MAX_SPLITS = 6  # lines that can still be told apart
BINS = 30


def data_figures(statistics: Mapping[str, SplitStatistics], frame: Frame) -> dict[str, Figure]:
    """By title; of each split that has objects one line, the share of its objects in each bin."""
    shown = dict([(name, one) for name, one in statistics.items() if len(one.labels)][:MAX_SPLITS])
    if not shown:
        return {}
    most = max(int(one.objects_per_image.max()) for one in shown.values())
    return {
        "Size": _histogram(
            shown,
            lambda one: one.sizes,
            _log_bins(shown, lambda one: one.sizes),
            frame.sizes,
            "square root of area, px",
        ),
        "Shape": _histogram(
            shown, lambda one: one.ratios, _log_bins(shown, lambda one: one.ratios), frame.ratios, "height / width"
        ),
        "Best overlap with an anchor": _histogram(
            shown, lambda one: one.best_iou, np.linspace(0, 1, BINS + 1, dtype=np.float64), REACHED, "IoU"
        ),
        "Objects an image": _histogram(
            shown,
            lambda one: one.objects_per_image.astype(np.float64),
            np.arange(0, most + 2, max(1, most // BINS)).astype(np.float64) - 0.5,
            (),
            "objects",
        ),
    }


def _log_bins(statistics: Mapping[str, SplitStatistics], values: Callable[[SplitStatistics], Floats]) -> Floats:
    low = min(float(values(one).min()) for one in statistics.values())
    high = max(float(values(one).max()) for one in statistics.values())
    return np.geomspace(low / 1.02, high * 1.02, BINS + 1)


def _histogram(
    statistics: Mapping[str, SplitStatistics],
    values: Callable[[SplitStatistics], Floats],
    bins: Floats,
    marks: Sequence[float],
    label: str,
) -> Figure:
    """A step line a split; `marks` are dashed lines across. Bins that grow get a logarithmic axis."""
    figure = Figure(figsize=(4.6, 2.9), layout="constrained")  # inches
    axes: Axes = figure.subplots()
    for mark in marks:
        axes.axvline(mark, color=INK, linewidth=0.9, linestyle=(0, (4, 3)), alpha=0.55)
    for (_, one), color in zip(statistics.items(), SERIES):
        found = values(one)
        shares = np.histogram(found, bins)[0] / max(len(found), 1)
        axes.stairs(shares, bins, color=color, linewidth=1.5)
    if bins[0] > 0 and not np.isclose(bins[1] - bins[0], bins[-1] - bins[-2]):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    axes.set_ylim(bottom=0)
    axes.set_xlabel(label, fontsize=9, color=INK)
    plain(axes)
    return figure
