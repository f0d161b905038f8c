"""A data set in the form of CVAT for images 1.1: SPLIT.xml, and images in images/SPLIT.

CVAT itself writes one file, annotations.xml, and reads several; Datumaro reads a subset from the file of its name.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

from detkit.data.formats.writers.written import AnnotatedImage, WrittenSet, WrittenSplit, decimal

_MARKS = ("difficult", "truncated", "is_crowd")  # attributes of each label; the last is CVAT's own word for COCO's


def write_cvat(root: Path, data: WrittenSet) -> None:
    """Coordinates have ten decimals at most. Written an image at a time: a tree of all would not fit in memory."""
    for split in data.splits:
        with (root / f"{split.name}.xml").open("w", encoding="utf-8") as file:
            file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n')
            for element in _elements(data.classes, split):
                ElementTree.indent(element, level=1)
                file.write(f"  {ElementTree.tostring(element, encoding='unicode')}\n")
            file.write("</annotations>\n")


def _elements(classes: Sequence[str], split: WrittenSplit) -> Iterator[ElementTree.Element]:
    version = ElementTree.Element("version")
    version.text = "1.1"
    yield version
    yield _meta(classes, split)
    for number, image in enumerate(split.images):
        yield _image(classes, split.name, number, image)


def _meta(classes: Sequence[str], split: WrittenSplit) -> ElementTree.Element:
    meta = ElementTree.Element("meta")
    task = ElementTree.SubElement(meta, "task")
    _add(task, ("name", split.name), ("size", str(len(split.images))), ("mode", "annotation"), ("subset", split.name))
    labels = ElementTree.SubElement(task, "labels")
    for name in classes:
        label = ElementTree.SubElement(labels, "label")
        _add(label, ("name", name), ("type", "rectangle"))
        attributes = ElementTree.SubElement(label, "attributes")
        for mark in _MARKS:
            attribute = ElementTree.SubElement(attributes, "attribute")
            _add(attribute, ("name", mark), ("mutable", "False"), ("input_type", "checkbox"))
            _add(attribute, ("default_value", "false"), ("values", "false"))
    return meta


def _image(classes: Sequence[str], split: str, number: int, image: AnnotatedImage) -> ElementTree.Element:
    height, width = image.size
    sides = {"width": str(width), "height": str(height)}
    element = ElementTree.Element("image", {"id": str(number), "name": image.name, "subset": split} | sides)
    objects = image.objects
    for row, corners in enumerate(objects.boxes.tolist()):
        fields = {"label": classes[int(objects.labels[row])], "source": "manual", "occluded": "0"}
        fields |= dict(zip(("xtl", "ytl", "xbr", "ybr"), map(decimal, corners), strict=True))
        box = ElementTree.SubElement(element, "box", fields | {"z_order": "0"})
        are_set = (objects.ignore[row] and not objects.crowd[row], objects.truncated[row], objects.crowd[row])
        for mark, is_set in zip(_MARKS, are_set, strict=True):
            ElementTree.SubElement(box, "attribute", {"name": mark}).text = "true" if is_set else "false"
    return element


def _add(parent: ElementTree.Element, *fields: tuple[str, str]) -> None:
    for tag, text in fields:
        ElementTree.SubElement(parent, tag).text = text
