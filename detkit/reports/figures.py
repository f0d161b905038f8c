"""The figures of a report, as matplotlib figures without global state: precision against recall, training curves."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from detkit.evaluation.voc import ClassResult

ACCENT = "#3b82f6"
SERIES = (ACCENT, "#d97706", "#059669", "#db2777", "#7c3aed", "#0891b2", "#65a30d", "#dc2626")
# A colour that no figure uses otherwise: in an inline SVG it becomes the text colour of the page, light or dark.
INK = "#010203"

LogRow = Mapping[str, float]


def curve_points(one: ClassResult, count: int = 100) -> list[tuple[float, float]]:
    """At most `count` (recall, precision) points of a class, evenly spread over recall."""
    if not one.is_tp.any():
        return []
    recalls = np.linspace(one.recall[one.is_tp][0], one.recall[-1], min(count, int(one.is_tp.sum())))
    rows = np.unique(np.searchsorted(one.recall, recalls - 1e-9))
    return list(zip(one.recall[rows].tolist(), one.precision[rows].tolist(), strict=True))


def training_curves(log: Sequence[LogRow]) -> dict[str, Figure]:
    """Figures over the steps of training, by title, of what the log has: loss, learning rate, validation mAP, speed."""
    keys = list(dict.fromkeys(key for row in log for key in row))
    losses = [key for key in keys if key == "loss" or key.startswith("loss/")]
    groups = {
        "Loss": losses,
        "Learning rate": [key for key in keys if key == "lr"],
        "Validation mAP": [key for key in keys if key == "val_map"],
        "Images per second": [key for key in keys if key == "images_per_second"],
    }
    return {title: _curves(log, present) for title, present in groups.items() if present}


def inline_svg(figure: Figure) -> str:
    """The figure as an <svg> element whose text follows the page's colour and font."""
    stream = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))  # metadata would name network addresses
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    text = stream.getvalue()
    return text[text.index("<svg") :].replace(INK, "currentColor")


def save_png(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=130, facecolor="white")
    return path


def _curves(log: Sequence[LogRow], keys: Sequence[str]) -> Figure:
    figure = Figure(figsize=(4.6, 2.7), layout="constrained")  # inches
    axes: Axes = figure.subplots()
    for index, key in enumerate(keys):
        points = [(row["step"], row[key]) for row in log if key in row and "step" in row]
        marker = "o" if len(points) <= 30 else ""
        line_width = 1.8 if index == 0 else 1.1
        axes.plot(*zip(*points), color=SERIES[index % len(SERIES)], linewidth=line_width, marker=marker, markersize=3)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("step", fontsize=9, color=INK)
    if len(keys) > 1:
        names = [key.removeprefix("loss/").lstrip("_") or key for key in keys]  # matplotlib hides names with "_" first
        legend = axes.legend(axes.get_lines(), names, fontsize=8, frameon=False, labelcolor=INK)
        for text in legend.get_texts():
            text.set_parse_math(False)
    plain(axes)
    return figure


def plain(axes: Axes) -> None:
    """Thin axes on two sides and a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#8888")
    axes.tick_params(labelsize=8, color="#8888", labelcolor=INK)
    axes.grid(color="#8883", linewidth=0.6)
    axes.set_axisbelow(True)
