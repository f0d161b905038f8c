"""The gallery of one run: its hits, its false detections by their kind, and the objects that it missed."""

from collections.abc import Mapping, Sequence

import numpy as np

from detkit.data.ground_truth import Floats, Ints
from detkit.evaluation.assessment import Assessment
from detkit.evaluation.errors import ErrorKind
from detkit.reports.gallery import Entries, EntryKind, Gallery
from detkit.structures import Detections

KINDS = {
    ErrorKind.TP: EntryKind("hit", "hit", "hits", "#40c85a", "The detection found its object."),
    ErrorKind.LOC: EntryKind(
        "localisation",
        "localisation",
        "false",
        "#ff9f43",
        "The right class in a poor place: the boxes overlap too little.",
    ),
    ErrorKind.CLS: EntryKind(
        "confusion", "confusion", "false", "#ff5d8f", "The right place, but the object is of another class."
    ),
    ErrorKind.BOTH: EntryKind("both", "both", "false", "#c77dff", "A poor place on an object of another class."),
    ErrorKind.DUPE: EntryKind(
        "duplicate", "duplicate", "false", "#4dc3ff", "A surer detection had found the object before."
    ),
    ErrorKind.BKG: EntryKind("background", "background", "false", "#ff6e3c", "Nothing is annotated there."),
    ErrorKind.MISS: EntryKind("missed", "missed", "missed", "#ffd63c", "No detection found the object."),
}
NOTES = {
    ErrorKind.MISS: "no detection of it",
    ErrorKind.LOC: "detected in a poor place",
    ErrorKind.CLS: "detected as another class",
}
_PLACE = {kind: place for place, kind in enumerate(KINDS)}
_NOTE_PLACE = {kind: place for place, kind in enumerate(NOTES)}


def run_gallery(assessment: Assessment) -> Gallery:
    """Detections by score, then missed objects by size. Detections of ignored objects are no entries."""
    entries = Entries.joined([_detections(assessment), _missed(assessment)])
    return Gallery(assessment.truth, tuple(KINDS.values()), tuple(NOTES.values()), entries, start="false")


def boxes_of(detections: Mapping[str, Detections], image_ids: Sequence[str], image: Ints, rank: Ints) -> Floats:
    """(K, 4) boxes of detections that are known by image and row in it."""
    nothing = Detections.empty()
    tables = [detections.get(image_id, nothing).boxes.detach().cpu().double().numpy() for image_id in image_ids]
    ends = np.cumsum([len(table) for table in tables], dtype=np.int64)
    starts = np.append(0, ends)[image]
    return np.concatenate([*tables, np.zeros((0, 4))])[starts + rank]


def _detections(assessment: Assessment) -> Entries:
    truth, judged = assessment.truth, assessment.errors.detections
    shown = np.flatnonzero(judged.kind != ErrorKind.IGNORED)
    image, object_row = judged.image_index[shown], judged.object_row[shown]
    return Entries(
        kind=_places(judged.kind[shown].tolist(), _PLACE),
        image=image,
        label=judged.label[shown],
        score=judged.score[shown].clip(min=0),
        boxes=boxes_of(assessment.detections, truth.image_ids, image, judged.rank[shown]),
        object=np.where(object_row < 0, -1, np.append(truth.starts, 0)[image] + object_row),
        iou=judged.iou[shown],
        note=np.full(len(shown), -1, dtype=np.int64),
    )


def _missed(assessment: Assessment) -> Entries:
    truth, missed = assessment.truth, assessment.errors.missed
    rows = np.append(truth.starts, 0)[missed.image_index] + missed.object_row
    order = np.argsort(-truth.objects.xywh[rows, 2:].prod(axis=1), kind="stable")
    return Entries(
        kind=np.full(len(rows), _PLACE[ErrorKind.MISS], dtype=np.int64),
        image=missed.image_index[order],
        label=missed.label[order],
        score=np.full(len(rows), -1.0),
        boxes=np.zeros((len(rows), 4)),
        object=rows[order],
        iou=np.zeros(len(rows)),
        note=_places(missed.kind[order].tolist(), _NOTE_PLACE),
    )


def _places(kinds: Sequence[int], places: Mapping[ErrorKind, int]) -> Ints:
    return np.array([places[ErrorKind(kind)] for kind in kinds], dtype=np.int64)
