"""A run's numbers as a table: log.csv, a row for each logged step, a column for each name."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from detkit.runtime.whole_file import named, written_whole

FILE = "log.csv"


class CsvLog:
    """Writes the table anew, from the rows that it is given. A cell is empty where a step has no such number."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._names: list[str] = []
        self._rows: list[dict[str, float]] = []
        self._path.unlink(missing_ok=True)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        row = {"step": step, **values}
        self._rows.append(row)
        new = [name for name in row if name not in self._names]
        if new:  # a column more: those of a validation come with the first
            self._names += new
            self._write_all()
        else:
            with named(self._path), self._path.open("a", newline="") as file:
                self._table(file).writerow(row)

    def close(self, complete: bool) -> None:
        pass

    def _write_all(self) -> None:
        with written_whole(self._path) as partial, partial.open("w", newline="") as file:
            table = self._table(file)
            table.writeheader()
            table.writerows(self._rows)

    def _table(self, file: TextIO) -> "csv.DictWriter[str]":
        return csv.DictWriter(file, self._names, lineterminator="\n")
