"""Data sets of Hugging Face's `datasets`: saved with save_to_disk, or as Parquet files; their images are inside.

    dataset_dict.json and SPLIT/{state.json, dataset_info.json, data-*.arrow}, or those three at the root
    SPLIT-00000-of-00001.parquet, at the root or in data/

Training reads images from files: reading a split first writes those that are not there yet to detkit_images/, below
the root, and says so. Arrow files are read with pyarrow, an extra.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from reprlib import repr as short_repr  # at most 30 characters, control codes escaped: these texts are not trusted
from typing import Any

from detkit.data.faults import Fault, Severity
from detkit.data.formats.embedded_images import EmbeddedImages
from detkit.data.formats.hf_objects import (
    BOX_FIELD,
    ObjectReader,
    Row,
    has_objects,
    names_of_features,
    names_of_files,
)
from detkit.data.formats.listing import ListedImage, image_id_of
from detkit.data.formats.named_images import NamedImages, find_image, missing_split
from detkit.data.formats.read_split import ObjectList, ReadSplit, size_of, split_of_lists
from detkit.data.formats.split_names import WHOLE
from detkit.data.io.files import read_bytes
from detkit.data.io.images import SUFFIXES

NEEDS_PYARROW = "needs pyarrow; install detkit[hf]"

_ROWS_AT_A_TIME = 16  # with their images
_SHARD = re.compile(r"(?P<split>[\w.-]+?)-\d{5}-of-\d{5}(-[0-9a-f]+)?\.parquet", re.ASCII)
_PLAIN = re.compile(r"\w[\w .-]*", re.ASCII)


@dataclass(frozen=True)
class _Shards:
    """The files of a split, of which rows are numbered through."""

    files: tuple[Path, ...]
    place: Path  # what is wrong with the split as a whole is said of this
    missing: tuple[str, ...] = ()  # files that are named and not there


def find_hf_saved_splits(root: Path) -> tuple[str, ...]:
    """The splits of a data set that `datasets` saved, if it has columns of objects and images."""
    return tuple(_layout(root))


def read_hf_saved_split(root: Path, split: str) -> ReadSplit:
    """Read all of a split, and write its images where they are not yet; faults are in the result.

    Raises DatasetMissing.
    """
    layout = _layout(root)
    if split not in layout:
        raise missing_split(root, split, "is not in what datasets saved", layout)
    shards = layout[split]
    named = NamedImages(
        [Fault(shards.place, f"{name} is not there; save the data set anew") for name in shards.missing]
    )
    if not shards.missing and not find_spec("pyarrow"):
        named.faults.append(Fault(shards.place, NEEDS_PYARROW))
    elif not shards.missing:
        try:
            _SplitReader(root, split, shards, named).read()
        except (OSError, ValueError, import_module("pyarrow").ArrowException) as error:
            named.faults.append(Fault(shards.place, f"cannot be read ({' '.join(str(error).split())[:200]})"))
    return split_of_lists(split, shards.place, named.images(), None, named.faults, BOX_FIELD)


def _layout(root: Path) -> dict[str, _Shards]:
    if _is_saved(root):
        return {WHOLE: _saved(root)} if _info_has_objects(root) else {}
    declared = _json(root / "dataset_dict.json").get("splits")
    if isinstance(declared, list):
        names = [name for name in declared if isinstance(name, str) and _PLAIN.fullmatch(name)]
        if any(_info_has_objects(root / name) for name in names):
            return {name: _saved(root / name) for name in sorted(names)}
        return {}
    return _parquet(root)


def _is_saved(folder: Path) -> bool:
    return (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()


def _saved(folder: Path) -> _Shards:
    listed = _json(folder / "state.json").get("_data_files")
    names = [str(entry.get("filename")) for entry in listed if isinstance(entry, dict)] if listed else []
    plain = [name for name in names if _PLAIN.fullmatch(name)]
    missing = [name for name in names or ["state.json"] if name not in plain or not (folder / name).is_file()]
    files = tuple(folder / name for name in plain if name not in missing)
    return _Shards(files, folder, tuple(missing))


def _parquet(root: Path) -> dict[str, _Shards]:
    found = defaultdict(list)
    for path in sorted([*root.glob("*.parquet"), *root.glob("data/*.parquet")]):
        named = _SHARD.fullmatch(path.name)
        if named and path.is_file():
            found[named["split"]].append(path)
    shards = {split: _Shards(tuple(files), files[0]) for split, files in sorted(found.items())}
    if not shards or not find_spec("pyarrow"):
        return shards  # it is said when they are read
    try:
        return shards if any(_has_columns(_schema(one.files[0]).names) for one in shards.values()) else {}
    except (OSError, ValueError, import_module("pyarrow").ArrowException):
        return {}


def _has_columns(names: list[str]) -> bool:
    return has_objects(dict.fromkeys(names)) and "image" in names


def _info_has_objects(folder: Path) -> bool:
    features = _json(folder / "dataset_info.json").get("features")
    return isinstance(features, dict) and _has_columns(list(features))


def _json(path: Path) -> dict[str, Any]:
    """Empty where there is no such file or it holds something else."""
    try:
        content = json.loads(read_bytes(path).decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _schema(path: Path) -> Any:
    if path.suffix == ".parquet":
        return import_module("pyarrow.parquet").read_schema(path)
    arrow = import_module("pyarrow")
    with arrow.OSFile(str(path)) as source:
        return arrow.ipc.open_stream(source).schema


def _batches(path: Path) -> Iterator[Any]:
    if path.suffix == ".parquet":
        with import_module("pyarrow.parquet").ParquetFile(path) as file:
            yield from file.iter_batches(_ROWS_AT_A_TIME)
        return
    arrow = import_module("pyarrow")
    with arrow.OSFile(str(path)) as source, arrow.ipc.open_stream(source) as batches:
        for batch in batches:
            batch.validate(full=True)  # without it a broken file ends the process
            for start in range(0, batch.num_rows, _ROWS_AT_A_TIME):
                yield batch.slice(start, _ROWS_AT_A_TIME)


class _SplitReader:
    def __init__(self, root: Path, split: str, shards: _Shards, named: NamedImages) -> None:
        self._root = root
        self._shards = shards
        self._named = named
        self._written = EmbeddedImages(root, split)
        names = _names_of_schema(_schema(shards.files[0])) if shards.files else None
        self._reader = ObjectReader(names or names_of_files([shards.place, root], named.faults))

    def read(self) -> None:
        number = 0
        for file in self._shards.files:
            for batch in _batches(file):
                for row in batch.to_pylist():
                    self._read_row(file, number, row)
                    number += 1
        self._named.faults += self._reader.faults(self._shards.place)
        self._named.faults += self._written.faults(self._shards.place)

    def _read_row(self, file: Path, number: int, row: Row) -> None:
        place = f"row {number}"
        try:
            image = self._image(file, number, row.get("image"))
        except ValueError as error:
            self._named.faults.append(Fault(file, str(error), Severity.ERROR, place, "image"))
            return
        place = f"{place} ({image.name})"
        objects = ObjectList(file, size_of(image), BOX_FIELD)
        try:
            self._reader.read(row, objects, place)
        except ValueError as error:
            objects.error(place, "", str(error))
        self._named.add(ListedImage(image_id_of(PurePosixPath(image.name)), image, file), objects, place)

    def _image(self, file: Path, number: int, value: object) -> Path:
        """The file of an image, written if it is not there. Raises ValueError."""
        data, stated = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (None, None)
        if not isinstance(data, bytes):
            found = (
                find_image(stated, [self._shards.place, self._root], self._root) if isinstance(stated, str) else None
            )
            if found is None:
                raise ValueError(f"has no bytes, and {short_repr(stated)} is not in the data set; save it with images")
            return found
        return self._written.write(f"{number:06d}{_stem(stated)}", data, file)


def _names_of_schema(schema: Any) -> tuple[str, ...] | None:
    """The schema of a file has the features as JSON."""
    try:
        return names_of_features(json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return None


def _stem(stated: object) -> str:
    """What the image was called, behind its number: names may be there twice."""
    if not isinstance(stated, str):
        return ""
    path = PurePosixPath(stated.replace("\\", "/"))
    stem = path.stem if path.suffix.lower() in SUFFIXES else path.name
    return "_" + "".join(sign if sign.isalnum() or sign in "-._() " else "_" for sign in stem)[:80]
