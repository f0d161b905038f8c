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

MetricName = Literal["voc07", "voc10", "coco"]  # AP at 11 recalls | area under the envelope | mean over IoU .5 to .95

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
    coco: CocoResult | None  # None: not asked for
    intervals: dict[str, Interval]  # 95%, over images: of each metric asked for by its name, and "coco50"
    errors: ErrorAnalysis
    sizes: Breakdown
    aspects: Breakdown
    truncation: Breakdown | None  # None: no object is marked
    confusion: Confusion

    def score(self, metric: MetricName) -> float | None:
        """The mean over classes, 0..1; None where no class has an object."""
        if metric != "coco":
            return self.voc[metric].mean_ap
        assert self.coco is not None
        return self.coco.summary["AP"]

    def class_scores(self, metric: MetricName) -> dict[str, float | None]:
        if metric != "coco":
            return self.voc[metric].ap
        assert self.coco is not None
        return self.coco.ap


def assess(found: Found, dataset: DetectionDataset, metrics: Sequence[MetricName]) -> Assessment:
    """Scores detections (by image id, or as read from files) by every metric asked for.

    Equal scores: VOC's metrics keep the order of the mapping or the file, what goes by COCO's rules takes the images
    by their numbers first. Raises ValueError for detections of images or classes that the data set has not, and for
    numbers that are none.
    """
    truth = dataset.ground_truth()
    table = found.corners() if isinstance(found, ResultRows) else found
    table = gather_detections(table, truth.image_ids, len(truth.classes))
    voc = {metric: evaluate(table, dataset, metric) for metric in metrics if metric != "coco"}
    intervals: dict[str, Interval] = {}
    for metric, result in voc.items():
        [intervals[metric]] = bootstrap_intervals(voc_measure(result, dataset), RESAMPLES).values()
    coco = None
    if "coco" in metrics:
        coco = evaluate_coco(found, truth)
        resampled = bootstrap_intervals(coco_measure(match_coco(found, truth)), RESAMPLES)
        intervals |= {"coco": resampled["AP"], "coco50": resampled["AP50"]}
    groups = VOC_GROUPS if set(truth.classes) <= set(VOC_GROUPS) else None
    return Assessment(
        dataset=dataset,
        truth=truth,
        found=found,
        detections=found if isinstance(found, Mapping) else table.by_image(truth.image_ids),
        voc=voc,
        coco=coco,
        intervals=intervals,
        errors=decompose(table, truth, groups=groups),
        sizes=by_size(table, truth),
        aspects=by_aspect(table, truth),
        truncation=by_truncation(table, truth),
        confusion=confusion(table, truth),
    )
