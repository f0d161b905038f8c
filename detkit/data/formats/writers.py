"""Data sets written as files: PASCAL VOC, COCO and YOLO. What a form cannot hold, `losses` counts.

Images are put in their place by convert.py; here are the files of their objects.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import numpy as np
import yaml

from detkit.config.data import FormName
from detkit.data.federated import Federated
from detkit.data.formats.coco_federated import federated_lists
from detkit.data.formats.split_names import role_of
from detkit.data.ground_truth import Bools, Floats, GroundTruth, Objects
from detkit.structures import Size

_BEYOND = 1e-3  # px over a limit that count: less is rounding
_WHOLE = 1e-3  # px: a coordinate from a fraction of six digits, of an image up to 1,300 px, is this near to what it was
_DECIMALS = 4  # of coordinates from fractions; ten digits, as detkit writes, bring them back that exactly


@dataclass(frozen=True, eq=False)
class AnnotatedImage:
    """An annotated image as it is written."""

    name: str  # of its file, unique in the folder
    size: Size
    is_grey: bool
    number: int  # COCO's id
    objects: Objects

    @property
    def stem(self) -> str:
        return Path(self.name).stem


def image_folder(kind: FormName, split: str) -> Path:
    """Where the images of a split are, below the root."""
    return Path("JPEGImages") if kind == "voc" else Path("images", split)


def losses(truth: GroundTruth, source: FormName, target: FormName) -> Iterator[tuple[str, int]]:
    """What is lost or changed on the way, and how many objects it concerns."""
    objects, limits = truth.objects, _limits(truth)
    with_area = has_area(objects, limits)
    thin = with_area & ~_has_pixels(_voc_corners(objects, limits))
    difficult = objects.ignore & ~objects.crowd
    left_out = {
        "have no area in their image: left out": ~with_area & (target != "coco"),
        "are under 1 px wide or high in their image, which VOC cannot say: left out": thin & (target == "voc"),
        "are crowd, which YOLO cannot say: left out": with_area & objects.crowd & (target == "yolo"),
        "are difficult, which YOLO cannot say: left out": with_area & difficult & (target == "yolo"),
    }
    kept = ~np.any(list(left_out.values()), axis=0)
    outlined = ~np.isclose(objects.area, objects.xywh[:, 2:].prod(axis=1), rtol=1e-6)
    beyond = (np.abs(objects.boxes - np.clip(objects.boxes, 0, limits)) > _BEYOND).any(axis=1)
    is_new = source != "coco" and target == "coco"
    changes = left_out | {
        "are crowd: written as difficult": kept & objects.crowd & (target == "voc"),
        "are difficult: written as iscrowd 1 and difficult 1; other tools take them for crowds": difficult & is_new,
        "are truncated, which YOLO cannot say: the mark is lost": kept & objects.truncated & (target == "yolo"),
        "have the area of their outline: lost, that of the box is left": kept & outlined & (target != "coco"),
        "reach beyond their image: clipped to it": kept & beyond & (target != "coco"),
        f"are in images of which few classes are known (federated): {target.upper()} takes all others for absent": kept
        & (truth.federated is not None and target != "coco"),
    }
    yield from ((change, int(concerned.sum())) for change, concerned in changes.items())


def write_voc_split(root: Path, split: str, classes: Sequence[str], images: Sequence[AnnotatedImage]) -> None:
    """Annotations and ImageSets/Main/SPLIT.txt; coordinates have ten decimals at most, whole ones no point.

    Crowds are written as difficult. Raises ValueError for an image that another split has with other objects: VOC has
    one file for both.
    """
    folder, sets = root / "Annotations", root / "ImageSets" / "Main"
    folder.mkdir(exist_ok=True)
    sets.mkdir(parents=True, exist_ok=True)
    for image in images:
        element = _voc_annotation(classes, image)
        ElementTree.indent(element)
        text = ElementTree.tostring(element, encoding="unicode") + "\n"
        path = folder / f"{image.stem}.xml"
        if path.exists() and path.read_text(encoding="utf-8") != text:
            raise ValueError(f"{image.name}: has other objects in {split!r} than in a split before; convert one a time")
        path.write_text(text, encoding="utf-8")
    (sets / f"{split}.txt").write_text("".join(f"{image.stem}\n" for image in images), encoding="utf-8")


def write_coco_split(
    root: Path,
    split: str,
    classes: Sequence[str],
    category_numbers: Sequence[int],
    images: Sequence[AnnotatedImage],
    federated: Federated | None = None,
) -> None:
    """annotations/instances_SPLIT.json, with boxes and areas to the last bit; there are no outlines.

    A difficult object has iscrowd 1, so that other tools neither learn it nor count it as missed, and beside it
    difficult 1, by which detkit knows it again; a truncated one has truncated 1. What is known of each class in each
    image (`federated`, in the order of the images) is written as LVIS does.
    """
    listed: list[dict[str, object]] = [
        {"id": image.number, "file_name": image.name, "width": image.size[1], "height": image.size[0]}
        for image in images
    ]
    categories: list[dict[str, object]] = [
        {"id": number, "name": name} for number, name in zip(category_numbers, classes, strict=True)
    ]
    if federated is not None:
        for index, image in enumerate(images):
            listed[index] |= federated_lists(federated, index, image.objects.labels, category_numbers)
        for category, frequency in zip(categories, federated.frequencies, strict=True):
            category |= {"frequency": frequency} if frequency else {}
    annotations = list(_coco_annotations(category_numbers, images))
    content = {"images": listed, "annotations": annotations, "categories": categories}
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / f"instances_{split}.json").write_bytes(msgspec.json.encode(content))


def write_yolo_split(root: Path, split: str, images: Sequence[AnnotatedImage]) -> None:
    """A file an image in labels/SPLIT, also where it has no objects."""
    folder = root / "labels" / split
    folder.mkdir(parents=True)
    for image in images:
        lines = "".join(_yolo_lines(image))
        (folder / f"{image.stem}.txt").write_text(lines, encoding="utf-8")


def write_yolo_file(root: Path, splits: Sequence[str], classes: Sequence[str]) -> None:
    """data.yaml. The only split of a role gets its key, which other tools look for: train2017 is `train`."""
    content: dict[str, object] = {"path": "."}
    roles = [role_of(split) for split in splits]
    for split, role in zip(splits, roles, strict=True):
        is_key = role in ("train", "val", "test") and roles.count(role) == 1
        content[role if is_key else split] = f"images/{split}"
    content["names"] = dict(enumerate(classes))
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    (root / "data.yaml").write_text(text, encoding="utf-8")


def in_px(truth: GroundTruth) -> GroundTruth:
    """Objects that a form states as fractions of their image, as the px that were meant.

    Corners within a thousandth of a whole px are whole, others get four decimals: none moves by more than 0.001 px.
    Objects that this would leave without an area stay as they are.
    """
    objects = truth.objects
    whole = np.rint(objects.boxes)
    boxes = np.where(np.abs(objects.boxes - whole) < _WHOLE, whole, objects.boxes.round(_DECIMALS))
    sides = (boxes[:, 2:] - boxes[:, :2]).round(_DECIMALS)
    has_sides = np.all(sides > 0, axis=1, keepdims=True)
    xywh = np.where(has_sides, np.concatenate([boxes[:, :2], sides], axis=1), objects.xywh)
    is_of_box = np.isclose(objects.area, objects.xywh[:, 2:].prod(axis=1), rtol=1e-6)
    area = np.where(is_of_box, xywh[:, 2:].prod(axis=1), objects.area).round(_DECIMALS)
    return replace(truth, objects=replace(objects, xywh=xywh, area=area))


def has_area(objects: Objects, limits: Floats) -> Bools:
    """(M,) whether a box has any of its area in its image; `limits` are (M, 4) width, height, width, height."""
    inside = np.clip(objects.boxes, 0, limits).astype(np.float32)  # as ListedDataset holds them
    found: Bools = np.asarray((inside[:, :2] < inside[:, 2:]).all(axis=1))
    return found


def _limits(truth: GroundTruth) -> Floats:
    return truth.sizes[truth.image_index][:, [1, 0, 1, 0]].astype(np.float64)


def _image_limits(image: AnnotatedImage) -> Floats:
    height, width = image.size
    return np.array([width, height, width, height], dtype=np.float64)


def _voc_annotation(classes: Sequence[str], image: AnnotatedImage) -> ElementTree.Element:
    root = ElementTree.Element("annotation")
    height, width = image.size
    _add(root, ("filename", image.name))
    depth = 1 if image.is_grey else 3
    _add(ElementTree.SubElement(root, "size"), ("width", width), ("height", height), ("depth", depth))
    corners = _voc_corners(image.objects, _image_limits(image))
    held = has_area(image.objects, _image_limits(image)) & _has_pixels(corners)
    objects, corners = image.objects.rows(held), corners[held]
    for row, label in enumerate(objects.labels.tolist()):
        element = ElementTree.SubElement(root, "object")
        _add(element, ("name", classes[label]), ("pose", "Unspecified"))
        _add(element, ("truncated", int(objects.truncated[row])), ("difficult", int(objects.ignore[row])))
        texts = map(_decimal, corners[row].tolist())
        fields = zip(("xmin", "ymin", "xmax", "ymax"), texts, strict=True)
        _add(ElementTree.SubElement(element, "bndbox"), *fields)
    return root


def _voc_corners(objects: Objects, limits: Floats) -> Floats:
    """(M, 4) xmin, ymin, xmax, ymax of the part inside the image: counted from 1, both corners inside."""
    boxes = np.clip(objects.boxes, 0, limits)
    low, high = boxes[:, :2] + 1, boxes[:, 2:]
    is_rounding = (low > high) & (low - high < _BEYOND)  # 1 px wide
    return np.concatenate([np.where(is_rounding, high, low), high], axis=1)


def _has_pixels(corners: Floats) -> Bools:
    """(M,) False for boxes under 1 px wide or high, whose corners would change sides."""
    found: Bools = np.asarray((corners[:, :2] <= corners[:, 2:]).all(axis=1))
    return found


def _add(parent: ElementTree.Element, *fields: tuple[str, str | int]) -> None:
    for tag, text in fields:
        ElementTree.SubElement(parent, tag).text = str(text)


def _decimal(value: float) -> str:
    value = round(value, 10)  # more than float32 holds, which they are read to; less than float64's rounding of x + w
    return str(int(value)) if value.is_integer() else repr(value)


def _coco_annotations(category_numbers: Sequence[int], images: Iterable[AnnotatedImage]) -> Iterator[dict[str, object]]:
    number = 0
    for image in images:
        objects = image.objects
        columns = (objects.labels, objects.xywh, objects.area, objects.ignore, objects.crowd, objects.truncated)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        for label, box, area, is_ignored, is_crowd, is_truncated in rows:
            number += 1
            marks = {"difficult": is_ignored and not is_crowd, "truncated": is_truncated}
            yield {
                "id": number,
                "image_id": image.number,
                "category_id": category_numbers[label],
                "bbox": box,
                "area": area,
                "iscrowd": int(is_ignored),
                "segmentation": [],
            } | {mark: 1 for mark, is_set in marks.items() if is_set}


def _yolo_lines(image: AnnotatedImage) -> Iterator[str]:
    """Ten digits bring a corner back to 1e-5 px in an image of 10,000."""
    limits = _image_limits(image)
    objects = image.objects
    objects = objects.rows(has_area(objects, limits) & ~objects.ignore)
    boxes = np.clip(objects.boxes, 0, limits) / limits  # (M, 4)
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    for label, centre, side in zip(objects.labels.tolist(), centres.tolist(), sides.tolist()):
        yield f"{label} " + " ".join(f"{value:.10g}" for value in (*centre, *side)) + "\n"
