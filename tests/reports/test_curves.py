"""Curves: the points of one class at each overlap, the mean before the classes, as many panels as a figure holds."""

from collections.abc import Callable

import numpy as np

from detkit.evaluation.assessment import Assessment
from detkit.reports import curves
from detkit.structures import Detections


def test_curves_of_coco(assessment: Assessment, hostile: str) -> None:
    ious, panels = curves.precision_recall_curves(assessment)
    assert ious == [0.5, 0.75, 0.9]
    assert [panel.name for panel in panels] == ["mean of all classes", "cat", hostile]
    assert panels[1].points == [[(0.0, 1.0), (0.5, 1.0)]] * 3  # one of two cats, by the surest detection
    assert panels[1].polylines[0] == "0,0 50,0"
    assert panels[2].points == [[], [], []]
    assert panels[0].points[0] == [(0.0, 0.5), (0.5, 0.5)]


def test_curves_of_voc(assessed: Callable[..., Assessment], every_kind: dict[str, Detections], hostile: str) -> None:
    ious, panels = curves.precision_recall_curves(assessed(every_kind, ("voc10",)))
    assert ious == [0.5]
    assert [(panel.name, panel.points) for panel in panels] == [("cat", [[(0.5, 1.0)]]), (hostile, [[]])]


def test_level_stretches_keep_their_ends() -> None:
    curve = np.zeros(101)
    curve[:11], curve[11:31] = 1.0, 0.5
    assert [(round(x, 2), y) for x, y in curves._falling(curve)] == [(0, 1), (0.1, 1), (0.11, 0.5), (0.3, 0.5)]
    assert curves._falling(np.ones(101)) == [(0.0, 1.0), (1.0, 1.0)]
    assert curves._falling(np.zeros(101)) == []


def test_figure() -> None:
    panel = curves.Curves("$x^{", 0.5, [[(0.0, 1.0), (0.5, 0.25)], []])
    figure = curves.precision_recall_figure([0.5, 0.75], [panel] * 30)
    assert len(figure.axes) == curves.MAX_PANELS
    assert [line.get_ydata().tolist() for line in figure.axes[0].get_lines()] == [[1, 0.25], [0]]
    assert figure.axes[0].get_title() == r"$x^{  50.0"
    assert curves.precision_recall_figure([], []).axes == []
