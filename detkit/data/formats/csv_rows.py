"""The rows of a CSV file, one at a time: of any size, and not trusted."""

import csv
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

MAX_LINE = 1 << 20  # characters

_PEEK = 1 << 16  # characters of the first line


def read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and columns of each row that is not empty. Raises ValueError, whose message goes into a Fault."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe would wait for ever
            raise ValueError("is not a regular file")
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(_lines(file), strict=True)
            for row in reader:
                if row:
                    yield reader.line_num, row
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    except csv.Error as error:
        raise ValueError(f"is no CSV file ({error}, line {reader.line_num}); write it anew") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"cannot be read as UTF-8 ({error}); write it anew") from None


def read_records(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and fields of each row below the first, which names the columns. Raises ValueError as read_rows."""
    header: list[str] = []
    for line, row in read_rows(path):
        if not header:
            header = row
        elif len(row) != len(header):
            raise ValueError(f"line {line} has {len(row)} columns, the first has {len(header)}; mend it")
        else:
            yield line, dict(zip(header, row, strict=True))


def read_header(path: Path) -> Sequence[str]:
    """The columns of the first line; none where the file has no such line."""
    try:
        if not path.is_file():
            return ()
        with path.open(encoding="utf-8-sig", newline="") as file:
            return next(csv.reader([file.readline(_PEEK)], strict=True), ())
    except (OSError, ValueError, csv.Error):
        return ()


def _lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise ValueError(f"has a line of over {MAX_LINE:,} characters; is it a CSV file?")
        yield line
