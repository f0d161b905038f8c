"""A data set as Hugging Face's `imagefolder`: SPLIT/metadata.jsonl beside the images of the split."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from detkit.data.formats.writers.written import AnnotatedImage, WrittenSet


def write_hf_folder(root: Path, data: WrittenSet) -> None:
    """A line an image: boxes as x, y, width and height in px, classes by name, areas, and 0 or 1 for each mark."""
    for split in data.splits:
        (root / split.name).mkdir(exist_ok=True)
        with (root / split.name / "metadata.jsonl").open("wb") as file:
            for image in split.images:
                file.write(msgspec.json.encode(_row(data.classes, image)) + b"\n")


def _row(classes: Sequence[str], image: AnnotatedImage) -> dict[str, object]:
    height, width = image.size
    objects = image.objects
    return {
        "file_name": image.name,
        "width": width,
        "height": height,
        "objects": {
            "bbox": objects.xywh.tolist(),
            "category": [classes[label] for label in objects.labels.tolist()],
            "area": objects.area.tolist(),
            "iscrowd": objects.crowd.astype(int).tolist(),
            "difficult": (objects.ignore & ~objects.crowd).astype(int).tolist(),
            "truncated": objects.truncated.astype(int).tolist(),
        },
    }
