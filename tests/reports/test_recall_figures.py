"""Figures of recall: they show the numbers of each source, and say when a number is not there."""

import warnings

import numpy as np
import pytest
from matplotlib.figure import Figure

from detkit.evaluation.recall import Recall
from detkit.reports.figures import inline_svg
from detkit.reports.recall_figures import recall_against_count, recall_against_iou

# Three objects; the best 10 boxes reach IoU .6 with the first alone.
SEARCH = Recall(
    (10, 100),
    (0.5, 0.75, 1.0),
    np.array([[0.6, 0.0, 0.0], [0.8, 0.75, 1.0]]),
    np.full(3, 50.0**2),
    np.array([10.0, 87.6]),
)
NETWORK = Recall(
    (10, 100), (0.5, 0.75, 1.0), np.array([[0.9, 0.9, 0.9]] * 2), np.full(3, 50.0**2), np.array([10.0, 10.0])
)
CURVES = {"_search $x^{": SEARCH, "network": NETWORK}


def lines(figure: Figure) -> list[list[tuple[list[float], list[float]]]]:
    """By panel, the (x, y) of each curve."""
    return [
        [(np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist()) for line in axes.get_lines()]
        for axes in figure.axes
    ]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for one in figure.legends for text in one.get_texts()]


def test_recall_against_iou() -> None:
    figure = recall_against_iou(CURVES, count=100)
    assert lines(figure) == [[([0.5, 0.75, 1.0], [1, 1, 1 / 3]), ([0.5, 0.75, 1.0], [1, 1, 0])]]
    # AR: 2 * (.3 + .25 + .5) / 3 and 2 * .4
    assert legend(figure) == ["_search $x^{, AR 70.0 (88 boxes)", "network, AR 80.0 (10 boxes)"]


def test_recall_against_count() -> None:
    figure = recall_against_count(CURVES, ious=(0.5, 0.7))
    assert [axes.get_title() for axes in figure.axes] == ["recall at IoU 0.5", "recall at IoU 0.7", "average recall"]
    np.testing.assert_allclose([panel[0][1] for panel in lines(figure)], [[1 / 3, 1], [0, 1], [0.2 / 3, 2.1 / 3]])
    assert {tuple(x) for panel in lines(figure) for x, _ in panel} == {(10, 100)}
    assert legend(figure) == list(CURVES)


@pytest.mark.parametrize("curves", [CURVES, {}], ids=["two", "none"])
def test_they_draw_whatever_the_names(curves: dict[str, Recall]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in (recall_against_iou(curves, 100), recall_against_count(curves)):
            svg = inline_svg(figure)
            assert all(name in svg for name in curves)


def test_count_that_was_not_measured() -> None:
    with pytest.raises(ValueError, match="network: recall was not measured for 2000 boxes, only for 10, 100"):
        recall_against_iou({"network": NETWORK})
