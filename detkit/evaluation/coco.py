"""COCO's average precision and recall, by either of two published implementations; LVIS's (lvis.py) where it is due.

Notation: T IoU thresholds (coco_matching.IOUS), R recalls (coco_matching.RECALLS), C classes.
"""

import io
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from detkit.data.ground_truth import Floats, GroundTruth
from detkit.evaluation.coco_files import ResultRows
from detkit.evaluation.lvis import score_lvis
from detkit.evaluation.rows import Rows
from detkit.structures import Detections

Engine = Literal["fast", "reference"]  # faster-coco-eval | pycocotools, the official code

OUTSIDE_ALL_SIZES = -1.0  # px of area: below every range of sizes, the one of all objects included


@dataclass(frozen=True, eq=False)
class CocoResult:
    """The score of a data set. Numbers are None where the official code prints -1: without an object to find."""

    summary: dict[str, float | None]  # AP AP50 AP75 APs APm APl AR1 AR10 AR100 ARs ARm ARl; of LVIS as score_lvis
    ap: dict[str, float | None]  # of each class, mean over the IoU thresholds
    ap50: dict[str, float | None]
    ap75: dict[str, float | None]
    precision: Floats  # (T, R, C) best precision at each recall or a higher one; NaN without an object to find
    counts: dict[str, int]  # objects to find of each class: ignored ones left out


def evaluate_coco(
    detections: Mapping[str, Detections] | Rows | ResultRows, truth: GroundTruth, engine: Engine = "fast"
) -> CocoResult:
    """Scores detections (by image id, or as read from a file). An image that is not in the mapping has none.

    What lies in a crowd is not held against the detector, nor is one detection of each other object marked `ignore`.
    Both engines give the same numbers. Equal scores: images in the order of their numbers, and the detections of an
    image in theirs. A federated truth is scored by LVIS's rules, without either engine: COCO's would take all that it
    says nothing of for absent. Raises ValueError for an unknown engine, and as ResultRows.of does.
    """
    if engine not in ("fast", "reference"):
        raise ValueError(f"engine {engine!r}: expected 'fast' (faster-coco-eval) or 'reference' (pycocotools)")
    rows = ResultRows.of(detections, truth)
    whole, summary = _score_coco(rows, truth, engine) if truth.federated is None else score_lvis(rows, truth)
    counted = np.bincount(truth.objects.labels[~truth.objects.ignore], minlength=len(truth.classes))
    return CocoResult(
        summary,
        _by_class(truth, whole),
        _by_class(truth, whole[:1]),
        _by_class(truth, whole[5:6]),
        whole,
        dict(zip(truth.classes, counted.tolist(), strict=True)),
    )


def _score_coco(rows: ResultRows, truth: GroundTruth, engine: Engine) -> tuple[Floats, dict[str, float | None]]:
    """CocoResult's precision and summary."""
    order = np.argsort(truth.category_numbers)  # the official order of the classes
    precision, recall = _run(engine, _annotations(truth), _results(rows, truth))
    in_our_order = np.empty_like(precision)
    in_our_order[:, :, order] = precision
    whole = np.where(in_our_order[..., 0, -1] < 0, np.nan, in_our_order[..., 0, -1])  # all areas, 100 detections
    return whole, _summary(precision, recall)


def _run(engine: Engine, annotations: dict[str, Any], results: dict[str, Any]) -> tuple[Floats, Floats]:
    """Precision (T, R, C, 4 areas, 3 limits of detections) and recall (T, C, 4, 3), classes by category number."""
    kind, evaluator = _code_of(engine)
    with redirect_stdout(io.StringIO()):  # pycocotools prints as it goes
        objects, found = kind(), kind()
        objects.dataset, found.dataset = annotations, results
        objects.createIndex()
        found.createIndex()  # not loadRes, which fails without a detection
        evaluation = evaluator(objects, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    return np.asarray(evaluation.eval["precision"]), np.asarray(evaluation.eval["recall"])


def _code_of(engine: Engine) -> tuple[Any, Any]:
    """Its classes of annotations and of an evaluation; each is slow to import, and asked for by few."""
    if engine == "fast":
        from faster_coco_eval import COCO, COCOeval_faster

        return COCO, COCOeval_faster
    import pycocotools.coco
    import pycocotools.cocoeval

    return pycocotools.coco.COCO, pycocotools.cocoeval.COCOeval


def _annotations(truth: GroundTruth) -> dict[str, Any]:
    """The content of an annotation file.

    Both engines replace `ignore` by iscrowd, so that an object that is ignored but no crowd, VOC's difficult, must be
    said otherwise. What they do with objects of another size is what is meant: not asked for, and matched once, by IoU,
    where no object that counts will do. So its area is outside of all sizes. Areas serve for nothing else there.
    """
    objects = truth.objects
    area = np.where(objects.ignore & ~objects.crowd, OUTSIDE_ALL_SIZES, objects.area)
    columns = (truth.image_index, objects.labels, objects.xywh, area, objects.crowd)
    return _frame(truth) | {
        "annotations": [
            {
                "id": number,
                "image_id": truth.image_numbers[image],
                "category_id": truth.category_numbers[label],
                "bbox": box,
                "area": area,
                "iscrowd": int(crowd),
            }
            # From 1: the official code takes an object or detection of id 0 for none.
            for number, (image, label, box, area, crowd) in enumerate(zip(*map(np.ndarray.tolist, columns)), start=1)
        ]
    }


def _results(rows: ResultRows, truth: GroundTruth) -> dict[str, Any]:
    """What the official code makes of a results.json."""
    columns = (rows.image_index, rows.labels, rows.xywh, rows.xywh[:, 2:].prod(axis=1), rows.scores)
    return _frame(truth) | {
        "annotations": [
            {
                "id": number,
                "image_id": truth.image_numbers[image],
                "category_id": truth.category_numbers[label],
                "bbox": box,
                "area": area,
                "score": score,
                "iscrowd": 0,
            }
            for number, (image, label, box, area, score) in enumerate(zip(*map(np.ndarray.tolist, columns)), start=1)
        ]
    }


def _frame(truth: GroundTruth) -> dict[str, Any]:
    sizes = zip(truth.image_numbers, truth.sizes.tolist(), strict=True)
    return {
        "images": [{"id": number, "height": height, "width": width} for number, (height, width) in sizes],
        "categories": [
            {"id": number, "name": name} for number, name in zip(truth.category_numbers, truth.classes, strict=True)
        ],
    }


def _summary(precision: Floats, recall: Floats) -> dict[str, float | None]:
    """The twelve numbers that the official code prints, from its arrays."""
    areas = {"": 0, "s": 1, "m": 2, "l": 3}
    ap = {f"AP{name}": precision[..., area, -1] for name, area in areas.items()}
    ap50, ap75 = precision[0, ..., 0, -1], precision[5, ..., 0, -1]
    ar = {f"AR{limit}": recall[..., 0, index] for index, limit in enumerate((1, 10, 100))}
    ar |= {f"AR{name}": recall[..., area, -1] for name, area in areas.items() if name}
    values = {"AP": ap.pop("AP"), "AP50": ap50, "AP75": ap75} | ap | ar
    return {name: _mean(value) for name, value in values.items()}


def _by_class(truth: GroundTruth, precision: Floats) -> dict[str, float | None]:
    return {name: _mean(precision[..., label]) for label, name in enumerate(truth.classes)}


def _mean(values: Floats) -> float | None:
    """Of those that are there: not -1, not NaN."""
    there = values[values >= 0]
    return float(there.mean()) if there.size else None
