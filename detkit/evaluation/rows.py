"""Detections of many images as one table: what the scores are computed from.

Detections of equal score are told apart by the order of the table alone: that of a result file, or of a mapping.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from detkit.data.ground_truth import Bools, Floats, Ints
from detkit.structures import Detections

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Rows:
    """Boxes of many images in one row each, as long as they are of one kind: detections or objects."""

    image_index: Ints  # (N,)
    rank: Ints  # (N,) row within the image
    labels: Ints  # (N,)
    boxes: Floats  # (N, 4)
    scores: Floats  # (N,) detections only; 0 for objects
    ignore: Bools  # (N,) objects only; False for detections

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: npt.NDArray[Any]) -> "Rows":
        return Rows(
            self.image_index[rows],
            self.rank[rows],
            self.labels[rows],
            self.boxes[rows],
            self.scores[rows],
            self.ignore[rows],
        )

    def split(self, num_classes: int) -> "list[Rows]":
        """The rows of each class, in order."""
        by_class = np.argsort(self.labels, kind="stable")
        ends = np.cumsum(np.bincount(self.labels, minlength=num_classes))
        return [self[rows] for rows in np.split(by_class, ends[:-1])]

    def by_image(self, image_ids: Sequence[str]) -> dict[str, Detections]:
        """The detections of every image in the order of their ranks, all in float64."""
        import torch

        order = np.lexsort((self.rank, self.image_index))
        counts = np.bincount(self.image_index, minlength=len(image_ids)).tolist()
        columns = (torch.from_numpy(column[order]) for column in (self.boxes, self.scores, self.labels))
        parts = zip(*(torch.split_with_sizes(column, counts) for column in columns), strict=True)
        return {image_id: Detections(*part) for image_id, part in zip(image_ids, parts, strict=True)}


def gather_detections(detections: Mapping[str, Detections] | Rows, image_ids: Sequence[str], num_classes: int) -> Rows:
    """The detections of all images, in the order of the mapping; a table is returned as it is.

    Raises ValueError for an unknown image id, a value that is not finite and a label that is no class.
    """
    if isinstance(detections, Rows):
        _check_detections(detections, image_ids, num_classes)
        return detections
    index_of = {image_id: index for index, image_id in enumerate(image_ids)}
    unknown = [image_id for image_id in detections if image_id not in index_of]
    if unknown:
        raise ValueError(
            f"image {unknown[0]!r}: detections ({len(unknown)} such images), but the data set of {len(index_of)} images"
            " has no such id; score against the split that was detected in"
        )
    for image_id, one in detections.items():
        if one.boxes.shape != (len(one), 4) or one.scores.ndim != 1 or one.labels.shape != one.scores.shape:
            shapes = [tuple(tensor.shape) for tensor in (one.boxes, one.scores, one.labels)]
            raise ValueError(f"image {image_id!r}: boxes, scores, labels of {shapes}; expected (K, 4), (K,) and (K,)")
    values = list(detections.values())
    counts = np.array([len(one) for one in values], dtype=np.int64)
    images = np.array([index_of[image_id] for image_id in detections], dtype=np.int64)
    rows = Rows(
        np.repeat(images, counts),
        ranks(counts),
        joined([one.labels for one in values], (0,)).astype(np.int64),
        joined([one.boxes for one in values], (0, 4)),
        joined([one.scores for one in values], (0,)),
        np.zeros(counts.sum(), dtype=np.bool_),
    )
    _check_detections(rows, image_ids, num_classes)
    return rows


def _check_detections(rows: Rows, image_ids: Sequence[str], num_classes: int) -> None:
    finite = np.isfinite(rows.scores) & np.isfinite(rows.boxes).all(axis=1)
    known = (rows.labels >= 0) & (rows.labels < num_classes)
    if finite.all() and known.all():
        return
    row = int(np.argmin(finite & known))
    where = f"image {image_ids[rows.image_index[row]]!r}, detection {rows.rank[row]}"
    if not finite[row]:
        values = f"score {rows.scores[row]}, box {rows.boxes[row].tolist()}"
        raise ValueError(f"{where}: {values}; expected finite numbers: did training diverge?")
    raise ValueError(f"{where}: label {rows.labels[row]}; expected 0..{num_classes - 1}, one of the classes")


def joined(tensors: "list[Tensor]", empty_shape: tuple[int, ...]) -> Floats:
    """The rows of all tensors, as float64: exact for our float32 values and labels."""
    import torch

    joined = torch.cat(tensors) if tensors else torch.zeros(empty_shape)
    return joined.detach().to("cpu", torch.float64).numpy()


def ranks_by_score(image_index: Ints, scores: Floats) -> Ints:
    """(N,) the place of each row among those of its image, the best score first, equal ones in their order."""
    rank = np.empty_like(image_index)
    rank[np.lexsort((-scores, image_index))] = ranks(np.bincount(image_index))
    return rank


def ranks(counts: Ints) -> Ints:
    """0..count-1 for each count in turn: (3, 2) -> (0, 1, 2, 0, 1)."""
    ends = np.cumsum(counts)
    return np.arange(counts.sum()) - np.repeat(ends - counts, counts)
