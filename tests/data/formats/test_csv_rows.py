"""Rows of CSV files, and what is refused."""

import os
from pathlib import Path

import pytest

from detkit.data.formats.csv_rows import read_header, read_rows


def test_rows_with_their_line_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes('\ufeffa,b\r\n\r\n1,"x,\n""y"""\r\n2,'.encode())
    assert list(read_rows(path)) == [(1, ["a", "b"]), (4, ["1", 'x,\n"y"']), (5, ["2", ""])]
    assert read_header(path) == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'1,"', "is no CSV file (unexpected end of data, line 1)"),
        (b'1,"a"b\n', "is no CSV file ("),
        (b"\xff\n", "cannot be read as UTF-8"),
        (b"x" * (1 << 21), "has a line of over 1,048,576 characters"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError) as refused:
        list(read_rows(path))
    assert message in str(refused.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    assert read_header(tmp_path / "pipe.csv") == read_header(tmp_path / "gone.csv") == read_header(tmp_path) == ()
    for path, message in ((tmp_path / "pipe.csv", "is not a regular file"), (tmp_path / "gone.csv", "cannot be read")):
        with pytest.raises(ValueError, match=message):
            list(read_rows(path))
