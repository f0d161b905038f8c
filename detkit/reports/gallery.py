"""Pictures that explain a score: what was found best, what was claimed wrongly, what was missed."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice

import cv2
import numpy as np
import numpy.typing as npt

from detkit.data.dataset import DetectionDataset
from detkit.evaluation.voc import ClassResult, VocResult, pairwise_overlap
from detkit.reports.drawing import Picture, draw_boxes
from detkit.structures import Detections, Target

LONG_SIDE = 480  # px of a picture, so that a report of three groups stays under 4 MB
FOUND, WRONG, OBJECT = (64, 200, 90), (255, 110, 60), (255, 214, 60)  # RGB
LOW_OVERLAP = 0.1  # Hoiem et al. 2012, section 3: less than this is background


@dataclass(frozen=True)
class Picked:
    """A detection, or an object that has none."""

    class_name: str
    image_index: int
    detection: int | None  # row in the image's Detections
    objects: tuple[int, ...]  # rows in its Target
    caption: str  # what is to be seen
    detail: str


@dataclass(frozen=True)
class Tile:
    """A picture of the gallery."""

    image_id: str
    picked: Picked
    jpeg: bytes


def best_hits(result: VocResult) -> Iterator[Picked]:
    """The best scored hit of each class, then the second best of each, and so on, one an image."""
    rows = [
        (turn, -one.scores[row], name, row)
        for name, one in result.classes.items()
        for turn, row in enumerate(np.flatnonzero(one.is_hit)[:50])
    ]
    return _one_per_image(_hit(result.classes[name], name, row) for _, _, name, row in sorted(rows))


def worst_false_positives(
    result: VocResult, detections: Mapping[str, Detections], dataset: DetectionDataset
) -> Iterator[Picked]:
    """The best scored false detections, one an image, each with the kind of its fault."""
    rows = [
        (-one.scores[row], name, row)
        for name, one in result.classes.items()
        for row in np.flatnonzero(one.is_false)[:200]
    ]
    explain = partial(_explained, result, detections, dataset)
    return _one_per_image(explain(name, row) for _, name, row in sorted(rows))


def missed_objects(result: VocResult, dataset: DetectionDataset) -> Iterator[Picked]:
    """The largest objects that no detection hit, whatever its score, one an image."""
    hit = {
        (image, row)
        for one in result.classes.values()
        for image, row in zip(one.image_index[one.is_hit].tolist(), one.object_index[one.is_hit].tolist(), strict=True)
    }
    missed: list[tuple[float, Picked]] = []
    for image in range(len(dataset)):
        target = dataset.target(image)
        sizes = (target.boxes[:, 2:] - target.boxes[:, :2]).tolist()
        for row, (width, height) in enumerate(sizes):
            if not target.ignore[row] and (image, row) not in hit:
                name = dataset.classes[int(target.labels[row])]
                detail = f"{width:.0f} x {height:.0f} px"
                missed.append((-width * height, Picked(name, image, None, (row,), "missed", detail)))
    return _one_per_image(picked for _, picked in sorted(missed, key=lambda one: one[0]))


def tiles(
    picked: Iterable[Picked], detections: Mapping[str, Detections], dataset: DetectionDataset, count: int
) -> list[Tile]:
    """The first `count` of them, drawn."""
    return [
        Tile(dataset.image_ids[one.image_index], one, _drawn(one, detections, dataset)) for one in islice(picked, count)
    ]


def _one_per_image(picked: Iterable[Picked]) -> Iterator[Picked]:
    seen: set[int] = set()
    for one in picked:
        if one.image_index not in seen:
            seen.add(one.image_index)
            yield one


def _hit(one: ClassResult, name: str, row: int) -> Picked:
    detail = f"score {one.scores[row]:.3f}, IoU {one.overlap[row]:.2f}"
    return Picked(name, int(one.image_index[row]), int(one.rank[row]), (int(one.object_index[row]),), "hit", detail)


def _explained(
    result: VocResult, detections: Mapping[str, Detections], dataset: DetectionDataset, name: str, row: int
) -> Picked:
    one = result.classes[name]
    image, rank = int(one.image_index[row]), int(one.rank[row])
    target = dataset.target(image)
    others = _overlaps_of_others(detections[dataset.image_ids[image]], rank, target, dataset.classes.index(name))
    other = int(others.argmax()) if len(others) else -1
    other_overlap = float(others[other]) if len(others) else 0.0
    own, own_overlap = int(one.object_index[row]), float(one.overlap[row])
    detail = f"score {one.scores[row]:.3f}"
    if own_overlap > result.min_iou:
        return Picked(name, image, rank, (own,), "duplicate", f"{detail}, IoU {own_overlap:.2f} with an object taken")
    if other_overlap >= LOW_OVERLAP and other_overlap > own_overlap:
        confused = f"{detail}, IoU {other_overlap:.2f} with {dataset.classes[int(target.labels[other])]}"
        return Picked(name, image, rank, (other,), "confusion", confused)
    if own_overlap >= LOW_OVERLAP:
        return Picked(name, image, rank, (own,), "localisation", f"{detail}, IoU {own_overlap:.2f}")
    return Picked(name, image, rank, (), "background", detail)


def _overlaps_of_others(found: Detections, rank: int, target: Target, label: int) -> npt.NDArray[np.float64]:
    """IoU of a detection with the image's objects of other classes, 0 with those of its own: (M,)."""
    box = found.boxes[rank].detach().cpu().double().numpy()
    overlaps = pairwise_overlap(target.boxes.double().numpy(), box)
    overlaps[target.labels.numpy() == label] = 0
    return overlaps


def _drawn(picked: Picked, detections: Mapping[str, Detections], dataset: DetectionDataset) -> bytes:
    """The picture, its longer side LONG_SIDE: the detection in one line, objects dashed over it, so that both show."""
    image = dataset.read(picked.image_index).image.permute(1, 2, 0).numpy()
    scale = LONG_SIDE / max(image.shape[:2])
    size = [max(1, round(side * scale)) for side in (image.shape[1], image.shape[0])]
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    canvas: Picture = resized.astype(np.uint8, copy=False)
    target = dataset.target(picked.image_index)
    boxes = target.boxes[list(picked.objects)].numpy()
    texts = [picked.class_name if picked.detection is None else ""] * len(boxes)  # else the caption names the object
    colors, dashed = [OBJECT] * len(boxes), [True] * len(boxes)
    if picked.detection is not None:
        found = detections[dataset.image_ids[picked.image_index]]
        boxes = np.vstack([found.boxes[picked.detection].detach().cpu().numpy(), boxes])
        texts.insert(0, f"{picked.class_name} {float(found.scores[picked.detection]):.2f}")
        colors.insert(0, FOUND if picked.caption == "hit" else WRONG)
        dashed.insert(0, False)
    canvas = draw_boxes(canvas, boxes * scale, texts, colors, dashed)
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(canvas, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 82])
    return encoded.tobytes()
