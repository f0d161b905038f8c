"""A data set in the form of COCO: annotations/instances_SPLIT.json, and images in images/SPLIT."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from detkit.data.federated import Federated
from detkit.data.formats.coco_federated import federated_lists
from detkit.data.formats.writers.written import AnnotatedImage, WrittenSet, WrittenSplit


def write_coco(root: Path, data: WrittenSet) -> None:
    """Boxes and areas to the last bit; there are no outlines.

    A difficult object has iscrowd 1, so that other tools neither learn it nor count it as missed, and beside it
    difficult 1, by which detkit knows it again; a truncated one has truncated 1. What is known of each class in each
    image of a federated split is written as LVIS does.
    """
    (root / "annotations").mkdir(exist_ok=True)
    for split in data.splits:
        content = {
            "images": list(_images(split, data.category_numbers)),
            "annotations": list(_annotations(data.category_numbers, split.images)),
            "categories": list(_categories(data, split.federated)),
        }
        path = root / "annotations" / f"instances_{split.name}.json"
        path.write_bytes(msgspec.json.encode(content))


def _images(split: WrittenSplit, category_numbers: Sequence[int]) -> Iterator[dict[str, object]]:
    for index, image in enumerate(split.images):
        height, width = image.size
        entry = {"id": image.number, "file_name": image.name, "width": width, "height": height}
        if split.federated is None:
            yield entry
        else:
            yield entry | federated_lists(split.federated, index, image.objects.labels, category_numbers)


def _categories(data: WrittenSet, federated: Federated | None) -> Iterator[dict[str, object]]:
    frequencies = federated.frequencies if federated is not None else [""] * len(data.classes)
    for number, name, frequency in zip(data.category_numbers, data.classes, frequencies, strict=True):
        yield {"id": number, "name": name} | ({"frequency": frequency} if frequency else {})


def _annotations(category_numbers: Sequence[int], images: Iterable[AnnotatedImage]) -> Iterator[dict[str, object]]:
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
