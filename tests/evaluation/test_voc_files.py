"""The VOC result files: their text, the way back, other tools' names, and faults named by line."""

from pathlib import Path

import pytest
import torch

from detkit.evaluation.voc_files import read_detections, write_detections
from detkit.structures import Detections

CLASSES = ("table", "dining_table", "cat")
IDS = ("000001", "2008_000002")


def some_detections() -> dict[str, Detections]:
    scores = torch.tensor([0.75, 0.3, 1.0000001e-8, 1.0e-8])
    boxes = torch.tensor([[0.0, 0.0, 10.0, 20.0], [1.5, 2.25, 3.125, 4.0], [5.0, 5.0, 9.0, 9.0], [0.0, 0.0, 1.0, 1.0]])
    return {"000001": Detections(boxes, scores, torch.tensor([2, 1, 2, 2])), "2008_000002": Detections.empty()}


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder


def test_text_of_the_files(tmp_path: Path) -> None:
    paths = write_detections(tmp_path / "eval", "test", some_detections(), CLASSES)
    assert [path.name for path in paths] == [f"comp4_det_test_{name}.txt" for name in CLASSES]
    assert paths[0].read_text() == ""
    assert paths[1].read_text() == "000001 0.300000012 2.500 3.250 3.125 4.000\n"
    assert paths[2].read_text().splitlines()[0] == "000001 0.75 1.000 1.000 10.000 20.000"


def test_round_trip(tmp_path: Path) -> None:
    written = some_detections()
    write_detections(tmp_path, "test", written, CLASSES)
    back = read_detections(tmp_path, CLASSES, IDS)
    assert tuple(back) == IDS
    for image_id in IDS:
        assert torch.equal(back[image_id].scores, written[image_id].scores)
        assert torch.equal(back[image_id].labels, written[image_id].labels)
        assert torch.allclose(back[image_id].boxes, written[image_id].boxes, atol=1e-3)
        assert back[image_id].boxes.dtype == torch.float32 and back[image_id].labels.dtype == torch.int64


def test_files_of_another_tool(tmp_path: Path) -> None:
    """Another competition and split, no file of two classes, a blank line, ties in the order of the file."""
    lines = "000001 .5 2 2 3 3\n\n2008_000002 .1 1 1 2 2\n000001 .5 1 1 2 2\n"
    folder = write(tmp_path, "comp3-b17_det_val_2_cat.txt", lines)
    write(tmp_path, "readme.txt", "not a result")
    with pytest.warns(UserWarning, match="no file for table, dining_table"):
        back = read_detections(folder, CLASSES, IDS)
    assert back["000001"].boxes.tolist() == [[1, 1, 3, 3], [0, 0, 2, 2]]
    assert len(back["2008_000002"]) == 1


def test_class_names_that_end_alike(tmp_path: Path) -> None:
    write(tmp_path, "comp4_det_test_table.txt", "000001 .5 1 1 2 2\n")
    write(tmp_path, "comp4_det_test_dining_table.txt", "000001 .4 1 1 2 2\n")
    write(tmp_path, "comp4_det_test_cat.txt", "")
    for split in (None, "test"):
        assert read_detections(tmp_path, CLASSES, IDS, split)["000001"].labels.tolist() == [0, 1]


def test_several_sets_of_files(tmp_path: Path) -> None:
    for name, score in (("comp3_det_test", 0.1), ("comp4_det_test", 0.2), ("comp4_det_val", 0.3)):
        write(tmp_path, f"{name}_cat.txt", f"000001 {score} 1 1 2 2\n")
    with pytest.raises(ValueError, match="splits test, val"):
        read_detections(tmp_path, ("cat",), IDS)
    with pytest.raises(ValueError, match="comp3_det_test, comp4_det_test"):
        read_detections(tmp_path, ("cat",), IDS, split="test")
    assert read_detections(tmp_path, ("cat",), IDS, split="val")["000001"].scores.tolist() == pytest.approx([0.3])
    for prefix in ("comp4_det_test", "comp4_det_test*"):
        back = read_detections(tmp_path / prefix, ("cat",), IDS)
        assert back["000001"].scores.tolist() == pytest.approx([0.2])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("000001 .5 1 1 2", r"cat\.txt:2: '000001 .5 1 1 2'; expected image_id score"),
        ("000001 .5 1 1 2 2 7", r"cat\.txt:2: "),
        ("000001 high 1 1 2 2", r"cat\.txt:2: "),
        ("000001 nan 1 1 2 2", r"cat\.txt:2: "),
        ("000001 .5 1 1 inf 2", r"cat\.txt:2: "),
        ("000009 .5 1 1 2 2", r"cat\.txt:2: image '000009' is not among the 2"),
    ],
)
def test_faulty_lines_are_named(tmp_path: Path, line: str, message: str) -> None:
    write(tmp_path, "comp4_det_test_cat.txt", f"000001 .5 1 1 2 2\n{line}\n")
    with pytest.raises(ValueError, match=message):
        read_detections(tmp_path, ("cat",), IDS)


def test_no_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no file comp"):
        read_detections(tmp_path, CLASSES, IDS)
    with pytest.raises(ValueError, match="no such folder"):
        read_detections(tmp_path / "nothing" / "here", CLASSES, IDS)


def test_what_the_format_cannot_hold(tmp_path: Path) -> None:
    one = Detections(torch.zeros(1, 4), torch.zeros(1), torch.tensor([3]))
    with pytest.raises(ValueError, match=r"label 3; expected 0\.\.2"):
        write_detections(tmp_path, "test", {"000001": one}, CLASSES)
    with pytest.raises(ValueError, match="white space"):
        write_detections(tmp_path, "test", {"a b": Detections.empty()}, CLASSES)
    with pytest.raises(ValueError, match="slashes"):
        write_detections(tmp_path, "test", {}, ("../cat",))
