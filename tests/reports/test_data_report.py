"""The page about a data set has all parts, escapes what strangers wrote, and asks no other host."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from detkit.commands.check_data import check
from detkit.data.formats.forms import find_form
from detkit.reports.data_report import write_data_report


def add(root: Path, split: str, number: int, name: str = "dog", box: tuple[int, ...] = (10, 10, 60, 90)) -> None:
    folder = root / split
    folder.mkdir(parents=True, exist_ok=True)
    corners = "".join(f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box))
    content = f"<object><name>{name}</name><bndbox>{corners}</bndbox></object>"
    (folder / f"p{number}.xml").write_text(f"<annotation>{content}</annotation>")
    small = np.random.default_rng(number).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    cv2.imwrite(str(folder / f"p{number}.jpg"), cv2.resize(small, (160 - number, 120), interpolation=cv2.INTER_CUBIC))


def page(root: Path, out: Path) -> str:
    found = check(find_form(root), (), None)
    path = write_data_report(out, found.report, found.frame, found.statistics, list(found.perfect_lines()))
    assert path == out / "index.html" and [file.name for file in out.iterdir()] == ["index.html"]
    return path.read_text(encoding="utf-8")


def test_all_parts(tmp_path: Path) -> None:
    root = tmp_path / "set"
    add(root, "train", 0, "&lt;b&gt;cat")
    add(root, "train", 1, box=(5, 5, 5, 9))
    add(root, "test", 2)
    image = np.asarray(cv2.imread(str(root / "train" / "p0.jpg")))
    cv2.imwrite(str(root / "test" / "p2.jpg"), cv2.resize(image, (80, 60)))
    text = page(root, tmp_path / "out")
    for part in (
        "Training can start",
        "Faults",
        "Suspicious boxes",
        "Objects and anchors",
        "Near duplicates",
        "is that meant?",
    ):
        assert part in text
    assert (
        text.count('src="data:image/jpeg;base64,') == 2 + 3 + 1
    )  # the two likest, each sample, and one that is suspicious
    assert "&lt;b&gt;cat" in text and "<b>cat" not in text
    assert text.count("<svg") == 4
    assert 'src="http' not in text and "url(http" not in text and 'href="http' not in text


@pytest.mark.parametrize("kind", ["empty", "broken"])
def test_sets_with_little_in_them(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "set"
    add(root, "train", 0)
    if kind == "empty":
        (root / "train" / "p0.xml").write_text("<annotation></annotation>")
    else:
        (root / "train" / "p0.jpg").write_bytes(b"no image")
    text = page(root, tmp_path / "out")
    assert "Training would stop: mend the errors" in text
    assert "Objects and anchors" not in text
