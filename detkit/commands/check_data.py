"""A data set checked before training: what detkit check-data does.

Beside the faults in its files it tells how its objects look to a detector, and whether all of them can be found: scored
as detections, they must give an AP of 1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from detkit.build.data import build_resize, open_training_data, to_train_on
from detkit.config.data import FolderData, ImageConfig
from detkit.config.models import FasterRCNN, RPNConfig
from detkit.config.schema import Config
from detkit.data.faults import Fault, FaultError, Severity
from detkit.data.formats.forms import Form, parse_split, roles
from detkit.data.formats.joined import with_images
from detkit.data.formats.listed import ListedDataset
from detkit.data.formats.opening import SplitReader
from detkit.data.formats.read_split import ReadSplit
from detkit.data.ground_truth import Bools, Floats, GroundTruth, Ints, learned_boxes
from detkit.data.pipeline.prepare import Resize
from detkit.data.validation.anchor_sizes import FittedSizes, LargerImages, fit_anchors, larger_images
from detkit.data.validation.check import check_data
from detkit.data.validation.check_report import CheckReport, fault_lines, in_order
from detkit.data.validation.deep_ranges import find_deep_ranges
from detkit.data.validation.statistics import REACHED, Frame, SplitStatistics, measure
from detkit.evaluation.coco_files import ResultRows
from detkit.evaluation.coco_matching import IOUS, MAX_DETECTIONS, average_precision_coco, match_coco
from detkit.evaluation.rows import Rows, ranks
from detkit.evaluation.voc import elementwise_iou, evaluate_rows
from detkit.ops.anchors import placed_anchors

STRIDE = 16  # px, of the feature map of every backbone
ENOUGH = 10  # objects: anchor sizes that are fitted to fewer say nothing of others
MUCH = 4.0  # times the time and memory: another way may be better
SHOWN = 20  # faults of a kind, unless all are asked for
SHOWN_CLASSES = 20  # of the table of reach, unless all are asked for
NOT_FOUND = "objects cannot be found by any detector, or not well, as they are stated"


@dataclass(frozen=True, eq=False)
class PerfectScores:
    """AP of each class (C,) of a split's own objects as detections; NaN without an object to find."""

    voc: Floats  # by VOC 2010
    coco: Floats  # the mean over COCO's IoU thresholds


@dataclass(frozen=True, eq=False)
class DataCheck:
    report: CheckReport  # with the faults of the perfect scores
    frame: Frame
    statistics: dict[str, SplitStatistics]  # of each split
    perfect: dict[str, PerfectScores]
    has_anchors: bool  # the detector that is asked for; else the frame's are those of py-faster-rcnn

    def lines(self, limit: int | None = SHOWN) -> Iterator[str]:
        """All that is found, as text, the verdict last: at most `limit` faults of a kind, None for all."""
        yield from fault_lines(self.report.faults, limit)
        yield from self.report.split_lines()
        yield ""
        yield from _reach_lines(self, None if limit is None else SHOWN_CLASSES)
        yield from self.advice_lines()
        yield ""
        yield from self.perfect_lines()
        yield self.report.verdict()

    @property
    def learned(self) -> list[str]:
        """The splits to learn from; all where none is for that."""
        used = [parse_split(split)[0] for split in roles(self.report.form).train]
        return [name for name in self.statistics if name in used] or list(self.statistics)

    def advice_lines(self) -> Iterator[str]:
        """Other sizes of anchors and images, where they would let clearly more objects be found."""
        parts = [self.statistics[name] for name in self.learned]
        fitted = fit_anchors(self.frame, parts) if self.has_anchors and parts else None
        if fitted is not None and sum(len(part.boxes) for part in parts) >= ENOUGH:
            yield _sizes_line(fitted)
            larger = larger_images(self.frame, parts)
            if larger is not None:
                yield _side_line(larger, self.frame)

    def perfect_lines(self) -> Iterator[str]:
        """What the objects of each split score as detections; one line where nothing is wrong with any."""
        low = {
            name: list(_low_scores(split.truth.classes, self.perfect[name]))
            for name, split in self.report.splits.items()
        }
        if not any(low.values()):
            yield "All objects can be found: scored as detections they have AP 100 in every class (VOC 2010 and COCO)"
        for name, classes in low.items():
            if classes:
                said = "the warnings say which objects are the reason"
                yield f"{name}: its objects scored as detections have AP below 100 for {', '.join(classes)}; {said}"


def check(form: Form, splits: Sequence[str], classes: Sequence[str] | None, config: Config | None = None) -> DataCheck:
    """As check_data, with the statistics and perfect scores; images and anchors are those of `config`.

    Without a config, or where its detector has no anchors, they are those of py-faster-rcnn.
    """
    reader = SplitReader(form)
    report = with_verdict(reader, splits, classes, config, check_data(reader, splits, classes))
    frame = frame_of(config)
    statistics = {name: measure(split.truth, frame) for name, split in report.splits.items()}
    found = {name: score_perfect(split) for name, split in report.splits.items()}
    faults = [fault for _, split_faults in found.values() for fault in split_faults]
    stated = None if config is None else config.data.known_deep_range
    faults += find_deep_ranges(form, report.splits, stated)
    report = replace(report, faults=in_order([*report.faults, *faults]))
    perfect = {name: scores for name, (scores, _) in found.items()}
    return DataCheck(report, frame, statistics, perfect, config is None or isinstance(config.model, FasterRCNN))


def with_verdict(
    reader: SplitReader,
    splits: Sequence[str],
    classes: Sequence[str] | None,
    config: Config | None,
    report: CheckReport,
) -> CheckReport:
    """Whether training on these splits begins, by doing all that training does before its first step."""
    names = tuple(dict.fromkeys(parse_split(split)[0] for split in splits)) or reader.form.splits
    form = replace(reader.form, splits=names)
    data = None if config is None else config.data
    is_own = isinstance(data, FolderData) and Path(data.root).resolve() == form.root.resolve()
    if not is_own and splits and not roles(form).train:  # asked for those to score on: nothing is trained
        return replace(report, can_train=not report.count(Severity.ERROR))

    def unreadable(datasets: Sequence[ListedDataset]) -> Iterator[Fault]:
        used = {path for dataset in datasets for path in dataset.paths}
        return (fault for fault in report.unreadable if fault.file in used)

    try:
        section = data if is_own and isinstance(data, FolderData) else to_train_on(form, classes)
        chooses = config is None or config.train.eval_every is not None
        opened = open_training_data(section, chooses, unreadable, lambda warning: None, reader)
    except FaultError as error:
        return replace(report, faults=in_order([*report.faults, error.fault]), can_train=False)
    except ValueError as error:
        fault = Fault(form.root, str(error).removeprefix(f"{form.root}: "))
        return replace(report, faults=in_order([*report.faults, fault]), can_train=False)
    told = [Fault(form.root, warning, Severity.WARNING) for warning in opened.warnings]
    return replace(report, faults=in_order([*report.faults, *told]), can_train=True)


def frame_of(config: Config | None) -> Frame:
    defaults = ImageConfig()
    resize = Resize(defaults.short_side, defaults.long_side) if config is None else build_resize(config)
    model = None if config is None else config.model
    rpn = model.rpn if isinstance(model, FasterRCNN) else RPNConfig()
    cell = placed_anchors(rpn.sizes, rpn.ratios, rpn.anchors, STRIDE).astype(np.float64)
    return Frame(resize, rpn.sizes, rpn.ratios, cell, STRIDE, rpn.across_border, rpn.anchors)


def score_perfect(split: ReadSplit) -> tuple[PerfectScores, list[Fault]]:
    """The scores of a detector that finds each object inside its image exactly; and why some are not found."""
    is_known: Bools = np.all(split.truth.sizes > 0, axis=1)
    known_rows = np.flatnonzero(is_known[split.truth.image_index])  # in split.truth
    truth = with_images(split.truth, is_known)
    boxes, is_learned = learned_boxes(truth)
    objects = _table(truth, boxes, is_learned)
    detections = _table(truth, boxes, is_learned & ~truth.objects.ignore)

    voc = evaluate_rows(detections, objects, truth.classes, "voc10")
    learned_rows = np.flatnonzero(is_learned)
    starts = np.searchsorted(truth.image_index[learned_rows], np.arange(len(truth)))
    found_voc = np.zeros(len(truth.objects), dtype=np.bool_)
    for result in voc.classes.values():
        hits = np.flatnonzero(result.is_tp)
        found_voc[learned_rows[starts[result.image_index[hits]] + result.object_index[hits]]] = True

    matches = match_coco(ResultRows.of_corners(detections), truth)
    found_coco = np.zeros(len(truth.objects), dtype=np.int64)  # at how many of the IoU thresholds
    for object_index in matches.object_index:
        np.add.at(found_coco, object_index[object_index >= 0], 1)

    lost = ~truth.objects.ignore & ((found_coco < len(IOUS)) | (is_learned & ~found_voc))
    faults = [
        split.object_fault(int(known_rows[row]), _why_lost(truth, row, boxes, found_coco), NOT_FOUND)
        for row in np.flatnonzero(lost).tolist()
    ]
    aps = np.array([np.nan if one.ap is None else one.ap for one in voc.classes.values()], dtype=np.float64)
    return PerfectScores(aps, average_precision_coco(matches).mean(axis=0)), faults


def _table(truth: GroundTruth, boxes: Floats, chosen: Bools) -> Rows:
    """The `chosen` objects (M,) of all images with these boxes (M, 4), and as detections with a score of 1."""
    image = truth.image_index[chosen]
    counts = np.bincount(image, minlength=len(truth)).astype(np.int64)
    objects = truth.objects.rows(chosen)
    return Rows(image, ranks(counts), objects.labels, boxes[chosen], np.ones(len(image)), objects.ignore)


def _why_lost(truth: GroundTruth, row: int, boxes: Floats, found_coco: Ints) -> str:
    """`boxes` (M, 4) are the objects' inside their images, `found_coco` (M,) thresholds at which each is found."""
    width, height = truth.objects.xywh[row, 2:].tolist()
    if width <= 0 or height <= 0:
        return f"has no area ({width:g} x {height:g} px); mend or remove it"
    if not (boxes[row, :2] < boxes[row, 2:]).all():
        return "lies outside its image; mend or remove it"
    inside = float(elementwise_iou(boxes[row], truth.objects.boxes[row]))
    if inside < IOUS[-1]:
        return f"reaches beyond its image: what is inside overlaps it by IoU {inside:.2f}; cut it to the image"
    if found_coco[row] == len(IOUS):
        return "is one with another object of its class and box: VOC's rules let only one of the two be found"
    image, label = truth.image_index[row], truth.objects.labels[row]
    same = (truth.of_image(int(image)).labels == label).sum()
    if same > MAX_DETECTIONS:
        return f"is one of {same} of its class in the image, of which COCO's rules count {MAX_DETECTIONS} detections"
    return "is missed because its detection counts for another object that it overlaps as much; remove one of them"


def _low_scores(classes: Sequence[str], scores: PerfectScores) -> Iterator[str]:
    for name, voc, coco in zip(classes, scores.voc.tolist(), scores.coco.tolist(), strict=True):
        low = [f"{metric} {100 * ap:.2f}" for metric, ap in (("VOC", voc), ("COCO", coco)) if ap < 1 - 1e-9]
        if low:
            yield f"{name} ({', '.join(low)})"


def _reach_lines(check: DataCheck, limit: int | None) -> Iterator[str]:
    """What anchors reach: of each split, then of the classes of the splits to learn from, the least reached first."""
    yield f"objects in {check.frame.describe()}"
    yield "IoU < x: the share of the objects that no anchor overlaps by x, wherever on its grid it stands"
    learned = check.learned
    rows = [(name, _reach_row(one.sizes, one.ratios, one.best_iou)) for name, one in check.statistics.items()]
    classes = list(_class_rows(check, learned))
    shown = classes[:limit]
    title = f"classes of {' + '.join(learned)}"
    heads = ["objects", "px, 5%", "median", "95%", "h/w, 5%", "median", "95%", *(f"IoU < {iou:g}" for iou in REACHED)]
    width = max(len(name) for name, _ in [(title, []), *rows, *shown])
    for name, cells in [("split", heads), *rows, (title, heads), *shown]:
        aligned = (f"{cell:>{max(len(head), 7)}}" for head, cell in zip(heads, cells, strict=True))
        yield "  ".join([f"{name:{width}}", *aligned]).rstrip()
    if len(classes) > len(shown):
        yield f"... and {len(classes) - len(shown):,} classes more (--all lists them)"


def _sizes_line(fitted: FittedSizes) -> str:
    half, most = (
        f"{100 * now:.1f}% to {100 * then:.1f}%" for now, then in zip(fitted.missed_now, fitted.missed, strict=True)
    )
    if not fitted.is_better:
        return "anchor sizes: no others were found that reach clearly more of these objects"
    sizes = ",".join(str(size) for size in fitted.sizes)
    return (
        f"anchor sizes: others fit these objects better: model.rpn.sizes=[{sizes}] brings the share under IoU "
        f"{REACHED[0]:g} from {half}, and under {REACHED[1]:g} from {most}"
    )


def _side_line(larger: LargerImages, frame: Frame) -> str:
    now, then = (f"{100 * share:.0f}%" for share in (larger.smaller, larger.smaller_then))
    return (
        f"image size: {now} of the objects are under {larger.needed:.0f} px at data.short_side="
        f"{frame.resize.short_side}, where anchors, {frame.stride} px apart, often overlap them by less than half; "
        f"data.short_side={larger.short_side} data.long_side={larger.long_side} leaves {then}, for "
        f"{larger.work:.1f} times the time and memory{'; or cut the images into parts' if larger.work > MUCH else ''}"
    )


def _class_rows(check: DataCheck, names: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """The classes with the most objects that no anchor overlaps by half come first."""
    parts = [check.statistics[name] for name in names]
    labels, sizes, ratios, best = (
        np.concatenate(columns)
        for columns in zip(*((one.labels, one.sizes, one.ratios, one.best_iou) for one in parts), strict=True)
    )
    classes = check.report.splits[names[0]].truth.classes
    missed = np.bincount(labels[best < REACHED[0]], minlength=len(classes))
    for label in np.argsort(-missed, kind="stable").tolist():
        rows = labels == label
        if rows.any():
            yield classes[label], _reach_row(sizes[rows], ratios[rows], best[rows])


def _reach_row(sizes: Floats, ratios: Floats, best: Floats) -> list[str]:
    if not len(sizes):
        return ["0"] + [""] * (6 + len(REACHED))
    quantiles = [
        *(f"{value:.0f}" for value in np.quantile(sizes, (0.05, 0.5, 0.95))),
        *(f"{value:.2f}" for value in np.quantile(ratios, (0.05, 0.5, 0.95))),
    ]
    return [f"{len(sizes):,}", *quantiles, *(f"{100 * (best < iou).mean():.1f}%" for iou in REACHED)]
