"""Images of a data set with their annotated boxes, few and chosen: what a check's page shows of each split."""

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from detkit.data.formats.read_split import UNKNOWN_SIZE, ReadSplit
from detkit.data.ground_truth import Bools, Ints, learned_boxes
from detkit.data.io.images import ImageError, read_image, read_image_of_size
from detkit.data.validation.suspicious_boxes import SMALLEST, repeated_objects
from detkit.reports.drawing import Color, Pixels, class_color, draw_boxes

PER_SPLIT = 12
LONG_SIDE = 400  # px: about 30 kB an image
SUSPICIOUS: Color = (255, 255, 255)  # dashed; no class is white
MARGIN = 10  # px around a suspicious box, which may be a point
GREY: Color = (176, 180, 188)  # of objects that are ignored
MAX_LABELS = 12  # more objects in an image are told apart by colour only


@dataclass(frozen=True)
class SampleImage:
    path: Path
    address: str  # data: address of the drawn image
    classes: dict[str, int]  # objects of each class
    suspicious: int  # objects


@dataclass(frozen=True)
class SampleGroup:
    title: str
    images: list[SampleImage]


def sample_groups(splits: Sequence[ReadSplit]) -> list[SampleGroup]:
    """Of each split up to PER_SPLIT images that show all its classes, as far as so many can; then the suspicious.

    Images that cannot be read are left out, and so are groups without any.
    """
    odd = {split.name: suspicious_objects(split) for split in splits}
    groups = [SampleGroup(split.name, _drawn(split, choose(split), odd[split.name])) for split in splits]
    shown: set[Path] = set()
    suspicious: list[SampleImage] = []
    for split in splits:
        images = np.unique(split.truth.image_index[odd[split.name]]).tolist()
        wanted = [image for image in images if split.paths[image] not in shown]  # splits may share them
        wanted = wanted[: PER_SPLIT - len(suspicious)]
        shown.update(split.paths[image] for image in wanted)
        suspicious += _drawn(split, wanted, odd[split.name])
    return [group for group in [SampleGroup("Suspicious boxes", suspicious), *groups] if group.images]


def choose(split: ReadSplit, count: int = PER_SPLIT) -> list[int]:
    """Indices of images: those that show most classes not shown before, then evenly from the rest."""
    truth = split.truth
    holds = np.zeros((len(truth), len(truth.classes)), dtype=np.bool_)  # (N, C)
    holds[truth.image_index, truth.objects.labels] = True
    chosen: list[int] = []
    unseen = holds.any(axis=0)  # (C,)
    while unseen.any() and len(chosen) < count:
        chosen.append(int((holds & unseen).sum(axis=1).argmax()))
        unseen &= ~holds[chosen[-1]]
    rest = np.setdiff1d(np.arange(len(truth)), chosen)
    places = np.linspace(0, len(rest) - 1, min(count - len(chosen), len(rest))).round().astype(np.int64)
    return sorted([*chosen, *rest[places].tolist()])


def suspicious_objects(split: ReadSplit) -> Ints:
    """Rows of objects that are a pixel wide or high or less, lie outside their image, or are there twice."""
    objects = split.truth.objects
    is_odd = np.zeros(len(objects), dtype=np.bool_)
    is_odd |= (objects.xywh[:, 2:] <= SMALLEST).any(axis=1)
    has_size: Bools = np.all(split.truth.sizes > 0, axis=1)  # (N,)
    is_odd |= ~learned_boxes(split.truth)[1] & has_size[split.truth.image_index]
    return np.union1d(np.flatnonzero(is_odd), repeated_objects(split.truth)[:, 0])


def _drawn(split: ReadSplit, images: Sequence[int], odd: Ints) -> list[SampleImage]:
    return [sample for image in images for sample in _draw(split, image, odd)]


def _draw(split: ReadSplit, image: int, odd: Ints) -> Iterator[SampleImage]:
    truth, path = split.truth, split.paths[image]
    height, width = truth.sizes[image].tolist()
    try:
        pixels = (
            read_image(path, "own")
            if (height, width) == UNKNOWN_SIZE
            else read_image_of_size(path, (height, width), "own")
        )
    except (ImageError, OSError):
        return
    scale = LONG_SIDE / max(pixels.shape[:2])
    new = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    small = cv2.resize(pixels, new, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    rows = np.flatnonzero(truth.image_index == image)
    rows = rows[np.argsort(-truth.objects.xywh[rows, 2:].prod(axis=1), kind="stable")]  # the smallest on top
    labels, is_odd = truth.objects.labels[rows], np.isin(rows, odd)
    names = [truth.classes[label] for label in labels.tolist()]
    texts = [name if len(rows) <= MAX_LABELS or strange else "" for name, strange in zip(names, is_odd, strict=True)]
    colors = [
        SUSPICIOUS if strange else GREY if ignored else class_color(label)
        for label, strange, ignored in zip(labels.tolist(), is_odd, truth.objects.ignore[rows], strict=True)
    ]
    boxes = truth.objects.boxes[rows] * scale + is_odd[:, None] * MARGIN * np.array([-1, -1, 1, 1])
    drawn = draw_boxes(np.asarray(small, dtype=np.uint8), boxes, texts, colors, is_odd.tolist())
    counts = {name: names.count(name) for name in dict.fromkeys(sorted(names))}
    yield SampleImage(path, jpeg_address(drawn), counts, int(is_odd.sum()))


def jpeg_address(pixels: Pixels, quality: int = 75) -> str:
    """An image as a data: address, for a page that needs no other file."""
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()
