"""The gallery of a page as data for its script, gallery.js: objects, detections, and what became of each.

Notation: E entries (what the gallery shows one tile of), M objects, N images.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detkit.data.ground_truth import Bools, Floats, GroundTruth, Ints

FOLDER = "report_files"  # beside the page
MOST_TENTHS = 10_000_000  # of a px: no image is that large
MAX_ENTRIES = 200_000  # about 20 MB of data, which a browser reads in two seconds


@dataclass(frozen=True)
class EntryKind:
    """What an entry shows."""

    key: str  # in the page's address: stays the same
    name: str
    group: str  # kinds of a group are shown and hidden together in the large view
    color: str  # of the box that is drawn solid, "#rrggbb"
    meaning: str  # a sentence


@dataclass(frozen=True, eq=False)
class Entries:
    """The best first: the order of the gallery."""

    kind: Ints  # (E,) into Gallery.kinds
    image: Ints  # (E,) into truth.image_ids
    label: Ints  # (E,)
    score: Floats  # (E,) of the detection; -1 where there is none
    boxes: Floats  # (E, 4) of the detection; zeros where there is none
    object: Ints  # (E,) row of truth.objects that it is about; -1: none
    iou: Floats  # (E,) of the two; 0 without both
    note: Ints  # (E,) into Gallery.notes; -1: none

    def __len__(self) -> int:
        return len(self.kind)

    def rows(self, index: "Ints | Bools | slice") -> "Entries":
        return Entries(
            self.kind[index],
            self.image[index],
            self.label[index],
            self.score[index],
            self.boxes[index],
            self.object[index],
            self.iou[index],
            self.note[index],
        )

    @staticmethod
    def joined(parts: "Sequence[Entries]") -> "Entries":
        return Entries(
            np.concatenate([part.kind for part in parts]),
            np.concatenate([part.image for part in parts]),
            np.concatenate([part.label for part in parts]),
            np.concatenate([part.score for part in parts]),
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.object for part in parts]),
            np.concatenate([part.iou for part in parts]),
            np.concatenate([part.note for part in parts]),
        )


@dataclass(frozen=True, eq=False)
class Gallery:
    truth: GroundTruth
    kinds: tuple[EntryKind, ...]
    notes: tuple[str, ...]
    entries: Entries
    start: str  # key of the kind, or the group, that is shown first; "all"


def shortened(gallery: Gallery, limit: int = MAX_ENTRIES) -> Gallery:
    """With the `limit` surest detections and first objects at most."""
    entries = gallery.entries
    if len(entries) <= limit:
        return gallery
    # Objects without a detection have the score -1, but are what is looked for: they come before unsure detections.
    order = np.lexsort((np.arange(len(entries)), -np.where(entries.score < 0, 2.0, entries.score)))
    kept = entries.rows(np.sort(order[:limit]))
    return Gallery(gallery.truth, gallery.kinds, gallery.notes, kept, gallery.start)


def write_gallery(folder: Path, gallery: Gallery, with_thumbnail: Bools) -> Path:
    """Writes report_files/data.js in `folder`; `with_thumbnail` (N,) marks the images that have an image there.

    A classic script, which a page of a folder may load where it may not fetch: browsers refuse file:// to fetch().
    """
    path = folder / FOLDER / "data.js"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"window.detkitGallery = {_script_json(_content(gallery, with_thumbnail))};\n", encoding="ascii")
    return path


def _content(gallery: Gallery, with_thumbnail: Bools) -> dict[str, object]:
    """Columns, which are a third of the size of rows."""
    truth, objects, entries = gallery.truth, gallery.truth.objects, gallery.entries
    return {
        "classes": list(truth.classes),
        "kinds": [vars(kind) for kind in gallery.kinds],
        "notes": list(gallery.notes),
        "start": gallery.start,
        "images": {
            "id": list(truth.image_ids),
            "width": truth.sizes[:, 1].tolist(),
            "height": truth.sizes[:, 0].tolist(),
            "with_thumbnail": with_thumbnail.astype(int).tolist(),
            "firstObject": truth.starts.tolist(),
            "objects": truth.counts.tolist(),
        },
        "objects": {
            "label": objects.labels.tolist(),
            "box": _tenths(objects.boxes),
            "ignore": objects.ignore.astype(int).tolist(),
        },
        "entries": {
            "kind": entries.kind.tolist(),
            "image": entries.image.tolist(),
            "label": entries.label.tolist(),
            "score": np.round(entries.score, 4).tolist(),
            "box": _tenths(entries.boxes),
            "object": entries.object.tolist(),
            "iou": np.round(entries.iou, 3).tolist(),
            "note": entries.note.tolist(),
        },
    }


def _tenths(boxes: Floats) -> list[int]:
    """x1, y1, x2, y2 of one box after the other, in tenths of a px: whole numbers are short to write."""
    # Clipped: a diverged detector's boxes may not fit an integer.
    tenths: list[int] = np.rint(10 * boxes).clip(-MOST_TENTHS, MOST_TENTHS).astype(np.int64).ravel().tolist()
    return tenths


def _script_json(content: object) -> str:
    """JSON that ends no script element and no line of one, whatever the names in it."""
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
