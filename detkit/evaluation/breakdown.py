"""AP and recall by the objects' size, aspect ratio and truncation, at IoU 0.5.

Objects outside a bin are ignored as COCO ignores those of other sizes: a detection that finds one is neither right nor
wrong. A detection that finds nothing counts as false in the size bin that its own box is in, as COCO has it, but in
every bin of aspect ratio and of truncation: the smaller the bin, the lower its AP, and recall is the fairer number.
(Hoiem et al. 2012 norm the AP to a common number of objects; that is not done here.) The bins of that paper are parts
of a class, cut at percentiles. What is on a limit belongs to the upper bin.

Notation: K detections and M objects of all images, C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from detkit.data.ground_truth import Bools, Floats, GroundTruth
from detkit.evaluation.asked_detections import is_excused
from detkit.evaluation.pairs import Pairs, among_first, best_detections, coco_ap, match, overlapping
from detkit.evaluation.recall import LARGE, SMALL
from detkit.evaluation.rows import Rows
from detkit.structures import Detections

MIN_IOU = 0.5
MAX_DETECTIONS = 100  # of an image and class, as COCO counts
PERCENTILES = (10, 30, 70, 90)  # Hoiem et al. 2012
PARTS = ("lowest 10% of each class", "10% to 30%", "30% to 70%", "70% to 90%", "highest 10% of each class")
COCO_SIZES = ("small", "medium", "large")
SIZES = ("XS", "S", "M", "L", "XL")
ASPECTS = ("XT", "T", "M", "W", "XW")  # extra-tall ... extra-wide


@dataclass(frozen=True)
class Bin:
    """The objects of one class that are alike, or the mean over the classes that have any."""

    name: str
    range: str  # in words, with units
    num_objects: int  # ignored ones left out
    ap: float | None  # 0..1; None without objects
    recall: float | None  # objects found by any detection, whatever its score


@dataclass(frozen=True)
class Breakdown:
    all_classes: tuple[Bin, ...]
    of_class: dict[str, tuple[Bin, ...]]


def by_size(detections: Mapping[str, Detections] | Rows, truth: GroundTruth) -> Breakdown:
    """COCO's three bins by the area that the files state, then Hoiem's five by the area of the box."""
    table = _table(detections, truth)
    coco_edges = np.tile([SMALL, LARGE], (len(truth.classes), 1))
    coco = _Edges(COCO_SIZES, coco_edges, "px²", tuple(_texts([SMALL, LARGE], "px²")))
    areas, found_areas = _areas(truth.objects.boxes), _areas(table.found.boxes)
    percentiles = _Edges(SIZES, _percentiles(areas, truth), "px²", PARTS)
    first = _break_down(table, coco, truth.objects.area, found_areas)
    second = _break_down(table, percentiles, areas, found_areas)
    return Breakdown(
        first.all_classes + second.all_classes,
        {name: first.of_class[name] + second.of_class[name] for name in truth.classes},
    )


def by_aspect(detections: Mapping[str, Detections] | Rows, truth: GroundTruth) -> Breakdown:
    """Hoiem's five bins by width / height."""
    sides = truth.objects.xywh[:, 2:]
    aspect = sides[:, 0] / sides[:, 1].clip(min=1e-6)  # files may state boxes without a height
    edges = _Edges(ASPECTS, _percentiles(aspect, truth), "wide for 1 high", PARTS)
    return _break_down(_table(detections, truth), edges, aspect, None)


def by_truncation(detections: Mapping[str, Detections] | Rows, truth: GroundTruth) -> Breakdown | None:
    """Whole objects and those that reach beyond the image; None where the files mark none as such."""
    if not truth.objects.truncated.any():
        return None
    words = ("not marked truncated", "marked truncated")
    edges = _Edges(("whole", "truncated"), np.full((len(truth.classes), 1), 0.5), "", words)
    return _break_down(_table(detections, truth), edges, truth.objects.truncated.astype(np.float64), None)


@dataclass(frozen=True, eq=False)
class _Edges:
    names: tuple[str, ...]
    edges: Floats  # (C, bins - 1), ascending in each class; NaN for a class without objects
    unit: str  # of the edges; "": they are not for reading
    words: tuple[str, ...]  # ranges of the bins that hold for all classes


@dataclass(frozen=True, eq=False)
class _Table:
    truth: GroundTruth
    found: Rows  # K, best score first
    pairs: Pairs  # of one class, at MIN_IOU or more


def _table(detections: Mapping[str, Detections] | Rows, truth: GroundTruth) -> _Table:
    found = best_detections(detections, truth)
    found = found[among_first(found.image_index * len(truth.classes) + found.labels, MAX_DETECTIONS)]
    pairs = overlapping(found, truth)
    same_class = found.labels[pairs.detection] == truth.objects.labels[pairs.object]
    return _Table(truth, found, pairs[same_class & (pairs.overlap >= MIN_IOU)])


def _break_down(table: _Table, edges: _Edges, values: Floats, found_values: Floats | None) -> Breakdown:
    """Bins by `values` of the objects (M,); `found_values` (K,): a false detection counts in its own bin alone."""
    classes = table.truth.classes
    object_bin = _bins(values, edges.edges[table.truth.objects.labels])
    found_bin = None if found_values is None else _bins(found_values, edges.edges[table.found.labels])
    rows = []  # of bins: one Bin a class
    for number, name in enumerate(edges.names):
        counts_if_false = np.ones(len(table.found), dtype=np.bool_) if found_bin is None else found_bin == number
        ranges = [_texts(limits, edges.unit)[number] if edges.unit else edges.words[number] for limits in edges.edges]
        rows.append(_score(table, name, ranges, object_bin == number, counts_if_false))
    of_class = {class_name: tuple(row[label] for row in rows) for label, class_name in enumerate(classes)}
    means = (_mean(name, words, row) for name, words, row in zip(edges.names, edges.words, rows, strict=True))
    return Breakdown(tuple(means), of_class)


def _score(table: _Table, name: str, ranges: Sequence[str], in_bin: Bools, counts_if_false: Bools) -> list[Bin]:
    """The bin of each class: `in_bin` (M,), `counts_if_false` (K,)."""
    objects, found = table.truth.objects, table.found
    ignore = objects.ignore | ~in_bin
    taken = match(table.pairs, len(found), ignore, objects.crowd)
    is_tp = (taken >= 0) & ~np.append(ignore, False)[taken]
    counts_if_false = counts_if_false & ~is_excused(found.image_index, found.labels, table.truth)
    is_judged = is_tp | ((taken < 0) & counts_if_false)
    num_objects = np.bincount(objects.labels[~ignore], minlength=len(ranges)).tolist()
    bins = []
    for label, (number, text) in enumerate(zip(num_objects, ranges, strict=True)):
        hits = is_tp[is_judged & (found.labels == label)]
        ap, recall = (coco_ap(hits, number), float(hits.sum() / number)) if number else (None, None)
        bins.append(Bin(name, text, number, ap, recall))
    return bins


def _mean(name: str, text: str, bins: Sequence[Bin]) -> Bin:
    aps = [one.ap for one in bins if one.ap is not None]
    recalls = [one.recall for one in bins if one.recall is not None]
    return Bin(
        name,
        text,
        sum(one.num_objects for one in bins),
        float(np.mean(aps)) if aps else None,
        float(np.mean(recalls)) if recalls else None,
    )


def _percentiles(values: Floats, truth: GroundTruth) -> Floats:
    """(M,) -> (C, 4) limits within each class, of the objects that are not ignored."""
    edges = np.full((len(truth.classes), len(PERCENTILES)), np.nan)
    for label in range(len(truth.classes)):
        chosen = values[(truth.objects.labels == label) & ~truth.objects.ignore]
        if len(chosen):
            edges[label] = np.percentile(chosen, PERCENTILES)
    return edges


def _bins(values: Floats, edges: Floats) -> npt.NDArray[np.int64]:
    """(N,), (N, bins - 1) -> (N,) number of the bin."""
    reached: npt.NDArray[np.int64] = (values[:, None] >= edges).sum(axis=1, dtype=np.int64)
    return reached


def _areas(boxes: Floats) -> Floats:
    areas: Floats = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return areas


def _texts(edges: "Sequence[float] | Floats", unit: str) -> list[str]:
    """The ranges between limits in words: under 32 px, 32 to 96 px, 96 px and more."""
    if np.isnan(edges).any():
        return ["no objects"] * (len(edges) + 1)
    limits = [f"{edge:.0f}" if edge >= 100 else f"{edge:.3g}" for edge in edges]
    between = [f"{low} to {high} {unit}" for low, high in pairwise(limits)]
    return [f"under {limits[0]} {unit}", *between, f"{limits[-1]} {unit} and more"]
