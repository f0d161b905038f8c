"""What was found in an image, given to a loop, an image, and the files of other tools."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from detkit.data.formats.voc_xml import parse_annotation
from detkit.data.io.images import ImageError
from detkit.results import Result, write_image
from detkit.structures import Detections

CLASSES = ("ant", "bee & <fly>")
BOXES = [[10.5, 2.0, 30.25, 20.0], [0.0, 0.0, 40.0, 30.0], [5.0, 6.0, 5.5, 16.0]]
PIXELS = np.full((30, 40, 3), 90, np.uint8)


def result(origin: object = PIXELS, source: str = "array", rows: int = 3) -> Result:
    scores = torch.tensor([0.95, 0.5, 0.125])[:rows]
    labels = torch.tensor([1, 0, 1])[:rows]
    return Result(torch.tensor(BOXES)[:rows], scores, labels, CLASSES, source, (30, 40), origin)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    Image.fromarray(PIXELS).save(tmp_path / "street.png")
    return tmp_path / "street.png"


def test_it_is_detections_with_names() -> None:
    found = result()
    assert isinstance(found, Detections) and len(found) == 3
    assert found.names == ("bee & <fly>", "ant", "bee & <fly>")
    (name, score, box), *rest = found
    assert (name, score, box) == (found.names[0], pytest.approx(0.95), tuple(BOXES[0]))
    assert [one[0] for one in rest] == list(found.names[1:])
    assert list(result(rows=0)) == [] and result(rows=0).names == ()


def test_repr_tells_what_was_found_and_is_short() -> None:
    assert repr(result()) == "<array, 40 x 30 px: 3 detections: bee & <fly> 0.95, ant 0.50, bee & <fly> 0.12>"
    assert repr(result(rows=1)) == "<array, 40 x 30 px: 1 detection: bee & <fly> 0.95>"
    assert repr(result(rows=0)) == "<array, 40 x 30 px: 0 detections>"
    many = Result(
        torch.zeros(7, 4), torch.full((7,), 0.5), torch.zeros(7, dtype=torch.int64), CLASSES, "x", (1, 2), b""
    )
    assert repr(many) == "<x, 2 x 1 px: 7 detections: " + "ant 0.50, " * 5 + "2 more>"


def test_drawing_changes_a_copy(file: Path) -> None:
    data = file.read_bytes()
    for origin in (PIXELS, file, data):
        drawn = result(origin).draw()
        assert drawn.shape == (30, 40, 3) and drawn.dtype == np.uint8
        assert (drawn != PIXELS).any()
        np.testing.assert_array_equal(drawn, result().draw())
    assert (PIXELS == 90).all()
    np.testing.assert_array_equal(result(rows=0).draw(), PIXELS)
    assert (result(file).draw(np.zeros_like(PIXELS))[25, 20] == 0).all()  # within no line
    file.unlink()
    with pytest.raises(ImageError, match=r"street\.png: cannot be opened"):
        result(file).draw()
    with pytest.raises(ValueError, match=r"array: an image of \(40, 30, 3\), expected \(30, 40, 3\)"):
        result().draw(np.zeros((40, 30, 3), np.uint8))


def test_saving(tmp_path: Path) -> None:
    found = result()
    found.save(tmp_path / "drawn.png")
    found.save(str(tmp_path / "drawn.jpg"))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "drawn.png")), found.draw())
    assert cv2.imread(str(tmp_path / "drawn.jpg")).shape == (30, 40, 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["drawn.jpg", "drawn.png"]
    for name in ("drawn", "drawn.xyz"):
        with pytest.raises(ValueError, match="is no format of images"):
            found.save(tmp_path / name)
    with pytest.raises(OSError):
        found.save(tmp_path / "missing" / "drawn.png")


def test_an_image_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.png"
    target.write_bytes(b"old")

    def full(path: Path, data: bytes) -> None:
        path.touch()
        raise OSError("no room")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="no room"):
        write_image(target, PIXELS)
    assert target.read_bytes() == b"old" and list(tmp_path.iterdir()) == [target]


def test_json() -> None:
    content = json.loads(result().to_json())
    assert content == result().to_dict()
    assert content["file"] == "array" and content["size"] == {"height": 30, "width": 40}
    assert content["detections"][0] == {"class": "bee & <fly>", "score": 0.95, "box": BOXES[0]}
    assert json.loads(result(rows=0).to_json())["detections"] == []


def test_coco_rows() -> None:
    rows = result().to_coco(image_id=17)
    assert rows[1] == {"image_id": 17, "category_id": 1, "bbox": [0.0, 0.0, 40.0, 30.0], "score": 0.5}
    assert rows[0]["bbox"] == [10.5, 2.0, 19.75, 18.0] and rows[0]["category_id"] == 2
    assert [row["category_id"] for row in result().to_coco("a", category_ids=[5, 90])] == [90, 5, 90]
    assert result(rows=0).to_coco(1) == []
    json.dumps(rows)
    with pytest.raises(ValueError, match="1 category_ids for 2 classes"):
        result().to_coco(1, [7])


def test_voc_is_read_again_as_the_same_boxes(tmp_path: Path) -> None:
    text = result().to_voc()
    assert "<xmin>11.50</xmin>" in text and "<ymin>3.00</ymin>" in text and "<xmax>30.25</xmax>" in text  # 1-based
    assert "<width>40</width>" in text and "<confidence>0.95000</confidence>" in text
    (tmp_path / "a.xml").write_text(text)
    read = parse_annotation(tmp_path / "a.xml", None)
    assert not read.faults and read.names == result().names
    thin_grown = [BOXES[0], BOXES[1], [4.5, 6.0, 5.5, 16.0]]
    np.testing.assert_allclose(read.boxes, thin_grown, atol=0.005)
    assert "<object>" not in result(rows=0).to_voc()


def test_voc_names_the_file_alone(file: Path) -> None:
    assert "<filename>street.png</filename>" in result(file, str(file)).to_voc()


def test_supervision() -> None:
    supervision = pytest.importorskip("supervision")
    given = result().to_supervision()
    assert isinstance(given, supervision.Detections) and len(given) == 3
    np.testing.assert_array_equal(given.xyxy, np.array(BOXES, np.float32))
    assert given.class_id.tolist() == [1, 0, 1] and given["class_name"].tolist() == list(result().names)
    np.testing.assert_allclose(given.confidence, [0.95, 0.5, 0.125])
    assert len(result(rows=0).to_supervision()) == 0


def test_without_supervision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ValueError, match="pip install supervision"):
        result().to_supervision()


@pytest.mark.parametrize(
    ("chosen", "places"),
    [
        (0, [0]),
        (-1, [2]),
        (np.int64(1), [1]),
        (slice(2), [0, 1]),
        (slice(None, None, -1), [2, 1, 0]),
        ([2, 0], [2, 0]),
        ([-1], [2]),
        ([], []),
        ([True, False, True], [0, 2]),
        (np.array([False, True, False]), [1]),
        (np.array([1, 1]), [1, 1]),
        (torch.tensor([True, False, False]), [0]),
        (torch.tensor([2]), [2]),
        (torch.tensor(2), [2]),
        (result().scores > 0.4, [0, 1]),
    ],
)
def test_some_of_the_detections(chosen: Any, places: list[int]) -> None:
    found = result()
    some = found[chosen]
    assert isinstance(some, Result) and some.origin is PIXELS
    assert (some.classes, some.source, some.size) == (CLASSES, "array", (30, 40))
    assert list(some) == [list(found)[place] for place in places]
    assert some.boxes.shape == (len(places), 4) and some.labels.dtype == torch.int64


@pytest.mark.parametrize("place", [3, -4, [0, 3], torch.tensor([-4])])
def test_no_detection_beyond_the_end(place: Any) -> None:
    with pytest.raises(IndexError, match=r"detection -?\d of 3: expected -3 to 2"):
        result()[place]
    assert list(result(rows=0)[:5]) == [] and list(result(rows=0)[np.zeros(0, bool)]) == []
    with pytest.raises(IndexError):
        result(rows=0)[0]


@pytest.mark.parametrize("chosen", [[True, False], np.zeros(0, bool), True, 0.5, [0.5], "bee", [[0, 1]], None])
def test_what_is_no_place(chosen: Any) -> None:
    with pytest.raises(ValueError, match="expected a place, a slice, a list of places, or a mask of 3 booleans"):
        result()[chosen]


def test_filtering_by_class_and_score() -> None:
    found = result()
    assert [score for _, score, _ in found.filter("ant")] == [0.5]
    assert [score for _, score, _ in found.filter(["bee & <fly>"], min_score=0.5)] == [pytest.approx(0.95)]
    assert len(found.filter(min_score=0.95)) == 1  # as float32 has it
    assert len(found.filter()) == 3 and len(found.filter([])) == 0
    assert len(found.filter(CLASSES, 0.99)) == 0 and len(result(rows=0).filter("ant")) == 0
    with pytest.raises(ValueError, match=r"class 'ants': .* did you mean ant\?"):
        found.filter(["ants"])
    with pytest.raises(ValueError, match=r"class 'wasp': .* expected some of ant, bee"):
        found.filter("wasp")


def test_rows_are_a_plain_table() -> None:
    rows = result(Path("a.png"), "a.png").rows()
    assert list(rows[0]) == ["image", "class", "score", "x1", "y1", "x2", "y2"]
    assert list(rows[0].values()) == ["a.png", "bee & <fly>", 0.95, 10.5, 2.0, 30.25, 20.0]
    assert [row["class"] for row in rows] == list(result().names)
    assert result(rows=0).rows() == []
    json.dumps(rows)


def test_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    table = result().to_pandas()
    assert isinstance(table, pandas.DataFrame)
    assert table.to_dict("records") == result().rows()
    empty = result(rows=0).to_pandas()
    assert len(empty) == 0 and list(empty.columns) == list(table.columns)
    assert empty["score"].dtype == table["score"].dtype == np.float64


def test_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ValueError, match=r"pip install \"detkit\[pandas\]\""):
        result().to_pandas()


def shown(found: Result) -> np.ndarray:
    data = found._repr_png_()
    assert data is not None
    return np.asarray(Image.open(io.BytesIO(data)))


def test_a_notebook_shows_the_drawn_image(file: Path) -> None:
    np.testing.assert_array_equal(shown(result(file)), result().draw())
    file.unlink()
    assert result(file)._repr_png_() is None  # the text is shown


def test_a_notebook_shows_large_images_smaller() -> None:
    pixels = np.full((600, 2048, 3), 90, np.uint8)
    box, score, label = torch.tensor([[400.0, 200.0, 1200.0, 500.0]]), torch.tensor([0.9]), torch.tensor([0])
    image = shown(Result(box, score, label, CLASSES, "array", (600, 2048), pixels))
    assert image.shape == (300, 1024, 3)
    changed = np.argwhere((image != 90).any(axis=2))
    assert changed[:, 1].min() == pytest.approx(200, abs=5) and changed[:, 1].max() == pytest.approx(600, abs=5)
    assert changed[:, 0].max() == pytest.approx(250, abs=5)
