"""What was found in one image, with the names of the classes: to loop over, to draw, and to give to other tools."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.typing import NDArray

from detkit.data.io.image_sources import Pixels, pixels_of
from detkit.reports.overview import draw_detections
from detkit.runtime.whole_file import written_whole
from detkit.structures import Detections, Size

Box = tuple[float, ...]  # x1, y1, x2, y2 px
_SHOWN = 5  # detections that repr names


@dataclass(frozen=True, eq=False, repr=False)
class Result(Detections):
    """The detections of an image, best first, in its own pixels.

    Loops give (class name, score, box) of each. The image itself is not kept unless it was given in memory.
    """

    classes: tuple[str, ...]  # of the detector; labels count in these
    source: str  # path or web address of the image, or what kind of object it was
    size: Size
    origin: Path | bytes | Pixels  # what the image can be had from again

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

    def draw(self, image: NDArray[np.uint8] | None = None) -> Pixels:
        """The image with boxes, class names and scores drawn into it, (H, W, 3) uint8 RGB; or a copy of `image`.

        An image that came from a file is read again: ValueError if that is gone, or if `image` has another size.
        """
        pixels = pixels_of(self.origin) if image is None else image
        if pixels.shape != (*self.size, 3):
            raise ValueError(f"{self.source}: an image of {pixels.shape}, expected {(*self.size, 3)}; draw without it")
        return draw_detections(pixels, self, self.classes, min_score=0)

    def save(self, path: str | Path) -> None:
        """Write the drawn image, in the format that the suffix names (.jpg, .png ...)."""
        write_image(Path(path), self.draw())

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

        `category_ids`: one for each class; by default they count from 1, as in files that tools/convert_data.py writes.
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
        done, data = cv2.imencode(path.suffix, np.ascontiguousarray(pixels[:, :, ::-1]))
    except cv2.error:
        raise ValueError(f"{path}: {path.suffix!r} is no format of images; use .jpg or .png") from None
    if not done:
        raise OSError(f"{path}: could not be encoded")
    with written_whole(path) as partial:
        partial.write_bytes(data.tobytes())


def _add(parent: ElementTree.Element, fields: dict[str, str | int]) -> None:
    for tag, value in fields.items():
        ElementTree.SubElement(parent, tag).text = str(value)
