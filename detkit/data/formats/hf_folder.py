"""Data sets of Hugging Face's `imagefolder`: images, and metadata.jsonl, .csv or .parquet that has their objects.

The file is in the folder of a split, such as train/, or at the root, where folders in file_name may name the split.
"""

import stat
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from pathlib import Path, PurePosixPath
from reprlib import repr as short_repr  # at most 30 characters, control codes escaped: these texts are not trusted
from typing import Any

import msgspec

from detkit.data.faults import Fault, Severity
from detkit.data.formats.csv_rows import read_records
from detkit.data.formats.hf_objects import BOX_FIELD, ObjectReader, Row, has_objects, names_of_files
from detkit.data.formats.listing import ListedImage, list_images
from detkit.data.formats.named_images import (
    SPLIT_WORDS,
    NamedImages,
    find_image,
    id_in_split,
    is_inside,
    missing_split,
    size_of_texts,
    split_of_folder,
    stated_size,
)
from detkit.data.formats.read_split import ObjectList, ReadSplit, split_of_lists
from detkit.data.formats.split_names import WHOLE

NEEDS_PYARROW = "needs pyarrow; install detkit[hf], or write metadata.jsonl"

_FILES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
_FOLDERS = (".", "*", "*/*")  # data/train/metadata.jsonl
_MAX_LINE_BYTES = 64 << 20
_MAX_FILE_BYTES = 2 << 30
_PEEK_ROWS = 20
_ROWS_AT_A_TIME = 1000  # of Parquet


def has_metadata(root: Path) -> bool:
    """Whether any metadata there have columns of objects."""
    return bool(_files(root))


def find_hf_folder_splits(root: Path) -> tuple[str, ...]:
    """The splits whose metadata have columns of objects."""
    return tuple(sorted({split for file in _files(root) for split in _splits(root, file)}))


def read_hf_folder_split(root: Path, split: str) -> ReadSplit:
    """Read all of a split but the pixels; faults are in the result. Raises DatasetMissing."""
    files = {file: _splits(root, file) for file in _files(root)}
    its_files = [file for file, splits in files.items() if split in splits]
    if not its_files:
        there = sorted({name for splits in files.values() for name in splits})
        raise missing_split(root, split, "has no metadata file with objects", there)
    named = NamedImages()
    for file in its_files:
        reader = ObjectReader(names_of_files(_around(root, file), named.faults))
        try:
            for place, row in _rows(file):
                if _split_of_row(root, file, row) == split:
                    _read_row(root, split, file, place, row, reader, named)
        except ValueError as error:
            named.faults.append(Fault(file, str(error)))
        named.faults += reader.faults(file)
    for file in its_files:
        named.leave_out(_images_of_split(file, split, len(files[file]) == 1, root))
    place_of_all = its_files[0] if len(its_files) == 1 else root
    return split_of_lists(split, place_of_all, named.images(), None, named.faults, BOX_FIELD)


def _files(root: Path) -> list[Path]:
    found = [path for folder in _FOLDERS for name in _FILES for path in sorted(root.glob(f"{folder}/{name}"))]
    return [path for path in found if _is_of_objects(path)]


def _is_of_objects(path: Path) -> bool:
    if path.suffix == ".parquet" and not find_spec("pyarrow"):
        return path.is_file()  # it is said when it is read
    try:
        return any(has_objects(row) and "file_name" in row for _, row in islice(_rows(path), _PEEK_ROWS))
    except ValueError:
        return False


def _splits(root: Path, file: Path) -> list[str]:
    own = split_of_folder(file.parent.relative_to(root).parts)
    if own != WHOLE:
        return [own]
    try:
        return sorted({_split_of_row(root, file, row) for _, row in _rows(file)}) or [own]
    except ValueError:
        return [own]


def _split_of_row(root: Path, file: Path, row: Row) -> str:
    """Folders in file_name count where the file itself is in none that tells."""
    own = split_of_folder(file.parent.relative_to(root).parts)
    if own != WHOLE or not isinstance(row.get("file_name"), str):
        return own
    found = split_of_folder(PurePosixPath(row["file_name"].replace("\\", "/")).parent.parts)
    return found if found.rpartition("/")[2].lower() in SPLIT_WORDS else own


def _around(root: Path, file: Path) -> list[Path]:
    """The folders from that of a file up to the root."""
    return [folder for folder in (file.parent, *file.parent.parents) if folder.is_relative_to(root)]


def _images_of_split(file: Path, split: str, is_only: bool, root: Path) -> Iterator[Path]:
    """The images in folders that belong to this split alone."""
    inner = [file.parent / folder / split for folder in (".", "images", "data")]
    for folder in [file.parent] if is_only else inner:
        if is_inside(folder, root) and folder.is_dir():
            yield from list_images(folder)


def _read_row(
    root: Path, split: str, file: Path, place: str, row: Row, reader: ObjectReader, named: NamedImages
) -> None:
    name = row.get("file_name")
    image = find_image(name, [file.parent], root) if isinstance(name, str) else None
    if image is None:
        message = f"is {short_repr(name)}, which is not there; put it beside the file or remove the row"
        named.faults.append(Fault(file, message, Severity.ERROR, place, "file_name"))
        return
    place = f"{place} ({short_repr(name)})"
    size, wrong = stated_size(image, size_of_texts(str(row.get("height")), str(row.get("width"))))
    if wrong is not None:
        named.faults.append(Fault(file, wrong, Severity.ERROR, place, "width, height"))
    objects = ObjectList(file, size, BOX_FIELD)
    try:
        reader.read(row, objects, place)
    except ValueError as error:
        objects.error(place, "", str(error))
    named.add(ListedImage(id_in_split(image, root, split), image, file), objects, place)


def _rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Each row and how faults name it. Raises ValueError, whose message goes into a Fault."""
    try:
        info = path.stat()
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    if not stat.S_ISREG(info.st_mode):
        raise ValueError("is not a regular file")
    if info.st_size > _MAX_FILE_BYTES:
        raise ValueError(f"has {info.st_size:,} bytes, at most {_MAX_FILE_BYTES:,} are read; split it")
    match path.suffix:
        case ".jsonl":
            return _rows_of_lines(path)
        case ".csv":
            return ((f"line {line}", dict(fields)) for line, fields in read_records(path))
        case _:
            return _rows_of_parquet(path)


def _rows_of_lines(path: Path) -> Iterator[tuple[str, Row]]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(_MAX_LINE_BYTES):
            number += 1
            text = line.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else line.strip()
            if len(line) == _MAX_LINE_BYTES:
                raise ValueError(f"line {number} has over {_MAX_LINE_BYTES:,} bytes; write one row a line")
            if text:
                yield f"line {number}", _row_of_line(text, number)


def _row_of_line(text: bytes, number: int) -> Row:
    try:
        row = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"line {number} is not JSON ({error}); write it anew") from None
    if not isinstance(row, dict):
        raise ValueError(f"line {number} is {short_repr(row)}, expected file_name and objects; write it anew")
    return row


def _rows_of_parquet(path: Path) -> Iterator[tuple[str, Row]]:
    if not find_spec("pyarrow"):
        raise ValueError(NEEDS_PYARROW)
    parquet: Any = import_module("pyarrow.parquet")
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(_ROWS_AT_A_TIME):
                for row in batch.to_pylist():
                    yield f"row {number}", row
                    number += 1
    except (OSError, ValueError, import_module("pyarrow").ArrowException) as error:
        raise ValueError(f"cannot be read as Parquet ({short_repr(str(error))}); write it anew") from None
