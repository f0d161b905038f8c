"""What was found in one image, with the names of the classes: to loop over, to draw, and to give to other tools."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from detkit.data.io.deep_images import DeepRange
from detkit.data.io.image_sources import Pixels, pixels_of
from detkit.reports.overview import draw_detections
from detkit.runtime.whole_file import written_whole
from detkit.structures import Detections, Size

Box = tuple[float, ...]  # x1, y1, x2, y2 px
Chosen = int | slice | Sequence[int] | Sequence[bool] | NDArray[np.bool_] | NDArray[np.integer[Any]] | Tensor
COLUMNS = ("image", "class", "score", "x1", "y1", "x2", "y2")  # of rows
NOTEBOOK_SIDE = 1024  # px, the longer one, of an image in a notebook
_SHOWN = 5  # detections that repr names


@dataclass(frozen=True, eq=False, repr=False)
class Result(Detections):
    """The detections of an image, best first, in its own pixels.

    Loops give (class name, score, box) of each. `result[0]`, `result[:5]`, `result[[0, 2]]`, `result[mask]` and
    `filter` give a Result of the same image with those detections alone. In a notebook it shows itself, drawn.
    The image itself is not kept unless it was given in memory.
    """

    classes: tuple[str, ...]  # of the detector; labels count in these
    source: str  # path or web address of the image, or what kind of object it was
    size: Size
    origin: Path | bytes | Pixels  # what the image can be had from again
    deep_range: DeepRange | None = None  # that its file was read by, if it is deep

    @property
    def path(self) -> Path | None:
        """The image's file, if it came from one."""
        return self.origin if isinstance(self.origin, Path) else None

    @property
    def names(self) -> tuple[str, ...]:
        """The class of each detection."""
        return tuple(self.classes[label] for label in self.labels.tolist())

    def __iter__(self) -> Iterator[tuple[str, float, Box]]:
        yield from zip(self.names, self.scores.tolist(), map(tuple, self.boxes.tolist()), strict=True)

    def __repr__(self) -> str:
        height, width = self.size
        count = f"{len(self)} detection{'' if len(self) == 1 else 's'}"
        best = [f"{name} {score:.2f}" for name, score, _ in self][:_SHOWN]
        more = [f"{len(self) - _SHOWN} more"] if len(self) > _SHOWN else []
        return f"<{self.source}, {width} x {height} px: {count}{': ' if best else ''}{', '.join(best + more)}>"

    def __getitem__(self, chosen: Chosen) -> "Result":
        """The detections at a place, in a slice, at several places, or where a mask of booleans (K,) is true.

        They come in the order asked for. Raises IndexError for a place beyond the end, ValueError for anything else.
        """
        places = _places(chosen, len(self))
        return replace(self, boxes=self.boxes[places], scores=self.scores[places], labels=self.labels[places])

    def filter(self, classes: str | Iterable[str] | None = None, min_score: float = 0) -> "Result":
        """The detections of these classes (None: of all) that have at least this score.

        Raises ValueError for a class that the detector does not know.
        """
        wanted = self.classes if classes is None else (classes,) if isinstance(classes, str) else tuple(classes)
        for name in wanted:
            if name not in self.classes:
                nearest = get_close_matches(name, self.classes, n=1)
                hint = f"did you mean {nearest[0]}?" if nearest else f"expected some of {', '.join(self.classes)}"
                raise ValueError(f"class {name!r}: the detector knows none of this name; {hint}")
        is_good = (self.scores >= min_score).tolist()
        return self[[i for i, name in enumerate(self.names) if is_good[i] and name in wanted]]

    def draw(self, image: NDArray[np.uint8] | None = None) -> Pixels:
        """The image with boxes, class names and scores drawn into it, (H, W, 3) uint8 RGB; or a copy of `image`.

        An image that came from a file is read again: ValueError if that is gone, or if `image` has another size.
        """
        pixels = pixels_of(self.origin, self.deep_range) if image is None else image
        if pixels.shape != (*self.size, 3):
            raise ValueError(f"{self.source}: an image of {pixels.shape}, expected {(*self.size, 3)}; draw without it")
        return draw_detections(pixels, self, self.classes, min_score=0)

    def save(self, path: str | Path) -> None:
        """Write the drawn image, in the format that the suffix names (.jpg, .png ...)."""
        write_image(Path(path), self.draw())

    def _repr_png_(self) -> bytes | None:
        """As `draw`, made smaller where it is large, for a notebook; None, which shows text, if the file is gone."""
        try:
            pixels = pixels_of(self.origin, self.deep_range)
        except (ValueError, OSError):
            return None
        factor = min(1.0, NOTEBOOK_SIDE / max(self.size))
        if factor < 1:  # before drawing: lines and letters stay as they are
            size = tuple(max(1, round(side * factor)) for side in reversed(self.size))
            pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        shown = Detections(self.boxes * factor, self.scores, self.labels)
        return _encoded(draw_detections(pixels, shown, self.classes, min_score=0), ".png")

    def rows(self) -> list[dict[str, str | float]]:
        """A plain table, a row for each detection: image, class, score, x1, y1, x2, y2.

        Scores to five digits, sides of boxes in hundredths of a pixel, 0-based. Tables of several images can be joined.
        """
        return [
            dict(zip(COLUMNS, (self.source, name, round(score, 5), *(round(side, 2) for side in box)), strict=True))
            for name, score, box in self
        ]

    def to_pandas(self) -> Any:
        """`rows` as a pandas.DataFrame. Raises ValueError where pandas is not installed."""
        try:
            pandas = import_module("pandas")
        except ImportError as error:
            raise ValueError(f'pandas cannot be imported ({error}); pip install "detkit[pandas]"') from error
        table = pandas.DataFrame(self.rows(), columns=list(COLUMNS))
        return table.astype(dict.fromkeys(COLUMNS[2:], float))  # without rows, too

    def to_dict(self) -> dict[str, Any]:
        """Plain values: scores to five digits, boxes x1, y1, x2, y2 in hundredths of a pixel, 0-based."""
        height, width = self.size
        return {
            "file": self.source,
            "size": {"height": height, "width": width},
            "detections": [
                {"class": name, "score": round(score, 5), "box": [round(side, 2) for side in box]}
                for name, score, box in self
            ],
        }

    def to_json(self) -> str:
        """`to_dict` as a JSON object."""
        return json.dumps(self.to_dict())

    def to_coco(self, image_id: int | str, category_ids: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """Rows of COCO's results.json: "bbox" is [x, y, width, height] px, 0-based.

        `category_ids`: one for each class; by default they count from 1, as in files that detkit convert-data writes.
        (COCO's own 80 have gaps: 1 to 90.) Raises ValueError when there is not one for each.
        """
        ids = range(1, len(self.classes) + 1) if category_ids is None else category_ids
        if len(ids) != len(self.classes):
            raise ValueError(f"{len(ids)} category_ids for {len(self.classes)} classes; give one for each, in order")
        rows = zip(self.labels.tolist(), self.scores.tolist(), self.boxes.tolist(), strict=True)
        return [
            {"image_id": image_id, "category_id": ids[label], "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
            for label, score, (x1, y1, x2, y2) in rows
        ]

    def to_voc(self) -> str:
        """An annotation of PASCAL VOC, with each object's score as <confidence>: 1-based, both corners inside.

        Such pixels cannot say less than one: a thinner box grows to one pixel.
        """
        height, width = self.size
        root = ElementTree.Element("annotation")
        _add(root, {"filename": self.source if self.path is None else self.path.name})
        _add(ElementTree.SubElement(root, "size"), {"width": width, "height": height, "depth": 3})
        for name, score, (x1, y1, x2, y2) in self:
            element = ElementTree.SubElement(root, "object")
            _add(element, {"name": name, "pose": "Unspecified", "truncated": 0, "difficult": 0})
            corners = {"xmin": min(x1 + 1, x2), "ymin": min(y1 + 1, y2), "xmax": x2, "ymax": y2}
            _add(ElementTree.SubElement(element, "bndbox"), {side: f"{value:.2f}" for side, value in corners.items()})
            _add(element, {"confidence": f"{score:.5f}"})
        ElementTree.indent(root)
        return ElementTree.tostring(root, encoding="unicode") + "\n"

    def to_supervision(self) -> Any:
        """A supervision.Detections, with class names as its data. Raises ValueError where that is not installed."""
        try:
            supervision = import_module("supervision")
        except ImportError as error:
            raise ValueError(f"supervision cannot be imported ({error}); pip install supervision") from error
        return supervision.Detections(
            xyxy=self.boxes.numpy().reshape(-1, 4),
            confidence=self.scores.numpy(),
            class_id=self.labels.numpy().astype(int),
            data={"class_name": np.array(self.names, dtype=str)},
        )


def write_image(path: Path, pixels: Pixels) -> None:
    """Write RGB pixels in the format of the suffix. Raises ValueError for a suffix of none, OSError as files do."""
    try:
        data = _encoded(pixels, path.suffix)
    except cv2.error:
        raise ValueError(f"{path}: {path.suffix!r} is no format of images; use .jpg or .png") from None
    if data is None:
        raise OSError(f"{path}: could not be encoded")
    with written_whole(path) as partial:
        partial.write_bytes(data)


def _encoded(pixels: Pixels, suffix: str) -> bytes | None:
    done, data = cv2.imencode(suffix, np.ascontiguousarray(pixels[:, :, ::-1]))
    return data.tobytes() if done else None


def _places(chosen: Chosen, count: int) -> list[int]:
    """Which of `count` are meant, each counted from the start."""
    if isinstance(chosen, slice):
        return list(range(count))[chosen]
    if isinstance(chosen, Tensor):
        chosen = chosen.detach().cpu().numpy()
    asked = np.asarray(chosen)
    if asked.shape == (0,) and asked.dtype != np.bool_:  # an empty list has no type
        return []
    if asked.dtype == np.bool_ and asked.shape == (count,):
        return [int(place) for place in np.flatnonzero(asked)]
    if not np.issubdtype(asked.dtype, np.integer) or asked.ndim > 1:
        raise ValueError(
            f"{asked.dtype} {asked.shape}: expected a place, a slice, a list of places, or a mask of {count} booleans"
        )
    for place in asked.ravel().tolist():
        if not -count <= place < count:
            raise IndexError(f"detection {place} of {count}: expected {-count} to {count - 1}")
    return [int(place) % count for place in asked.ravel()]


def _add(parent: ElementTree.Element, fields: dict[str, str | int]) -> None:
    for tag, value in fields.items():
        ElementTree.SubElement(parent, tag).text = str(value)
