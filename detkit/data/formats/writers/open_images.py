"""A data set in the form of Open Images: CSV files in annotations/, as Datumaro has them; images in images/SPLIT."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from detkit.data.formats.writers.written import AnnotatedImage, WrittenSet

_BOX_COLUMNS = (
    "ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax",
    "IsOccluded", "IsTruncated", "IsGroupOf", "IsDepiction", "IsInside",
)  # fmt: skip
_IMAGE_COLUMNS = (
    "ImageID", "Subset", "OriginalURL", "OriginalLandingURL", "License", "AuthorProfileURL", "Author", "Title",
    "OriginalSize", "OriginalMD5", "Thumbnail300KURL", "Rotation",
)  # fmt: skip
_UNKNOWN = -1  # of a mark


def write_open_images(root: Path, data: WrittenSet) -> None:
    """Boxes as fractions, with all digits. A class is its own LabelName; images without boxes are listed too."""
    folder = root / "annotations"
    folder.mkdir()
    _write(folder / "class-descriptions-boxable.csv", ((name, name) for name in data.classes))
    for split in data.splits:
        boxes = (row for image in split.images for row in _boxes(data.classes, image))
        _write(folder / f"{split.name}-annotations-bbox.csv", boxes, _BOX_COLUMNS)
        blank = ("",) * (len(_IMAGE_COLUMNS) - 2)
        images = ((image.stem, split.name, *blank) for image in split.images)
        _write(folder / f"{split.name}-images-with-rotation.csv", images, _IMAGE_COLUMNS)


def _boxes(classes: Sequence[str], image: AnnotatedImage) -> Iterator[tuple[object, ...]]:
    objects = image.objects
    for row, (x1, y1, x2, y2) in enumerate((objects.boxes / image.limits).tolist()):
        marks = (_UNKNOWN, int(objects.truncated[row]), int(objects.crowd[row]), _UNKNOWN, _UNKNOWN)
        yield image.stem, "", classes[int(objects.labels[row])], 1, x1, x2, y1, y2, *marks


def _write(path: Path, rows: Iterable[Sequence[object]], header: Sequence[str] = ()) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if header:
            writer.writerow(header)
        writer.writerows(rows)
