"""Runs side by side on the same images: scores, classes, and which of them finds what the others miss."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detkit.data.ground_truth import Bools, Floats, Ints
from detkit.evaluation.assessment import Assessment
from detkit.evaluation.errors import ErrorKind
from detkit.evaluation.rows import ranks
from detkit.evaluation.voc import elementwise_iou
from detkit.reports import page_data
from detkit.reports.gallery import Entries, EntryKind, Gallery, shortened
from detkit.reports.page_template import page_template
from detkit.reports.run_gallery import boxes_of
from detkit.reports.run_report import GalleryText, save_gallery

MIN_SCORE = 0.3  # what a detection needs to count: at lower scores every run finds everything, and false ones abound
SAME_IOU = 0.5  # false detections of a class that overlap this much are the same mistake
COLORS = ("#4dc3ff", "#ff9f43", "#c77dff", "#ff5d8f", "#2dd4bf", "#a3e635", "#f472b6", "#facc15")


@dataclass(frozen=True, eq=False)
class RunDetections:
    """Detections of one run, best first; and objects, by their row in truth.objects."""

    image: Ints  # (K,)
    label: Ints  # (K,)
    score: Floats  # (K,)
    boxes: Floats  # (K, 4)
    iou: Floats  # (K,) with the object
    object: Ints  # (K,) -1: none
    kind: Ints  # (K,) values of ErrorKind

    def rows(self, index: "Ints | Bools") -> "RunDetections":
        return RunDetections(
            self.image[index],
            self.label[index],
            self.score[index],
            self.boxes[index],
            self.iou[index],
            self.object[index],
            self.kind[index],
        )


def write_image_comparison(
    folder: Path,
    names: Sequence[str],
    assessments: Sequence[Assessment],
    images: bool = True,
    min_score: float = MIN_SCORE,
) -> Path:
    """Writes compare.html and its folder report_files/; returns the page's path.

    In the gallery, detections of at least `min_score` count. Raises ValueError for fewer than two runs, names that do
    not fit them, and runs on different images, objects or classes.
    """
    check_comparable(names, assessments)
    gallery = shortened(comparison_gallery(names, assessments, min_score))
    save_gallery(folder, gallery, assessments[0], images)
    scores = [page_data.headline(one) for one in assessments]
    page = page_template("image_comparison.html.j2").render(
        title="Comparison of " + ", ".join(names),
        names=list(names),
        metric_names=[score.name for score in scores[0]],
        scores=list(zip(names, scores, strict=True)),
        ap_name=next(iter(page_data.ap_names(assessments[0])), "AP"),
        classes=_class_rows(assessments),
        gallery=GalleryText("Where they differ", _note(min_score)),
    )
    path = folder / "compare.html"
    path.write_text(page, encoding="utf-8")
    return path


def comparison_gallery(names: Sequence[str], assessments: Sequence[Assessment], min_score: float) -> Gallery:
    """Every object by who finds it, and the false detections that one run alone makes."""
    tables = [_table(one, min_score) for one in assessments]
    kinds, entries = _objects(names, assessments[0], tables)
    for number, name in enumerate(names):
        meaning = f"A false detection of {name} that no other run makes."
        kinds.append(
            EntryKind(f"false-{number}", f"false: only {name}", "false of one run", COLORS[number % 8], meaning)
        )
        alone = _alone(number, tables)
        entries.append(_entries(alone, np.full(len(alone.image), len(kinds) - 1, dtype=np.int64)))
    first = [kind for kind in kinds if kind.group == kinds[0].group]
    start = first[0].group if len(first) > 1 else first[0].key  # a group of one has no button
    return Gallery(assessments[0].truth, tuple(kinds), (), Entries.joined(entries), start)


def check_comparable(names: Sequence[str], assessments: Sequence[Assessment]) -> None:
    """Raises ValueError, in one line for all runs, that says which differ from the first and by what."""
    if len(assessments) < 2 or len(names) != len(assessments):
        raise ValueError(f"{len(assessments)} runs, {len(names)} names: expected two or more runs, and a name for each")
    pairs = zip(names[1:], assessments[1:], strict=True)
    differing = [f"{name} ({', '.join(by)})" for name, one in pairs if (by := _differences(one, assessments[0]))]
    if differing:
        raise ValueError(
            f"images can be compared only of runs scored on the same images by the same metrics; not as {names[0]} "
            f"are {'; '.join(differing)}; score them alike with detkit eval, or leave out --images"
        )


def _differences(one: Assessment, first: Assessment) -> list[str]:
    """Phrases; none where both were scored on the same images, objects and classes by the same metrics."""
    mine, theirs = one.truth, first.truth
    found = []
    if mine.classes != theirs.classes:
        found.append(f"classes {_shortened(mine.classes)} instead of {_shortened(theirs.classes)}")
    if mine.image_ids != theirs.image_ids:
        shared = len(set(mine.image_ids) & set(theirs.image_ids))
        found.append(f"{len(mine):,} images instead of {len(theirs):,}, of which {shared:,} are the same")
    elif not np.array_equal(mine.sizes, theirs.sizes):
        found.append("images of the same ids and other sizes")
    elif not np.array_equal(mine.objects.xywh, theirs.objects.xywh):
        found.append(f"other boxes in the same images: {len(mine.objects):,} instead of {len(theirs.objects):,}")
    if _metrics(one) != _metrics(first):
        found.append(f"scored by {_metrics(one)} instead of {_metrics(first)}")
    return found


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _metrics(assessment: Assessment) -> str:
    return " + ".join([*assessment.voc, *(["coco"] if assessment.coco is not None else [])])


def _note(min_score: float) -> str:
    return (
        f"Detections of a score of at least {min_score:g} at IoU 0.50. False detections that several runs make, of the"
        " same class in the same place, are left out. A click enlarges; the address keeps the filter, to be passed on."
    )


def _class_rows(assessments: Sequence[Assessment]) -> list[tuple[str, list[float | None], list[float | None]]]:
    """Class, AP of each run by the first metric, and what each but the first has more than the first."""
    columns = [{row.name: row.aps for row in page_data.class_rows(one)} for one in assessments]
    rows = []
    for name in assessments[0].truth.classes:
        aps = [column[name][0] if column[name] else None for column in columns]
        more = [None if ap is None or aps[0] is None else ap - aps[0] for ap in aps[1:]]
        rows.append((name, aps, more))
    return sorted(
        rows, key=lambda row: max((abs(one) for one in row[2] if one is not None), default=-1.0), reverse=True
    )


def _table(assessment: Assessment, min_score: float) -> RunDetections:
    truth, judged = assessment.truth, assessment.errors.detections
    rows = np.flatnonzero(judged.score >= min_score)
    image, object_row = judged.image_index[rows], judged.object_row[rows]
    return RunDetections(
        image,
        judged.label[rows],
        judged.score[rows],
        boxes_of(assessment.detections, truth.image_ids, image, judged.rank[rows]),
        judged.iou[rows],
        np.where(object_row < 0, -1, np.append(truth.starts, 0)[image] + object_row),
        judged.kind[rows].astype(np.int64),
    )


def _objects(
    names: Sequence[str], assessment: Assessment, tables: Sequence[RunDetections]
) -> tuple[list[EntryKind], list[Entries]]:
    """A kind for each set of runs that finds any object: those that differ first, then all, then none."""
    truth = assessment.truth
    hits = [one.rows(one.kind == ErrorKind.TP) for one in tables]
    found = np.zeros((len(names), len(truth.objects)), dtype=np.bool_)
    for number, hit in enumerate(hits):
        found[number, hit.object] = True
    finders = (found * 2 ** np.arange(len(names))[:, None]).sum(axis=0)  # (M,) a bit for each run
    finders[truth.objects.ignore] = -1
    every = 2 ** len(names) - 1
    present = np.unique(finders[finders >= 0]).tolist()
    sets = sorted(present, key=lambda bits: (bits in (0, every), bits == 0, bits))
    kinds, entries = [], []
    for place, bits in enumerate(sets):
        kinds.append(_kind(names, bits))
        wanted = np.flatnonzero(finders == bits)
        if bits:
            first = hits[(bits & -bits).bit_length() - 1]
            part = first.rows(np.isin(first.object, wanted))
        else:
            part = _without_detection(assessment, wanted)
        entries.append(_entries(part, np.full(len(part.image), place, dtype=np.int64)))
    return kinds, entries


def _kind(names: Sequence[str], bits: int) -> EntryKind:
    chosen = [name for number, name in enumerate(names) if bits >> number & 1]
    if not chosen:
        return EntryKind("found-0", "found by none", "found by none", "#ffd63c", "No run finds the object.")
    if len(chosen) == len(names):
        return EntryKind("found-all", "found by all", "found by all", "#40c85a", "Every run finds the object.")
    who = ", ".join(chosen)
    meaning = f"Objects that {who} alone find{'s' if len(chosen) == 1 else ''}."
    return EntryKind(
        f"found-{bits}", f"found: only {who}", "found by some", COLORS[(bits.bit_length() - 1) % 8], meaning
    )


def _without_detection(assessment: Assessment, objects: Ints) -> RunDetections:
    """The largest first."""
    truth, count = assessment.truth, len(objects)
    objects = objects[np.argsort(-truth.objects.xywh[objects, 2:].prod(axis=1), kind="stable")]
    nothing = np.zeros(count)
    return RunDetections(
        truth.image_index[objects],
        truth.objects.labels[objects],
        np.full(count, -1.0),
        np.zeros((count, 4)),
        nothing,
        objects,
        np.full(count, ErrorKind.MISS, dtype=np.int64),
    )


def _alone(number: int, tables: Sequence[RunDetections]) -> RunDetections:
    """The false detections of a run that no other run makes."""
    false = [one.rows(np.isin(one.kind, page_data.FALSE_KINDS)) for one in tables]
    mine = false[number]
    shared = np.zeros(len(mine.image), dtype=np.bool_)
    for other in (*false[:number], *false[number + 1 :]):
        shared |= _has_counterpart(mine, other)
    return mine.rows(~shared)


def _has_counterpart(mine: RunDetections, other: RunDetections) -> Bools:
    """(K,) whether the other run has a detection of the class in the same place."""
    num_classes = int(max(mine.label.max(initial=0), other.label.max(initial=0))) + 1
    group, other_group = mine.image * num_classes + mine.label, other.image * num_classes + other.label
    order = np.argsort(other_group, kind="stable")
    first, last = (np.searchsorted(other_group[order], group, side=side) for side in ("left", "right"))
    detection = np.repeat(np.arange(len(group)), last - first)
    candidate = order[np.repeat(first, last - first) + ranks(last - first)]
    same = elementwise_iou(mine.boxes[detection], other.boxes[candidate]) >= SAME_IOU
    shared = np.zeros(len(group), dtype=np.bool_)
    shared[detection[same]] = True
    return shared


def _entries(table: RunDetections, kind: Ints) -> Entries:
    note = np.full(len(kind), -1, dtype=np.int64)
    return Entries(kind, table.image, table.label, table.score, table.boxes, table.object, table.iou, note)
