"""What the page of a run shows, from its assessment: scores, rows of classes, causes of errors, bins, confusions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detkit.evaluation.assessment import Assessment
from detkit.evaluation.bootstrap import Interval
from detkit.evaluation.breakdown import COCO_SIZES, Bin, Breakdown
from detkit.evaluation.confusion import Confusion
from detkit.evaluation.errors import MAIN_KINDS, SPECIAL_KINDS, ErrorAnalysis, ErrorKind
from detkit.reports.run_gallery import KINDS

FALSE_KINDS = (ErrorKind.LOC, ErrorKind.CLS, ErrorKind.BOTH, ErrorKind.DUPE, ErrorKind.BKG)
VOC_NAMES = {"voc07": "VOC 2007, AP at 11 recalls", "voc10": "VOC 2010, area under precision and recall"}
CAUSES = {  # kind: name, what it means
    ErrorKind.CLS: ("confusion", "A detection fits an object of another class."),
    ErrorKind.LOC: ("localisation", "A detection of the right class is near its object, but overlaps it too little."),
    ErrorKind.BOTH: ("both", "A detection is near an object, of another class, and overlaps it too little."),
    ErrorKind.DUPE: ("duplicate", "A detection fits an object that a surer one had found."),
    ErrorKind.BKG: ("background", "A detection is near no object: nothing is there, or nothing is annotated."),
    ErrorKind.MISS: ("missed", "An object that no detection found, not even in a poor place or as another class."),
    ErrorKind.FALSE_POSITIVE: ("all false positives", "What AP would gain if every false detection were taken out."),
    ErrorKind.FALSE_NEGATIVE: ("all not found", "What AP would gain if no object that was not found were asked for."),
}
MOST_CONFUSED = 20  # pairs
SMALL_MATRIX = 25  # classes: more do not fit a page, and are folded away


@dataclass(frozen=True)
class Score:
    """A number of the headline."""

    name: str
    value: float | None  # 0..1
    low: float | None  # of its 95% interval
    high: float | None


@dataclass(frozen=True)
class ClassRow:
    name: str
    aps: list[float | None]  # 0..1, in the order of ap_names; None without an object
    objects: int
    detections: int
    hits: int
    false: int
    missed: int


@dataclass(frozen=True)
class Cause:
    key: str  # of the gallery's kind; "" without one
    name: str
    meaning: str
    loss: float  # 0..1 of AP
    percent: float  # of the largest loss
    count: int | None


@dataclass(frozen=True)
class BinGroup:
    title: str
    bins: Sequence[Bin]
    of_class: dict[str, Sequence[Bin]]


@dataclass(frozen=True)
class Pair:
    """Objects of one class that were detected as another."""

    object: str
    detected: str
    count: int
    share: float  # of the objects, 0..1


@dataclass(frozen=True)
class MatrixCell:
    count: int
    percent: int  # of its row
    is_own: bool


@dataclass(frozen=True)
class Matrix:
    names: list[str]  # of the columns
    rows: list[tuple[str, list[MatrixCell]]]
    pairs: list[Pair]
    is_large: bool


def headline(assessment: Assessment) -> list[Score]:
    """The mean of each metric that was asked for, with its interval where there is one."""
    scores: list[tuple[str, float | None, str]] = [
        (VOC_NAMES[metric], result.mean_ap, metric) for metric, result in assessment.voc.items()
    ]
    if assessment.coco is not None:
        summary, rules = assessment.coco.summary, assessment.coco_name
        scores += [
            (f"{rules.upper()} AP, mean over IoU 0.50 to 0.95", summary["AP"], rules),
            (f"{rules.upper()} AP50, at IoU 0.50", summary["AP50"], f"{rules}50"),
        ]
    unknown = Interval(None, None, None)
    intervals = [assessment.intervals.get(key, unknown) for _, _, key in scores]
    return [Score(name, value, one.low, one.high) for (name, value, _), one in zip(scores, intervals, strict=True)]


def ap_names(assessment: Assessment) -> list[str]:
    """Heads of the columns of ClassRow.aps."""
    short = {"voc07": "AP, VOC 2007", "voc10": "AP, VOC 2010"}
    return [short[metric] for metric in assessment.voc] + (["AP", "AP50", "AP75"] if assessment.coco else [])


def class_rows(assessment: Assessment) -> list[ClassRow]:
    """The best first, classes without objects last. Hits are those of the errors' analysis, at its IoU."""
    truth, coco = assessment.truth, assessment.coco
    columns = [result.ap for result in assessment.voc.values()] + ([coco.ap, coco.ap50, coco.ap75] if coco else [])
    objects = np.bincount(truth.objects.labels[~truth.objects.ignore], minlength=len(truth.classes)).tolist()
    rows = []
    for name, num_objects in zip(truth.classes, objects, strict=True):
        counts = assessment.errors.counts_of_class[name]
        hits, false = counts[ErrorKind.TP], sum(counts[kind] for kind in FALSE_KINDS)
        detections = hits + false + counts[ErrorKind.IGNORED]
        aps = [column[name] for column in columns]
        rows.append(ClassRow(name, aps, num_objects, detections, hits, false, num_objects - hits))
    return sorted(rows, key=lambda row: -1.0 if not row.aps or row.aps[0] is None else row.aps[0], reverse=True)


def causes(errors: ErrorAnalysis) -> tuple[list[Cause], list[Cause]]:
    """The kinds of errors, the costliest first, and the sums of several kinds."""
    largest = max((errors.loss[kind] for kind in (*MAIN_KINDS, *SPECIAL_KINDS)), default=0.0)
    percent = 100 / largest if largest > 0 else 0.0

    def cause(kind: ErrorKind) -> Cause:
        name, meaning = CAUSES[kind]
        key = KINDS[kind].key if kind in KINDS else ""
        return Cause(key, name, meaning, errors.loss[kind], percent * errors.loss[kind], errors.counts.get(kind))

    main = sorted(map(cause, MAIN_KINDS), key=lambda one: one.loss, reverse=True)
    return main, [cause(kind) for kind in SPECIAL_KINDS]


def class_losses(errors: ErrorAnalysis) -> list[tuple[str, list[float]]]:
    """Each class's losses, in the order of MAIN_KINDS, the class that loses most first."""
    rows = [(name, [losses[kind] for kind in MAIN_KINDS]) for name, losses in errors.loss_of_class.items()]
    return sorted(rows, key=lambda row: max(row[1]), reverse=True)


def bin_groups(assessment: Assessment) -> list[BinGroup]:
    num_sizes = len(COCO_SIZES)
    groups = [
        _group("Size", assessment.sizes, slice(0, num_sizes)),
        _group("Size within the class", assessment.sizes, slice(num_sizes, None)),
        _group("Width to height, within the class", assessment.aspects, slice(None)),
    ]
    if assessment.truncation is not None:
        groups.append(_group("Truncation", assessment.truncation, slice(None)))
    return groups


def _group(title: str, breakdown: Breakdown, part: slice) -> BinGroup:
    return BinGroup(title, breakdown.all_classes[part], {name: bins[part] for name, bins in breakdown.of_class.items()})


def matrix(confusion: Confusion) -> Matrix:
    names = [*confusion.classes, "background"]
    sums = confusion.counts.sum(axis=1).clip(min=1)
    percents = np.rint(100 * confusion.counts / sums[:, None]).astype(int).tolist()
    counts = confusion.counts.tolist()
    rows = [
        (name, [MatrixCell(count, percent, row == column) for column, (count, percent) in enumerate(zip(*cells))])
        for row, (name, cells) in enumerate(zip(names, zip(counts, percents, strict=True), strict=True))
    ]
    return Matrix(
        [*confusion.classes, "missed"], rows, _most_confused(confusion), len(confusion.classes) > SMALL_MATRIX
    )


def _most_confused(confusion: Confusion) -> list[Pair]:
    num_classes = len(confusion.classes)
    wrong = confusion.counts[:num_classes, :num_classes].copy()
    np.fill_diagonal(wrong, 0)
    objects = confusion.counts.sum(axis=1).clip(min=1)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSED]
    places = [(int(row), int(column)) for row, column in zip(*np.unravel_index(order, wrong.shape))]
    return [
        Pair(
            confusion.classes[row],
            confusion.classes[column],
            int(wrong[row, column]),
            float(wrong[row, column] / objects[row]),
        )
        for row, column in places
        if wrong[row, column]
    ]
