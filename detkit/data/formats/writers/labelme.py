"""A data set in the form of labelme: a JSON file beside each image, in a folder a split."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from detkit.data.formats.writers.written import AnnotatedImage, WrittenSet
from detkit.data.ground_truth import Objects

_VERSION = "5.5.0"  # of labelme, whose files these are like; later versions read it


def write_labelme(root: Path, data: WrittenSet) -> None:
    """Rectangles, with flags for what is difficult, truncated or a crowd."""
    for split in data.splits:
        (root / split.name).mkdir(exist_ok=True)
        for image in split.images:
            text = msgspec.json.format(msgspec.json.encode(_content(data.classes, image)), indent=2)
            (root / split.name / f"{image.stem}.json").write_bytes(text)


def _content(classes: Sequence[str], image: AnnotatedImage) -> dict[str, object]:
    height, width = image.size
    return {
        "version": _VERSION,
        "flags": {},
        "shapes": list(_shapes(classes, image.objects)),
        "imagePath": image.name,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def _shapes(classes: Sequence[str], objects: Objects) -> Iterator[dict[str, object]]:
    for row, (x1, y1, x2, y2) in enumerate(objects.boxes.tolist()):
        flags = {
            "difficult": bool(objects.ignore[row] and not objects.crowd[row]),
            "truncated": bool(objects.truncated[row]),
            "crowd": bool(objects.crowd[row]),
        }
        yield {
            "label": classes[int(objects.labels[row])],
            "points": [[x1, y1], [x2, y2]],
            "group_id": None,
            "description": "",
            "shape_type": "rectangle",
            "flags": {flag: True for flag, is_set in flags.items() if is_set},
            "mask": None,
        }
