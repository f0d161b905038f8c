"""Sources of proposals side by side: recall against IoU and against the number of boxes, as in Hosang et al. 2015."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from detkit.evaluation.recall import Recall
from detkit.reports.figures import INK, SERIES, plain


def recall_against_iou(curves: Mapping[str, Recall], count: int = 2000) -> Figure:
    """One curve a source for its best `count` boxes an image; the legend gives AR and the mean number there were."""
    figure = Figure(figsize=(5.2, 4.0), layout="constrained")  # inches
    axes: Axes = figure.subplots()
    labels = []
    for (name, one), color in zip(curves.items(), _colors(curves), strict=True):
        row = _row_of(name, one, count)
        axes.plot(one.ious, one.recall[row], color=color, linewidth=1.8)
        labels.append(f"{name}, AR {100 * one.average[row]:.1f} ({one.boxes_per_image[row]:,.0f} boxes)")
    axes.set(xlim=(0.5, 1.0), ylim=(0, 1.01))
    axes.set_xlabel(f"IoU, at most {count:,} boxes an image", fontsize=9, color=INK)
    axes.set_ylabel("recall", fontsize=9, color=INK)
    plain(axes)
    _legend(figure, axes, labels, columns=1)
    return figure


def recall_against_count(curves: Mapping[str, Recall], ious: Sequence[float] = (0.5, 0.7)) -> Figure:
    """One curve a source: a panel for recall at each IoU, and one for AR."""
    figure = Figure(figsize=(2.6 * (len(ious) + 1) + 0.4, 3.2), layout="constrained")  # inches
    panels = figure.subplots(1, len(ious) + 1, sharey=True, squeeze=False)[0]
    for axes, title in zip(panels, [*(f"recall at IoU {iou:g}" for iou in ious), "average recall"], strict=True):
        axes.set_title(title, fontsize=9, color=INK)
        axes.set_xscale("log")
        axes.set_ylim(0, 1.01)
        axes.set_xlabel("boxes an image, at most", fontsize=9, color=INK)
    for (_, one), color in zip(curves.items(), _colors(curves), strict=True):
        for axes, values in zip(panels, [*(one.at(iou) for iou in ious), one.average], strict=True):
            axes.plot(one.counts, values, color=color, linewidth=1.8, marker="o", markersize=3)
    for axes in panels:
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        plain(axes)
    _legend(figure, panels[0], list(curves), columns=4)
    return figure


def _row_of(name: str, one: Recall, count: int) -> int:
    if count not in one.counts:
        raise ValueError(
            f"{name}: recall was not measured for {count} boxes, only for {', '.join(map(str, one.counts))}"
        )
    return one.counts.index(count)


def _colors(curves: Mapping[str, Recall]) -> list[str]:
    return [SERIES[index % len(SERIES)] for index in range(len(curves))]


def _legend(figure: Figure, axes: Axes, labels: Sequence[str], columns: int) -> None:
    """Below the panels, so that it hides no curve."""
    legend = figure.legend(
        axes.get_lines(),
        labels,
        loc="outside lower center",
        ncols=columns,
        fontsize=8,
        frameon=False,
        labelcolor=INK,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
