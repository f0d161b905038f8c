"""COCO's results.json: one object {"image_id", "category_id", "bbox": [x, y, width, height], "score"} a detection."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from detkit.data.ground_truth import Bools, Floats, GroundTruth, Ints
from detkit.evaluation.rows import Rows, gather_detections, ranks_by_score
from detkit.runtime.whole_file import written_whole
from detkit.structures import Detections

WRITTEN_AT_ONCE = 10_000  # detections: some megabytes as Python objects


@dataclass(frozen=True, eq=False)
class ResultRows:
    """Detections as results.json states them, in its order.

    Width and height are not always the difference of float64 corners, and a difference in the last bit can decide
    whether an IoU reaches its threshold: scores of a file are computed from these.
    """

    image_index: Ints  # (N,) into truth.image_ids
    rank: Ints  # (N,) row in that image's Detections
    labels: Ints  # (N,)
    xywh: Floats  # (N, 4) px
    scores: Floats  # (N,)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Bools) -> "ResultRows":
        return ResultRows(
            self.image_index[rows], self.rank[rows], self.labels[rows], self.xywh[rows], self.scores[rows]
        )

    @staticmethod
    def of(detections: "Mapping[str, Detections] | Rows | ResultRows", truth: GroundTruth) -> "ResultRows":
        """Detections by image id, in the order of the mapping, or a table. Raises ValueError as gather_detections."""
        if isinstance(detections, ResultRows):
            return detections
        return ResultRows.of_corners(gather_detections(detections, truth.image_ids, len(truth.classes)))

    @staticmethod
    def of_corners(rows: Rows) -> "ResultRows":
        xywh = np.concatenate([rows.boxes[:, :2], rows.boxes[:, 2:] - rows.boxes[:, :2]], axis=1)
        return ResultRows(rows.image_index, rows.rank, rows.labels, xywh, rows.scores)

    def corners(self) -> Rows:
        """The same in the same order, with boxes as corners."""
        boxes = np.concatenate([self.xywh[:, :2], self.xywh[:, :2] + self.xywh[:, 2:]], axis=1)
        nothing = np.zeros(len(self), dtype=np.bool_)
        return Rows(self.image_index, self.rank, self.labels, boxes, self.scores, nothing)

    def by_image(self, truth: GroundTruth) -> dict[str, Detections]:
        """Every image's detections, best first as read from a file, equal scores in its order; all in float64."""
        return self.corners().by_image(truth.image_ids)


def write_results(path: Path, detections: Mapping[str, Detections] | Rows | ResultRows, truth: GroundTruth) -> None:
    """Writes results.json, whole or not at all, with the numbers of truth's images and categories.

    Detections keep their order, which decides between equal scores by VOC's rules. Every number is written in full:
    read_rows gives the same. Raises ValueError as gather_detections does.
    """
    rows = ResultRows.of(detections, truth)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as partial, partial.open("wb") as file:
        file.write(b"[")
        for number, text in enumerate(_texts(rows, truth)):
            file.write(b",\n" + text if number else text)
        file.write(b"]\n")


def read_rows(path: Path, truth: GroundTruth) -> ResultRows:
    """Reads the results.json of any tool: a list of detections, or an object with the list as "annotations".

    An image is known by its number, the same as a string, or its id in `truth`. Raises ValueError, with the place in
    the list (from 0), for an unknown image or category, a box that is not 4 finite numbers or turned inside out, and
    a score that is missing or not finite.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; expected a results.json") from error
    images, labels = _images_by_name(truth), {number: label for label, number in enumerate(truth.category_numbers)}
    try:
        decoded = msgspec.json.decode(content, type=list[_Row] | _Wrapper)
        rows = decoded.annotations if isinstance(decoded, _Wrapper) else decoded
        image_index = np.array([_image_of(row.image_id, images) for row in rows], dtype=np.int64)
        scores = np.array([row.score for row in rows], dtype=np.float64)
        found = ResultRows(
            image_index,
            ranks_by_score(image_index, scores),
            np.array([labels[row.category_id] for row in rows], dtype=np.int64),
            np.array([row.bbox for row in rows], dtype=np.float64).reshape(-1, 4),
            scores,
        )
    except (ValueError, KeyError, RecursionError) as error:
        raise _first_fault(path, content, truth, str(error)) from None
    values = np.column_stack([found.xywh, found.scores])
    if not np.isfinite(values).all() or (found.xywh[:, 2:] < 0).any():
        raise _first_fault(path, content, truth, "a number is out of range")
    return found


class _Row(msgspec.Struct, gc=False):
    image_id: int | str
    category_id: int
    bbox: tuple[float, float, float, float]
    score: float


class _Wrapper(msgspec.Struct):
    annotations: list[_Row]


def _texts(rows: ResultRows, truth: GroundTruth) -> Iterator[bytes]:
    """JSON of the detections, a few thousand at a time, without the brackets around them."""
    encoder = msgspec.json.Encoder()
    for start in range(0, len(rows), WRITTEN_AT_ONCE):
        here = slice(start, start + WRITTEN_AT_ONCE)
        columns = (rows.image_index[here], rows.labels[here], rows.xywh[here], rows.scores[here])
        lines = [
            encoder.encode(_Row(truth.image_numbers[image], truth.category_numbers[label], tuple(box), score))
            for image, label, box, score in zip(*(column.tolist() for column in columns), strict=True)
        ]
        yield b",\n".join(lines)


def _images_by_name(truth: GroundTruth) -> dict[int | str, int]:
    """Index of an image by its number, as number or text, or by its id, which goes before."""
    names: dict[int | str, int] = {}
    for index, number in enumerate(truth.image_numbers):
        names[number], names[str(number)] = index, index
    return names | {image_id: index for index, image_id in enumerate(truth.image_ids)}


def _image_of(name: int | str, images: Mapping[int | str, int]) -> int:
    """Raises KeyError for an unknown image."""
    if isinstance(name, str) and name not in images and name.isascii() and name.isdecimal():
        return images[int(name)]  # 000000000139
    return images[name]


def _first_fault(path: Path, content: bytes, truth: GroundTruth, reason: str) -> ValueError:
    """The error of the first row that has one: read once more, slowly, by a reader that takes any JSON, NaN too."""
    try:
        decoded = json.loads(content)
    except (ValueError, RecursionError):
        return ValueError(f"{path}: {reason}; expected a results.json in UTF-8: is the file complete?")
    rows = decoded.get("annotations") if isinstance(decoded, dict) else decoded
    if not isinstance(rows, list):
        return ValueError(
            f"{path}: expected a list of detections, each with image_id, category_id, bbox and score,"
            ' or an object with such a list as "annotations"'
        )
    images = _images_by_name(truth)
    for number, row in enumerate(rows):
        fault = _fault_of(row, images, truth)
        if fault:
            return ValueError(f"{path}: detection {number}: {fault}")
    return ValueError(f"{path}: {reason}")


def _fault_of(row: Any, images: Mapping[int | str, int], truth: GroundTruth) -> str | None:
    if not isinstance(row, dict):
        return f"{_short(row)}; expected an object with image_id, category_id, bbox and score"
    missing = [name for name in ("image_id", "category_id", "bbox", "score") if name not in row]
    if "bbox" in missing and ("segmentation" in row or "keypoints" in row):
        return "an outline or keypoints without a bbox; only boxes are scored: write the bbox of each detection too"
    if missing == ["score"]:
        return "no score; these look like annotations, not detections"
    if missing:
        return f"no {missing[0]}; expected image_id, category_id, bbox and score"
    return _image_fault(row["image_id"], images, truth) or _value_fault(row, truth)


def _image_fault(name: object, images: Mapping[int | str, int], truth: GroundTruth) -> str | None:
    try:
        if isinstance(name, (int, str)) and not isinstance(name, bool):
            _image_of(name, images)
            return None
    except (KeyError, ValueError):
        pass
    some = f"{truth.image_numbers[0]}, ..." if len(truth) else "none"
    return (
        f"image_id {_short(name)} is not among the {len(truth)} of the split ({some}); score against the split that"
        " was detected in"
    )


def _value_fault(row: Mapping[str, Any], truth: GroundTruth) -> str | None:
    category, box, score = row["category_id"], row["bbox"], row["score"]
    if isinstance(category, bool) or category not in truth.category_numbers:
        some = ", ".join(map(str, truth.category_numbers[:5]))
        text = f"category_id {_short(category)}; expected one of the {len(truth.classes)} category numbers ({some} ...)"
        if isinstance(category, int) and 0 <= category < len(truth.classes):
            text += "; are the numbers labels, counted from 0? The file needs those of the annotation file"
        return text
    if not isinstance(box, list) or len(box) != 4 or not _all_finite(box):
        return f"bbox {_short(box)}; expected 4 finite numbers: x, y, width, height in px"
    if box[2] < 0 or box[3] < 0:
        return f"bbox {_short(box)}; expected x, y, width, height: are these two corners?"
    if not _all_finite([score]):
        return f"score {_short(score)}; expected a finite number: did training diverge?"
    return None


def _all_finite(values: Sequence[object]) -> bool:
    try:
        return all(
            isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) for value in values
        )
    except OverflowError:  # an integer beyond float64
        return False


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
