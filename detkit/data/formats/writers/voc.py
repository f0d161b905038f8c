"""A data set in the form of PASCAL VOC: Annotations/, ImageSets/Main/SPLIT.txt, and images in JPEGImages/."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from detkit.data.formats.voc_base import MARK
from detkit.data.formats.writers.written import AnnotatedImage, WrittenSet, decimal
from detkit.data.ground_truth import Bools, Floats

_ROUNDING = 1e-3  # px that a box may be thinner than one pixel by


def write_voc(root: Path, data: WrittenSet) -> None:
    """Coordinates have ten decimals at most, whole ones no point. An image that splits share has one annotation.

    A crowd has difficult 1, so that other tools leave it out, and beside it iscrowd 1, as FiftyOne writes it.
    """
    folder, sets = root / "Annotations", root / "ImageSets" / "Main"
    folder.mkdir(exist_ok=True)
    sets.mkdir(parents=True, exist_ok=True)
    for split in data.splits:
        for image in split.images:
            element = _annotation(data.classes, image)
            ElementTree.indent(element)
            text = ElementTree.tostring(element, encoding="unicode") + "\n"
            (folder / f"{image.stem}.xml").write_text(text, encoding="utf-8")
        ids = "".join(f"{image.stem}\n" for image in split.images)
        (sets / f"{split.name}.txt").write_text(ids, encoding="utf-8")


def voc_corners(boxes: Floats) -> Floats:
    """(M, 4) xmin, ymin, xmax, ymax of boxes in px: counted from 1, both corners inside."""
    low, high = boxes[:, :2] + 1, boxes[:, 2:]
    is_rounding = (low > high) & (low - high < _ROUNDING)  # 1 px wide
    return np.concatenate([np.where(is_rounding, high, low), high], axis=1)


def has_pixels(boxes: Floats) -> Bools:
    """(M,) False for boxes under 1 px wide or high, whose corners would change sides."""
    corners = voc_corners(boxes)
    found: Bools = np.asarray((corners[:, :2] <= corners[:, 2:]).all(axis=1))
    return found


def _annotation(classes: Sequence[str], image: AnnotatedImage) -> ElementTree.Element:
    root = ElementTree.Element("annotation")
    height, width = image.size
    _add(root, ("filename", image.name))
    _add(ElementTree.SubElement(root, "source"), ("annotation", MARK))  # else only the boxes tell
    depth = 1 if image.is_grey else 3
    _add(ElementTree.SubElement(root, "size"), ("width", width), ("height", height), ("depth", depth))
    objects = image.objects
    for row, corners in enumerate(voc_corners(objects.boxes).tolist()):
        element = ElementTree.SubElement(root, "object")
        _add(element, ("name", classes[int(objects.labels[row])]), ("pose", "Unspecified"))
        _add(element, ("truncated", int(objects.truncated[row])), ("difficult", int(objects.ignore[row])))
        if objects.crowd[row]:
            _add(element, ("iscrowd", 1))
        fields = zip(("xmin", "ymin", "xmax", "ymax"), map(decimal, corners), strict=True)
        _add(ElementTree.SubElement(element, "bndbox"), *fields)
    return root


def _add(parent: ElementTree.Element, *fields: tuple[str, str | int]) -> None:
    for tag, text in fields:
        ElementTree.SubElement(parent, tag).text = str(text)
