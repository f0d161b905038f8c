"""COCO's rules of matching and precision as its paper's page states them, one detection at a time."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from detkit.data.ground_truth import GroundTruth
from detkit.structures import Detections

IOUS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
Box = tuple[float, float, float, float]  # x, y, width, height


def with_difficult_and_ties(
    truth: GroundTruth, detections: Mapping[str, Detections], seed: int
) -> tuple[GroundTruth, dict[str, Detections]]:
    """The case with half of its crowds as difficult objects, images numbered at random, and five scores in all."""
    generator = np.random.default_rng(seed)
    crowd = truth.objects.crowd & (generator.random(len(truth.objects)) < 0.5)
    numbers = tuple(generator.permutation(len(truth)).tolist())
    truth = replace(truth, objects=replace(truth.objects, crowd=crowd), image_numbers=numbers)
    return truth, {
        name: Detections(one.boxes, one.scores.mul(4).round(), one.labels) for name, one in detections.items()
    }


def plain_precision(
    truth: GroundTruth, detections: Mapping[str, Detections], areas: tuple[float, float] = (0, 1e10), limit: int = 100
) -> np.ndarray:
    """(10 IoUs, 101 recalls, C) the best precision at each recall or a higher one; NaN for a class without objects."""
    table = np.full((len(IOUS), len(RECALLS), len(truth.classes)), np.nan)
    images = sorted(range(len(truth)), key=lambda image: truth.image_numbers[image])
    for label in range(len(truth.classes)):
        for place, min_iou in enumerate(IOUS):
            judged: list[tuple[float, bool]] = []
            wanted = 0
            for image in images:
                objects = objects_of(truth, image, label, areas)
                wanted += sum(kind == "counted" for _, kind in objects)
                found = found_in(detections.get(truth.image_ids[image]), label)[:limit]
                judged += judge(found, objects, float(min_iou), areas)
            if wanted:
                table[place, :, label] = precision_of(sorted(judged, key=lambda one: -one[0]), wanted)
    return table


def objects_of(truth: GroundTruth, image: int, label: int, areas: tuple[float, float]) -> list[tuple[Box, str]]:
    """Box and what it is: counted, ignored or a crowd."""
    objects, kinds = truth.of_image(image), []
    for row in np.flatnonzero(objects.labels == label):
        outside = not areas[0] <= objects.area[row] <= areas[1]
        kind = "crowd" if objects.crowd[row] else "ignored" if objects.ignore[row] or outside else "counted"
        kinds.append((tuple(objects.xywh[row].tolist()), kind))
    return kinds


def found_in(one: Detections | None, label: int) -> list[tuple[Box, float]]:
    """Best first; equal scores in their order."""
    if one is None:
        return []
    rows = zip(one.boxes.double().tolist(), one.scores.tolist(), one.labels.tolist())
    found = [((x1, y1, x2 - x1, y2 - y1), score) for (x1, y1, x2, y2), score, own in rows if own == label]
    return sorted(found, key=lambda row: -row[1])


def judge(
    found: list[tuple[Box, float]], objects: list[tuple[Box, str]], min_iou: float, areas: tuple[float, float]
) -> list[tuple[float, bool]]:
    """Score of each detection that is judged, and whether it is right."""
    judged, taken = [], set()
    for box, score in found:
        overlaps = [overlap(box, other, kind == "crowd") for other, kind in objects]
        free = [k for k, (_, kind) in enumerate(objects) if kind == "crowd" or k not in taken]
        fits = [k for k in free if overlaps[k] >= min_iou]
        fits = [k for k in fits if objects[k][1] == "counted"] or fits
        if not fits:
            if areas[0] <= box[2] * box[3] <= areas[1]:
                judged.append((score, False))
            continue
        best = max(fits, key=lambda k: (overlaps[k], k))  # the last of equals
        taken.add(best)
        if objects[best][1] == "counted":
            judged.append((score, True))
    return judged


def overlap(box: Box, other: Box, is_crowd: bool) -> float:
    width = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0])
    height = min(box[1] + box[3], other[1] + other[3]) - max(box[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    common = width * height
    return common / (box[2] * box[3] if is_crowd else box[2] * box[3] + other[2] * other[3] - common)


def precision_of(judged: list[tuple[float, bool]], wanted: int) -> list[float]:
    hits, points = 0, []
    for number, (_, is_right) in enumerate(judged, start=1):
        hits += is_right
        points.append((hits / wanted, hits / number))
    return [max((precision for reached, precision in points if reached >= recall), default=0.0) for recall in RECALLS]
