"""results.json: what is written is read again, and files of other tools in every state."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from detkit.data.ground_truth import GroundTruth, Objects
from detkit.evaluation.coco_files import ResultRows, read_rows, write_results
from detkit.structures import Detections


def truth_of(*ids: str, numbers: tuple[int, ...]) -> GroundTruth:
    """Classes cat and dog, of the categories 17 and 18; no objects."""
    sizes, counts = np.full((len(ids), 2), 100, dtype=np.int64), np.zeros(len(ids), dtype=np.int64)
    return GroundTruth(("cat", "dog"), ids, sizes, Objects.joined([]), counts, (17, 18), numbers)


TRUTH = truth_of("000000000139", "beach", "park", numbers=(139, 7, 8))
ROW: dict[str, Any] = {"image_id": 7, "category_id": 18, "bbox": [1.5, 2, 30.25, 40], "score": 0.5}


def written(folder: Path, content: object) -> Path:
    path = folder / "results.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def random_detections(seed: int, count: int) -> Detections:
    rng = np.random.default_rng(seed)
    corners = rng.random((count, 2)) * 100
    boxes = torch.from_numpy(np.concatenate([corners, corners + rng.random((count, 2)) * 500], axis=1)).float()
    scores = torch.from_numpy(np.sort(rng.random(count))[::-1].copy()).float()
    return Detections(boxes, scores, torch.from_numpy(rng.integers(0, 2, count)))


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.json"
    detections = {
        "park": random_detections(0, 12_000),
        "beach": Detections.empty(),
        "000000000139": random_detections(1, 9),
    }
    write_results(path, detections, TRUTH)
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]
    assert {row["image_id"] for row in json.loads(path.read_text())} == {8, 139}
    before, after = ResultRows.of(detections, TRUTH), read_rows(path, TRUTH)
    for name in ("image_index", "rank", "labels", "xywh", "scores"):
        assert np.array_equal(getattr(before, name), getattr(after, name)), name
    read = read_rows(path, TRUTH).by_image(TRUTH)
    assert tuple(read) == TRUTH.image_ids
    for image_id, one in detections.items():
        assert torch.equal(read[image_id].boxes.float(), one.boxes)
        assert torch.equal(read[image_id].scores.float(), one.scores)
        assert torch.equal(read[image_id].labels, one.labels)


def test_written_rows(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    found = Detections(torch.tensor([[1.5, 2.0, 31.75, 42.0]]), torch.tensor([0.1]), torch.tensor([1]))
    write_results(path, {"beach": found}, TRUTH)
    assert json.loads(path.read_text()) == [ROW | {"score": float(np.float32(0.1))}]
    write_results(path, {}, TRUTH)
    assert json.loads(path.read_text()) == []
    assert all(len(one) == 0 for one in read_rows(path, TRUTH).by_image(TRUTH).values())


def test_nothing_is_left_of_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.mkdir()
    with pytest.raises(OSError):
        write_results(path, {}, TRUTH)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="image 'sea'"):
        write_results(tmp_path / "other.json", {"sea": Detections.empty()}, TRUTH)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("image_id", "expected"),
    [(139, 0), ("139", 0), ("000000000139", 0), ("0139", 0), (7, 1), ("7", 1), ("beach", 1), ("park", 2)],
)
def test_images_are_known_by_number_or_id(image_id: int | str, expected: int, tmp_path: Path) -> None:
    assert read_rows(written(tmp_path, [ROW | {"image_id": image_id}]), TRUTH).image_index.tolist() == [expected]


def test_an_id_goes_before_a_number(tmp_path: Path) -> None:
    truth = truth_of("2", "one", numbers=(1, 2))
    rows = read_rows(written(tmp_path, [ROW | {"image_id": "2"}, ROW | {"image_id": 2}]), truth)
    assert rows.image_index.tolist() == [0, 1]


def test_files_of_other_tools(tmp_path: Path) -> None:
    """More fields, whole numbers, a list in an object, any order: best first, equal scores as in the file."""
    more = ROW | {"id": 3, "segmentation": {"counts": "abc", "size": [1, 2]}, "area": None}
    first = more | {"score": 1, "bbox": [0, 0, 0, 5]}
    rows = [more, ROW | {"image_id": 8, "category_id": 17}, first, more | {"category_id": 17}]
    read = read_rows(written(tmp_path, {"info": {}, "annotations": rows}), TRUTH).by_image(TRUTH)
    assert read["beach"].scores.tolist() == [1.0, 0.5, 0.5]
    assert read["beach"].labels.tolist() == [1, 1, 0]
    assert read["beach"].boxes.tolist() == [[0, 0, 0, 5], [1.5, 2, 31.75, 42], [1.5, 2, 31.75, 42]]
    assert len(read["park"]) == 1
    found = read_rows(written(tmp_path, rows), TRUTH)
    assert found.rank.tolist() == [1, 0, 0, 2]  # in by_image's
    assert found.corners().boxes[2].tolist() == [0, 0, 0, 5] and len(found.corners()) == 4


def test_numbers_of_a_file_stay_float64(tmp_path: Path) -> None:
    """The corner 10.1 + 30.3 is rounded, so that the width cannot be had from corners; float32 makes scores equal."""
    box, score = [10.1, 10.1, 30.3, 30.3], 0.123456789012
    path = written(tmp_path, [ROW | {"bbox": box, "score": score}, ROW | {"bbox": box, "score": score + 1e-12}])
    rows = read_rows(path, TRUTH)
    assert rows.xywh.tolist() == [box, box]
    assert (10.1 + 30.3) - 10.1 != 30.3
    assert read_rows(path, TRUTH).by_image(TRUTH)["beach"].scores.tolist() == [score + 1e-12, score]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 9}, r"image_id 9 is not among the 3 of the split \(139, \.\.\.\)"),
        ({"image_id": "sea"}, "image_id 'sea' is not among"),
        ({"image_id": None}, "image_id None is not among"),
        ({"image_id": True}, "image_id True is not among"),
        ({"image_id": 7.5}, "image_id 7.5 is not among"),
        ({"category_id": 1}, "category_id 1; expected one of the 2 category numbers .17, 18.*labels, counted from 0"),
        ({"category_id": 90}, r"category_id 90; expected .*\.\)$"),
        ({"category_id": "dog"}, "category_id 'dog'"),
        ({"category_id": [18]}, "category_id .18."),
        ({"bbox": [1, 2, 3]}, "bbox .1, 2, 3.; expected 4 finite numbers"),
        ({"bbox": [1, 2, 3, None]}, "expected 4 finite numbers"),
        ({"bbox": [1, 2, 3, "4"]}, "expected 4 finite numbers"),
        ({"bbox": {"x": 1}}, "expected 4 finite numbers"),
        ({"bbox": [1, 2, 3, float("nan")]}, "bbox .1, 2, 3, nan.; expected 4 finite numbers"),
        ({"bbox": [1, 2, 3, 10**400]}, "expected 4 finite numbers"),
        ({"bbox": [9, 9, -3, 4]}, "are these two corners"),
        ({"score": float("inf")}, "score inf; expected a finite number"),
        ({"score": None}, "score None"),
        ({"score": "0.5"}, "score '0.5'"),
    ],
)
def test_the_first_faulty_row_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = written(tmp_path, [ROW, ROW | change, ROW | change])
    with pytest.raises(ValueError, match=f"results.json: detection 1: .*{message}"):
        read_rows(path, TRUTH)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("score", "no score; these look like annotations"),
        ("bbox", "no bbox; expected image_id"),
        ("image_id", "no image_id"),
        ("category_id", "no category_id"),
    ],
)
def test_a_missing_field_is_named(name: str, message: str, tmp_path: Path) -> None:
    row = {key: value for key, value in ROW.items() if key != name}
    with pytest.raises(ValueError, match=f"detection 0: {message}"):
        read_rows(written(tmp_path, [row]), TRUTH)


@pytest.mark.parametrize("kind", ["segmentation", "keypoints"])
def test_rows_without_boxes_are_told_from_boxes(kind: str, tmp_path: Path) -> None:
    row = {"image_id": 7, "category_id": 18, "score": 0.5, kind: []}
    with pytest.raises(ValueError, match="detection 0: an outline or keypoints without a bbox"):
        read_rows(written(tmp_path, [row]), TRUTH)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is the file complete"),
        ('[{"image_id": 7, "categ', "is the file complete"),
        ("[" * 100_000, "is the file complete"),
        ("7", "expected a list of detections"),
        ('{"images": []}', "expected a list of detections"),
        ('{"annotations": {}}', "expected a list of detections"),
        ("[[1, 2]]", r"detection 0: \[1, 2\]; expected an object"),
        ('[{"image_id": 7, "category_id": 18, "bbox": [1, 2, 3, 1e999], "score": 0.5}]', "detection 0: bbox"),
    ],
)
def test_other_files_are_errors(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read_rows(written(tmp_path, content), TRUTH)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.json: No such file"):
        read_rows(tmp_path / "none.json", TRUTH).by_image(TRUTH)
