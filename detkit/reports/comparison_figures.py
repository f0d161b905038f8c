"""Figures with one bar or point a system: bars in pairs, bars of stacked parts, a point cloud over time."""

from collections.abc import Mapping, Sequence
from math import ceil, floor, log10

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from detkit.reports.figures import ACCENT, INK, SERIES, plain

MARKERS = "os^Dv"  # with the colours 40 systems that can be told apart
QUIET = "#8888"
WIDTH = 4.8  # inches; two figures beside each other fill the page


def paired_bars(names: Sequence[str], ours: Sequence[float | None], published: Sequence[float | None]) -> Figure:
    """A bar of each system and below it, fainter, the published one; None leaves its place empty. Percent."""
    figure, axes = _rows(names, 0.52)
    for values, color, place in ((ours, ACCENT, -0.19), (published, QUIET, 0.19)):
        rows = [row + place for row in range(len(names))]
        bars = axes.barh(rows, [value or 0.0 for value in values], height=0.36, color=color)
        texts = ["" if value is None else f"{value:.1f}" for value in values]
        axes.bar_label(bars, texts, fontsize=8, color=INK, padding=3)
    axes.set_xlim(0, 109)  # percent, and room for the text of a full bar
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel("mAP in %", fontsize=9, color=INK)
    if any(value is not None for value in published):
        _legend(figure, axes.patches[:: len(names)], ["this run", "published"], columns=2)
    return figure


def stacked_bars(names: Sequence[str], parts: Mapping[str, Sequence[float]], unit: str, texts: Sequence[str]) -> Figure:
    """A bar of each system made of its parts, by the part's name, 0 for one it does not have; its text at the end."""
    figure, axes = _rows(names, 0.42)
    ends = [0.0] * len(names)
    drawn: list[Artist] = []
    for index, values in enumerate(parts.values()):
        bars = axes.barh(range(len(names)), values, left=ends, height=0.62, color=SERIES[index % len(SERIES)])
        drawn.append(bars[0])
        ends = [end + value for end, value in zip(ends, values, strict=True)]
    totals = axes.barh(range(len(names)), ends, height=0.62, color="none")
    axes.bar_label(totals, list(texts), fontsize=8, color=INK, padding=3)
    axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= 1.05 * max(ends)])
    axes.set_xlim(0, 1.2 * max(ends) or 1.0)  # room for the texts
    axes.set_xlabel(unit, fontsize=9, color=INK)
    _legend(figure, drawn, list(parts), columns=4)
    return figure


def map_against_seconds(names: Sequence[str], seconds: Sequence[float], percents: Sequence[float]) -> Figure:
    """A point a system, seconds an image (logarithmic) to the right: the better the nearer to the upper left."""
    figure = Figure(figsize=(WIDTH, 2.8 + 0.1 * len(names)), layout="constrained")  # inches
    axes: Axes = figure.subplots()
    points = [
        axes.plot([x], [y], MARKERS[i // len(SERIES) % len(MARKERS)], color=SERIES[i % len(SERIES)], markersize=7)[0]
        for i, (x, y) in enumerate(zip(seconds, percents, strict=True))
    ]
    axes.set_xscale("log")
    # Whole decades, so that two of their ends at least are there to be labelled.
    axes.set_xlim(10 ** floor(log10(min(seconds) / 1.1)), 10 ** ceil(log10(1.1 * max(seconds))))
    axes.set_ylim(max(0.0, min(percents) - 5), min(103.0, max(percents) + 5))
    axes.set_xlabel("seconds an image, without decoding", fontsize=9, color=INK)
    axes.set_ylabel("mAP in %", fontsize=9, color=INK)
    plain(axes)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    _legend(figure, points, names, columns=2)
    return figure


def _rows(names: Sequence[str], height: float) -> tuple[Figure, Axes]:
    """Axes with a name at each row, the first on top; `height` of a row in inches."""
    figure = Figure(figsize=(WIDTH, 1.0 + height * len(names)), layout="constrained")
    axes: Axes = figure.subplots()
    axes.set_yticks(range(len(names)), [_literal(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    plain(axes)
    axes.grid(visible=False, axis="y")
    return figure, axes


def _legend(figure: Figure, drawn: Sequence[Artist], names: Sequence[str], columns: int) -> None:
    """Below the axes, so that it hides nothing."""
    texts = [_literal(name) for name in names]
    figure.legend(drawn, texts, loc="outside lower center", ncols=columns, fontsize=8, frameon=False, labelcolor=INK)


def _literal(name: str) -> str:
    """A name short enough for a margin, without matplotlib's markup."""
    short = name if len(name) <= 28 else f"{name[:27]}…"
    return short.replace("$", r"\$")
