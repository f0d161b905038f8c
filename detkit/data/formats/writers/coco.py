"""A data set in the form of COCO: annotations/instances_SPLIT.json, and images in images/SPLIT."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from detkit.data.formats.writers.written import AnnotatedImage, WrittenSet


def write_coco(root: Path, data: WrittenSet) -> None:
    """Boxes and areas to the last bit; there are no outlines.

    A difficult object has iscrowd 1, so that other tools neither learn it nor count it as missed, and beside it
    difficult 1, by which detkit knows it again; a truncated one has truncated 1.
    """
    (root / "annotations").mkdir(exist_ok=True)
    numbers = data.category_numbers
    categories = [{"id": number, "name": name} for number, name in zip(numbers, data.classes, strict=True)]
    for split in data.splits:
        content = {
            "images": [
                {"id": image.number, "file_name": image.name, "width": image.size[1], "height": image.size[0]}
                for image in split.images
            ],
            "annotations": list(_annotations(numbers, split.images)),
            "categories": categories,
        }
        path = root / "annotations" / f"instances_{split.name}.json"
        path.write_bytes(msgspec.json.encode(content))


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
