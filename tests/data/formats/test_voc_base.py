"""Which number the first pixel has in a set of VOC's form, told by its boxes."""

from pathlib import Path

import pytest

from detkit.data.formats.voc_base import MARK, counts_from_0

ONE_BASED = ["1 1 20 20", "1 7 30 40", "5 5 9 9"]
ZERO_BASED = ["0 0 20 20", "0 7 30 40", "1 5 9 9"]


def folder_of(tmp_path: Path, boxes: list[str], more: str = "") -> Path:
    for number, box in enumerate(boxes):
        sides = zip(("xmin", "ymin", "xmax", "ymax"), box.split(), strict=True)
        text = "".join(f"<{side}> {value}</{side}>" for side, value in sides)
        (tmp_path / f"{number}.xml").write_text(
            f"<annotation>{more}<object><bndbox>{text}</bndbox></object></annotation>"
        )
    return tmp_path


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        (ONE_BASED, False),
        (ZERO_BASED, True),
        ([*ONE_BASED, "0 3 9 9"], False),  # one slip
        (["5 5 9 9"], False),  # nothing tells: VOC counts from 1
        (["5.25 5 9.5 9"], True),  # who measures fractions does not count pixels
        (["1 1 9.5 9.5", "5.25 5 9.5 9"], False),
        ([], False),
    ],
)
def test_boxes_at_the_border_tell(tmp_path: Path, boxes: list[str], expected: bool) -> None:
    assert counts_from_0([folder_of(tmp_path, boxes), tmp_path]) is expected


def test_files_of_our_own_say_it(tmp_path: Path) -> None:
    folder_of(tmp_path, ["5.25 5 9.5 9"], f"<source><annotation>detkit, {MARK}</annotation></source>")
    assert not counts_from_0([tmp_path])


def test_numbers_that_are_none_are_passed_over(tmp_path: Path) -> None:
    assert not counts_from_0([folder_of(tmp_path, [". 1.2.3 x nan"])])
