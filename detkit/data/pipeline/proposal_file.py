"""Proposals on disk: one SQLite database a split, which any language can read.

Table `proposals`: image_id TEXT PRIMARY KEY, height INTEGER, width INTEGER (px of the image they were made for),
boxes BLOB (little-endian float32, 4 a box: x1, y1, x2, y2 px, 0-based, x2 and y2 just outside), scores BLOB (float32,
one a box, falling), seconds REAL (of one core). Table `source`: one row, name TEXT: what made them, such as
"selective_search_fast". Table `images`: image_id, mark TEXT (hash of the image file's size and of some of its bytes),
by which images of another data set with the same ids are told apart; rows may be missing. Every image is one
transaction: a kill leaves whole images, and the same command goes on.
"""

import os
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detkit.data.dataset import DetectionDataset
from detkit.data.ground_truth import GroundTruth
from detkit.data.io.files import real_path
from detkit.structures import Sample, Size, Target

SCHEMA = """
CREATE TABLE IF NOT EXISTS source (name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS proposals (
    image_id TEXT PRIMARY KEY, height INTEGER, width INTEGER, boxes BLOB, scores BLOB, seconds REAL
);
CREATE TABLE IF NOT EXISTS images (image_id TEXT PRIMARY KEY, mark TEXT);
"""
_MARKED = 4096  # bytes of an image file at its start and in its middle
BUSY_SECONDS = 60.0  # wait for another process that writes


@dataclass(frozen=True)
class Proposals:
    """The proposals of one image, best first, in px of the image as stored."""

    boxes: Tensor  # (N, 4) float32
    scores: Tensor  # (N,) float32
    size: Size
    seconds: float  # one core took to make them


class ProposalFile:
    """A file of proposals, for reading; `create` opens one for writing, too."""

    def __init__(self, path: Path) -> None:
        """Raises ValueError for what is no such file."""
        self.path = path
        self._connections: dict[tuple[int, int], sqlite3.Connection] = {}  # one a process and thread: SQLite's rule
        if not path.is_file():
            raise ValueError(f"{path}: no such file of proposals; make it with detkit make-proposals")
        rows = self._query("SELECT name FROM source")
        if len(rows) != 1:
            raise ValueError(f"{path}: not a whole file of proposals: it does not name its source")
        self.source = str(rows[0][0])

    @staticmethod
    def create(path: Path, source: str) -> "ProposalFile":
        """Open `path` to add proposals of `source`, be it new or begun. Raises ValueError for one of another source."""
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with sqlite3.connect(path, timeout=BUSY_SECONDS) as connection:
                connection.executescript(SCHEMA)
                connection.execute("INSERT INTO source SELECT ? WHERE NOT EXISTS (SELECT 1 FROM source)", (source,))
            connection.close()
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{path}: not a file of proposals ({error})") from error
        file = ProposalFile(path)
        if file.source != source:
            raise ValueError(f"{path}: holds proposals of {file.source}, not of {source}; name another file")
        return file

    def claim(self, dataset: DetectionDataset) -> None:
        """Note the images of a data set. Raises ValueError where the file has other images by the same ids."""
        marks = {image_id: _mark(path) for image_id, path in zip(dataset.image_ids, dataset.paths, strict=True)}
        for image_id, mark in self._query("SELECT image_id, mark FROM images"):
            if marks.get(image_id, mark) != mark:
                raise ValueError(
                    f"{self.path}: has proposals for another image {image_id!r} than {self._place(dataset, image_id)}: "
                    "they belong to another data set; keep those of this one elsewhere, with "
                    "model.proposals.folder=FOLDER or --out, or delete the file"
                )
        with self._connection() as connection:
            connection.executemany("INSERT OR IGNORE INTO images VALUES (?, ?)", marks.items())

    @staticmethod
    def _place(dataset: DetectionDataset, image_id: str) -> Path:
        return dataset.paths[dataset.image_ids.index(image_id)]

    def image_ids(self) -> set[str]:
        return {str(row[0]) for row in self._query("SELECT image_id FROM proposals")}

    def seconds(self) -> dict[str, float]:
        """What one core took for each image."""
        return {str(name): float(s) for name, s in self._query("SELECT image_id, seconds FROM proposals")}

    def read(self, image_id: str) -> Proposals | None:
        """The proposals of an image; None when the file has none for it."""
        rows = self._query(
            "SELECT boxes, scores, height, width, seconds FROM proposals WHERE image_id = ?", (image_id,)
        )
        if not rows:
            return None
        boxes, scores, height, width, seconds = rows[0]
        try:
            array = np.frombuffer(boxes, "<f4").reshape(-1, 4).astype(np.float32)
            ranks = np.frombuffer(scores, "<f4").astype(np.float32)
            size, time = (int(height), int(width)), float(seconds)
            whole = len(array) == len(ranks) and bool(np.isfinite(array).all())
        except (TypeError, ValueError):
            whole = False
        if not whole:
            raise ValueError(f"{self.path}: the proposals of image {image_id} are damaged; delete the file")
        return Proposals(torch.from_numpy(array), torch.from_numpy(ranks), size, time)

    def write(
        self, image_id: str, boxes: NDArray[np.float32], scores: NDArray[np.float32], size: Size, seconds: float
    ) -> None:
        """Add or replace the proposals of an image: boxes (N, 4), scores (N,), best first.

        Raises OSError where that cannot be, as on a full disk; what was there is kept.
        """
        row = (
            image_id,
            *size,
            np.asarray(boxes, "<f4").tobytes(),
            np.asarray(scores, "<f4").tobytes(),
            round(seconds, 4),
        )
        connection = self._connection()
        try:
            with connection:
                connection.execute("INSERT OR REPLACE INTO proposals VALUES (?, ?, ?, ?, ?, ?)", row)
        except sqlite3.DatabaseError as error:
            raise OSError(f"{self.path}: the proposals of image {image_id} could not be written ({error})") from error

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "source": self.source, "_connections": {}}

    def _connection(self) -> sqlite3.Connection:
        here = os.getpid(), threading.get_ident()
        if here not in self._connections:
            self._connections[here] = sqlite3.connect(self.path, timeout=BUSY_SECONDS)
        return self._connections[here]

    def _query(self, sql: str, values: tuple[str, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._connection().execute(sql, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{self.path}: not a file of proposals, or damaged ({error})") from error


class WithProposals:
    """A data set whose samples carry the best `count` proposals of a file, as a DetectionDataset."""

    def __init__(
        self,
        dataset: DetectionDataset,
        files: Sequence[ProposalFile],
        count: int,
        parts: Sequence[DetectionDataset] | None = None,
    ) -> None:
        """`parts`: the splits that the files were made for, in which an image may have another id; None: it has not.

        Raises ValueError when the files lack an image: it names one, and says how many.
        """
        self.dataset, self.count = dataset, count
        self.classes, self.image_ids, self.paths = dataset.classes, dataset.image_ids, dataset.paths
        self._places: dict[str, tuple[ProposalFile, str]] = {}  # file and id there, by the id here
        for file, part in zip(files, parts or [dataset] * len(files), strict=True):
            ids_here = _ids_in(dataset, part)
            there = file.image_ids()
            self._places.update({ids_here[name]: (file, name) for name in ids_here.keys() & there})
        missing = [image_id for image_id in self.image_ids if image_id not in self._places]
        if missing:
            raise ValueError(
                f"image {missing[0]}{f' and {len(missing) - 1} more' if len(missing) > 1 else ''}: no proposals in "
                f"{', '.join(str(file.path) for file in files)}; make them with detkit make-proposals"
            )

    def __len__(self) -> int:
        return len(self.dataset)

    def read(self, index: int) -> Sample:
        sample = self.dataset.read(index)
        proposals = self.proposals(index)
        return Sample(sample.image_id, sample.image, sample.original_size, sample.target, proposals)

    def proposals(self, index: int) -> Tensor:
        """(N, 4) px of image `index` as stored, best first."""
        image_id = self.image_ids[index]
        file, name = self._places[image_id]
        stored = file.read(name)
        assert stored is not None
        if stored.size != tuple(self.size(index)):
            raise ValueError(
                f"image {image_id}: {file.path} has proposals for an image of {_shape(stored.size)}, "
                f"this one is {_shape(self.size(index))}: they belong to another data set"
            )
        return stored.boxes[: self.count]

    def seconds(self) -> list[float]:
        """What one core took to make the proposals of each image."""
        of_file = {file: file.seconds() for file in {file for file, _ in self._places.values()}}
        return [of_file[file][name] for file, name in map(self._places.__getitem__, self.image_ids)]

    def target(self, index: int) -> Target:
        return self.dataset.target(index)

    def size(self, index: int) -> Size:
        return self.dataset.size(index)

    def ground_truth(self) -> GroundTruth:
        return self.dataset.ground_truth()


def _mark(path: Path) -> str:
    """Of an image file, quickly: of uncompressed images of one size, the middle tells what the size does not."""
    with path.open("rb") as file:
        size = path.stat().st_size
        start = file.read(_MARKED)
        file.seek(size // 2)
        return blake2b(b"%d %b %b" % (size, start, file.read(_MARKED)), digest_size=8).hexdigest()


def _ids_in(dataset: DetectionDataset, part: DetectionDataset) -> dict[str, str]:
    """The id in `dataset` of each image of `part`, by its id there."""
    if part is dataset:
        return {image_id: image_id for image_id in dataset.image_ids}
    id_of = {real_path(path): image_id for path, image_id in zip(dataset.paths, dataset.image_ids, strict=True)}
    pairs = ((name, id_of.get(real_path(path))) for path, name in zip(part.paths, part.image_ids, strict=True))
    return {name: image_id for name, image_id in pairs if image_id is not None}


def _shape(size: Size) -> str:
    return f"{size[1]} x {size[0]} px"
