"""The official VOC result files: one text file a class, one line "image_id score xmin ymin xmax ymax" a detection.

Their boxes are 1-based with both corners inside, so a box of ours is written as (x1 + 1, y1 + 1, x2, y2).

Detections of equal score are scored in the order of their file, whatever their images. So do the devkit and
py-faster-rcnn as long as their sort is stable; np.argsort(-confidence) is not for more than 16 lines, and leaves the
order of equal scores, and with it AP, to chance.
"""

import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from detkit.data.formats.listing import image_id_of
from detkit.evaluation.rows import Rows, gather_detections, ranks_by_score
from detkit.structures import Detections

_FILE_NAME = re.compile(r"(?P<competition>comp.*?)_det_(?P<split_and_class>.+)\.txt")
_TO_VOC = np.array([1.0, 1.0, 0.0, 0.0])


@dataclass(frozen=True, eq=False)
class _Lines:
    """The lines of a file."""

    images: npt.NDArray[np.int64]  # (K,) into image_ids
    values: npt.NDArray[np.float64]  # (K, 5) score and box, as written


def write_detections(
    folder: Path,
    split: str,
    detections: Mapping[str, Detections] | Rows,
    classes: Sequence[str],
    image_ids: Sequence[str],
) -> list[Path]:
    """Writes comp4_det_<split>_<class>.txt for every class, in the order of the detections, and returns their paths.

    Numbers are written in full, so that what is read again has the same score. Raises ValueError for a name that the
    format cannot hold, and as gather_detections does.
    """
    for name in (split, *classes):
        if not name or "/" in name or "\\" in name:
            raise ValueError(f"{name!r} cannot be part of a file name; rename the split or class without slashes")
    rows = gather_detections(detections, image_ids, len(classes))
    for image in np.unique(rows.image_index).tolist():
        if len(image_ids[image].split()) != 1:
            raise ValueError(f"image id {image_ids[image]!r}: expected no white space, as it would be read as two")
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"comp4_det_{split}_{name}.txt" for name in classes]
    for path, of_class in zip(paths, rows.split(len(classes)), strict=True):
        path.write_text("".join(_texts(of_class, image_ids)), encoding="utf-8")
    return paths


def _texts(rows: Rows, image_ids: Sequence[str]) -> Iterable[str]:
    columns = (rows.image_index, rows.scores, *(rows.boxes + _TO_VOC).T)
    for image, *numbers in zip(*(column.tolist() for column in columns), strict=True):
        yield f"{image_ids[image]} {' '.join(map(repr, numbers))}\n"


def read_detections(path: Path, classes: Sequence[str], image_ids: Sequence[str], split: str | None = None) -> Rows:
    """Reads the result files of any tool: a folder, or the beginning of the files' paths (results/comp3_det_test).

    Class after class, each in the order of its file; the ranks are those of `Rows.by_image`, best first. A class
    without a file has no detections, with a warning. An image is known by its id, or by what our id is made from: a
    path, without the suffix, below the folder of its split. Raises ValueError for files of several splits or
    competitions (choose by `split` or by the path), a line that is not an id and five finite numbers, an unknown id.
    """
    files = _find_files(path, classes, split)
    index_of = {image_id: index for index, image_id in enumerate(image_ids)}
    lines = [_read_lines(files[name], index_of) if name in files else _no_lines() for name in classes]
    missing = [name for name in classes if name not in files]
    if missing:
        warnings.warn(f"{path}: no file for {', '.join(missing)}; scored as without detections", stacklevel=2)
    images = np.concatenate([one.images for one in lines])
    values = np.concatenate([one.values for one in lines])
    return Rows(
        images,
        ranks_by_score(images, values[:, 0]),
        np.repeat(np.arange(len(classes)), [len(one.images) for one in lines]),
        values[:, 1:] - _TO_VOC,
        values[:, 0],
        np.zeros(len(images), dtype=np.bool_),
    )


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


def _no_lines() -> _Lines:
    return _Lines(np.zeros(0, dtype=np.int64), np.zeros((0, 5)))


def _read_lines(file: Path, index_of: Mapping[str, int]) -> _Lines:
    lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    fields = [line.rsplit(maxsplit=5) for line in lines]  # from the right: other tools' ids may hold spaces
    known: dict[str, int] = {}  # by the text of the id
    try:
        for image_id, _, _, _, _, _ in filter(None, fields):
            if image_id not in known:
                known[image_id] = _image_of(image_id, index_of)
        images = [known[row[0]] for row in fields if row]
        numbers = [float(text) for row in fields for text in row[1:]]
    except (ValueError, KeyError):
        raise _first_fault(file, fields, index_of) from None
    values = np.array(numbers, dtype=np.float64).reshape(len(images), 5)
    if not np.isfinite(values).all():
        raise _first_fault(file, fields, index_of)
    return _Lines(np.array(images, dtype=np.int64), values)


def _image_of(text: str, index_of: Mapping[str, int]) -> int:
    """Raises KeyError for an unknown image."""
    text = text.strip()
    # The suffix that an id is made without is none of the id's own: "frame.01" is no image of the type ".01".
    return index_of[text] if text in index_of else index_of[image_id_of(PurePosixPath(f"{text}.jpg"))]


def _first_fault(file: Path, fields: Sequence[Sequence[str]], index_of: Mapping[str, int]) -> ValueError:
    """The error of the first line that has one."""
    for number, row in enumerate(fields, start=1):
        if row and (len(row) != 6 or not all(_is_finite(text) for text in row[1:])):
            line = " ".join(row)[:100]
            return ValueError(f"{file}:{number}: {line!r}; expected image_id score xmin ymin xmax ymax, finite numbers")
        try:
            _image_of(row[0], index_of) if row else None
        except KeyError:
            known = next(iter(index_of), "none")
            return ValueError(
                f"{file}:{number}: image {row[0][:100]!r} is not among the {len(index_of)} of the split ({known}, ...);"
                " score against the split that was detected in"
            )
    raise AssertionError(f"{file}: no faulty line")


def _is_finite(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
