"""Figures of a comparison: bars as long as their numbers, points where they belong, names as they are written."""

from matplotlib.figure import Figure

from detkit.reports.comparison_figures import map_against_seconds, paired_bars, stacked_bars

NAMES = ["one", "$x^{ and a name much too long for a margin"]
SHORT = [r"one", r"\$x^{ and a name much too lo…"]  # to matplotlib, "\$" is a dollar


def bars(figure: Figure) -> list[tuple[float, float]]:
    """(start, length) of each bar, in the order of drawing."""
    return [(float(bar.get_x()), float(bar.get_width())) for bar in figure.axes[0].patches]


def end_texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for one in figure.legends for text in one.get_texts()]


def test_paired_bars() -> None:
    figure = paired_bars(NAMES, [50.0, None], [66.94, None])
    assert bars(figure) == [(0, 50), (0, 0), (0, 66.94), (0, 0)]
    assert end_texts(figure) == ["50.0", "", "66.9", ""]
    assert legend(figure) == ["this run", "published"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == SHORT
    assert legend(paired_bars(NAMES, [50.0, 60.0], [None, None])) == []


def test_stacked_bars() -> None:
    figure = stacked_bars(NAMES, {"proposals": [2.0, 0.0], "regions": [1.0, 0.5]}, "seconds", ["3 s", "0.5 s"])
    whole = [(0, 3), (0, 0.5)]  # invisible, with the texts
    assert bars(figure) == [(0, 2), (0, 0), (2, 1), (0, 0.5), *whole]
    assert end_texts(figure) == ["3 s", "0.5 s"]
    assert legend(figure) == ["proposals", "regions"]
    assert figure.axes[0].get_xlim()[1] > 3
    assert max(figure.axes[0].get_xticks()) == 3


def test_nothing_took_any_time() -> None:
    assert stacked_bars(["one"], {"train": [0.0]}, "seconds", [""]).axes[0].get_xlim() == (0, 1)


def test_map_against_seconds() -> None:
    figure = map_against_seconds(NAMES, [0.2, 47.0], [70.4, 65.4])
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in figure.axes[0].get_lines()]
    assert points == [(0.2, 70.4), (47.0, 65.4)]
    assert figure.axes[0].get_xscale() == "log"
    assert figure.axes[0].get_xlim() == (0.1, 100)
    assert legend(figure) == SHORT


def test_forty_systems_can_be_told_apart() -> None:
    count = 40
    figure = map_against_seconds([str(n) for n in range(count)], [1.0] * count, [50.0] * count)
    assert len({(line.get_color(), line.get_marker()) for line in figure.axes[0].get_lines()}) == count
