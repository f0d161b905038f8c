"""The official VOC result files: one text file a class, one line "image_id score xmin ymin xmax ymax" a detection.

Their boxes are 1-based with both corners inside, so a box of ours is written as (x1 + 1, y1 + 1, x2, y2).
"""

import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from detkit.structures import Detections

_FILE_NAME = re.compile(r"(?P<competition>comp.*?)_det_(?P<split_and_class>.+)\.txt")
_TO_VOC = np.array([1.0, 1.0, 0.0, 0.0])


@dataclass(frozen=True, eq=False)
class _Rows:
    """The lines of a file."""

    images: npt.NDArray[np.int64]  # (K,) into image_ids
    values: npt.NDArray[np.float64]  # (K, 5) score and box, as written


def write_detections(
    folder: Path, split: str, detections: Mapping[str, Detections], classes: Sequence[str]
) -> list[Path]:
    """Writes comp4_det_<split>_<class>.txt for every class, in the order of the mapping, and returns their paths.

    Scores keep every bit of a float32, so that reading them back keeps their order.
    """
    for name in (split, *classes):
        if not name or "/" in name or "\\" in name:
            raise ValueError(f"{name!r} cannot be part of a file name; rename the split or class without slashes")
    lines: list[list[str]] = [[] for _ in classes]
    for image_id, found in detections.items():
        if len(image_id.split()) != 1:
            raise ValueError(f"image id {image_id!r}: expected no white space, which the file format cannot hold")
        boxes = (found.boxes.detach().to("cpu", torch.float64).numpy() + _TO_VOC).tolist()
        for label, score, box in zip(found.labels.tolist(), found.scores.tolist(), boxes, strict=True):
            if not 0 <= label < len(classes):
                raise ValueError(f"image {image_id!r}: label {label}; expected 0..{len(classes) - 1}, a class")
            lines[label].append("%s %.9g %.3f %.3f %.3f %.3f\n" % (image_id, score, *box))  # noqa: UP031  twice as fast
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"comp4_det_{split}_{name}.txt" for name in classes]
    for path, content in zip(paths, lines, strict=True):
        path.write_text("".join(content), encoding="utf-8")
    return paths


def read_detections(
    path: Path, classes: Sequence[str], image_ids: Sequence[str], split: str | None = None
) -> dict[str, Detections]:
    """Reads the result files of any tool: a folder, or the beginning of the files' paths (results/comp3_det_test).

    The result has every image id, in that order; equal scores of an image keep the order of their file. A class
    without a file has no detections, with a warning. Raises ValueError for files of several splits or competitions
    (choose by `split` or by the path), for a line that is not six fields with finite numbers, an unknown image id.
    """
    files = _find_files(path, classes, split)
    index_of = {image_id: index for index, image_id in enumerate(image_ids)}
    rows = [_read_rows(files[name], index_of) if name in files else _no_rows() for name in classes]
    missing = [name for name in classes if name not in files]
    if missing:
        warnings.warn(f"{path}: no file for {', '.join(missing)}; scored as without detections", stacklevel=2)
    labels = np.repeat(np.arange(len(classes)), [len(one.images) for one in rows])
    images = np.concatenate([one.images for one in rows])
    return _by_image(images, np.concatenate([one.values for one in rows]), labels, image_ids)


def _by_image(
    images: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    image_ids: Sequence[str],
) -> dict[str, Detections]:
    order = np.lexsort((-values[:, 0], images))  # by image, then best first; stable
    counts = np.bincount(images, minlength=len(image_ids)).tolist()
    boxes = torch.from_numpy((values[order, 1:] - _TO_VOC).astype(np.float32))
    scores = torch.from_numpy(values[order, 0].astype(np.float32))
    sorted_labels = torch.from_numpy(labels[order])
    parts = zip(*(torch.split_with_sizes(rows, counts) for rows in (boxes, scores, sorted_labels)), strict=True)
    return {image_id: Detections(*part) for image_id, part in zip(image_ids, parts, strict=True)}


def _find_files(path: Path, classes: Sequence[str], split: str | None) -> dict[str, Path]:
    """The file of each class that has one."""
    groups: dict[str, dict[str, Path]] = defaultdict(dict)  # "comp4_det_test" -> class -> file
    splits = set()
    for file in _candidates(path):
        match = _FILE_NAME.fullmatch(file.name)
        name = _class_of(match["split_and_class"], classes, split) if match else None
        if match and name is not None:
            splits.add(match["split_and_class"].removesuffix(f"_{name}"))
            groups[file.name.removesuffix(f"_{name}.txt")][name] = file
    if not groups:
        wanted = f"comp*_det_{split or '<split>'}_<class>.txt"
        raise ValueError(f"{path}: no file {wanted} of the classes {', '.join(classes)}; name the folder that has them")
    if len(splits) > 1:
        raise ValueError(f"{path}: files of the splits {', '.join(sorted(splits))}; name the one to read")
    if len(groups) > 1:
        raise ValueError(f"{path}: several sets of files: {', '.join(sorted(groups))}; name one, like {min(groups)}")
    return next(iter(groups.values()))


def _candidates(path: Path) -> Iterable[Path]:
    if path.is_dir():
        return sorted(path.iterdir())
    if not path.parent.is_dir():
        raise ValueError(f"{path}: no such folder; name the folder of the result files")
    return sorted(file for file in path.parent.iterdir() if file.name.startswith(path.name.removesuffix("*")))


def _class_of(split_and_class: str, classes: Sequence[str], split: str | None) -> str | None:
    if split is not None:
        name = split_and_class.removeprefix(f"{split}_")
        return name if name in classes and name != split_and_class else None
    endings = [name for name in classes if split_and_class.endswith(f"_{name}")]
    return max(endings, key=len, default=None)  # of "table" and "dining_table" the file of the second is its own


def _no_rows() -> _Rows:
    return _Rows(np.zeros(0, dtype=np.int64), np.zeros((0, 5)))


def _read_rows(file: Path, index_of: Mapping[str, int]) -> _Rows:
    lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    fields = [line.split() for line in lines]
    try:
        images = [index_of[image_id] for image_id, _, _, _, _, _ in filter(None, fields)]
        numbers = [float(text) for row in fields for text in row[1:]]
    except (ValueError, KeyError):
        raise _first_fault(file, fields, index_of) from None
    values = np.array(numbers, dtype=np.float64).reshape(len(images), 5)
    if not np.isfinite(values).all():
        raise _first_fault(file, fields, index_of)
    return _Rows(np.array(images, dtype=np.int64), values)


def _first_fault(file: Path, fields: Sequence[Sequence[str]], index_of: Mapping[str, int]) -> ValueError:
    """The error of the first line that has one."""
    for number, row in enumerate(fields, start=1):
        if row and (len(row) != 6 or not all(_is_finite(text) for text in row[1:])):
            line = " ".join(row)[:100]
            return ValueError(f"{file}:{number}: {line!r}; expected image_id score xmin ymin xmax ymax, finite numbers")
        if row and row[0] not in index_of:
            known = next(iter(index_of), "none")
            return ValueError(
                f"{file}:{number}: image {row[0]!r} is not among the {len(index_of)} of the split ({known}, ...);"
                " score against the split that was detected in"
            )
    raise AssertionError(f"{file}: no faulty line")


def _is_finite(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
