"""Everything that is said about the detections of a data set: scores with their intervals, errors, breakdowns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from detkit.data.dataset import DetectionDataset
from detkit.data.ground_truth import GroundTruth
from detkit.evaluation.bootstrap import Interval, bootstrap_intervals, coco_measure, voc_measure
from detkit.evaluation.breakdown import Breakdown, by_aspect, by_size, by_truncation
from detkit.evaluation.coco import CocoResult, evaluate_coco
from detkit.evaluation.coco_files import ResultRows
from detkit.evaluation.coco_matching import match_coco
from detkit.evaluation.confusion import Confusion, confusion
from detkit.evaluation.errors import VOC_GROUPS, ErrorAnalysis, decompose
from detkit.evaluation.rows import Rows, gather_detections
from detkit.evaluation.voc import VocResult, evaluate
from detkit.structures import Detections

# AP at 11 recalls | area under the envelope | mean over IoU .5 to .95, and the same of a federated data set
MetricName = Literal["voc07", "voc10", "coco", "lvis"]

Found = Mapping[str, Detections] | Rows | ResultRows  # by image id | comp4 files | a results.json

RESAMPLES = 1000  # 20 s for COCO's 5,000 images with 100 detections each


@dataclass(frozen=True, eq=False)
class Assessment:
    """The detections of a data set, and all that follows from them."""

    dataset: DetectionDataset
    truth: GroundTruth
    found: Found  # as given: its order decides between equal scores
    detections: Mapping[str, Detections]
    voc: dict[Literal["voc07", "voc10"], VocResult]  # those asked for
    coco: CocoResult | None  # or LVIS's; None: not asked for
    coco_name: Literal["coco", "lvis"]  # which of the two it is, or would be
    intervals: dict[str, Interval]  # 95%, over images: of each metric asked for by its name, "coco50" and "lvis50"
    errors: ErrorAnalysis
    sizes: Breakdown
    aspects: Breakdown
    truncation: Breakdown | None  # None: no object is marked
    confusion: Confusion

    def score(self, metric: MetricName) -> float | None:
        """The mean over classes, 0..1; None where no class has an object."""
        if metric == "voc07" or metric == "voc10":
            return self.voc[metric].mean_ap
        assert self.coco is not None
        return self.coco.summary["AP"]

    def class_scores(self, metric: MetricName) -> dict[str, float | None]:
        if metric == "voc07" or metric == "voc10":
            return self.voc[metric].ap
        assert self.coco is not None
        return self.coco.ap


def fitting(metrics: Sequence[MetricName], truth: GroundTruth) -> list[MetricName]:
    """The metrics that are meant, each once: COCO's of a federated data set is LVIS's.

    Raises ValueError for LVIS's of any other, and for VOC's of a federated one.
    """
    if truth.federated is None and "lvis" in metrics:
        raise ValueError("lvis: this data set is not federated (no image has neg_category_ids); score it by coco")
    if truth.federated is not None and (voc := [name for name in metrics if name.startswith("voc")]):
        raise ValueError(
            f"{voc[0]}: this data set is federated, and VOC's metrics take what was not looked for in an image for "
            "absent; score it by lvis"
        )
    return list(dict.fromkeys("lvis" if name == "coco" and truth.federated is not None else name for name in metrics))


def assess(found: Found, dataset: DetectionDataset, metrics: Sequence[MetricName]) -> Assessment:
    """Scores detections (by image id, or as read from files) by every metric asked for.

    Equal scores: VOC's metrics keep the order of the mapping or the file, what goes by COCO's rules takes the images
    by their numbers first. Raises ValueError for detections of images or classes that the data set has not, for
    numbers that are none, and as `fitting` does; the names are as it gives them.
    """
    truth = dataset.ground_truth()
    table = found.corners() if isinstance(found, ResultRows) else found
    table = gather_detections(table, truth.image_ids, len(truth.classes))
    metrics = fitting(metrics, truth)
    voc = {metric: evaluate(table, dataset, metric) for metric in metrics if metric == "voc07" or metric == "voc10"}
    intervals: dict[str, Interval] = {}
    for metric, result in voc.items():
        [intervals[metric]] = bootstrap_intervals(voc_measure(result, dataset), RESAMPLES).values()
    coco = None
    coco_name: Literal["coco", "lvis"] = "coco" if truth.federated is None else "lvis"
    if coco_name in metrics:
        coco = evaluate_coco(found, truth)
        resampled = bootstrap_intervals(coco_measure(match_coco(found, truth)), RESAMPLES)
        intervals |= {coco_name: resampled["AP"], f"{coco_name}50": resampled["AP50"]}
    groups = VOC_GROUPS if set(truth.classes) <= set(VOC_GROUPS) else None
    return Assessment(
        dataset=dataset,
        truth=truth,
        found=found,
        detections=found if isinstance(found, Mapping) else table.by_image(truth.image_ids),
        voc=voc,
        coco=coco,
        coco_name=coco_name,
        intervals=intervals,
        errors=decompose(table, truth, groups=groups),
        sizes=by_size(table, truth),
        aspects=by_aspect(table, truth),
        truncation=by_truncation(table, truth),
        confusion=confusion(table, truth),
    )
