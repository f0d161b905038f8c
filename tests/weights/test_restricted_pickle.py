"""Pickles of arrays: what Python 2 and 3 write is read, everything else is refused, and nothing in a file is run."""

import os
import pickle
import struct
from collections import OrderedDict
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detkit.weights.restricted_pickle import PickleError, read_pickle

VALUES = np.array([[1.5, -2, 3], [4, 5, 6]], np.float32)
CONTENT = {
    "model": OrderedDict(a=VALUES, same=VALUES, turned=np.asfortranarray(VALUES), big=VALUES.astype(">f8")),
    "more": [np.arange(300), np.zeros((0, 4), np.float16), np.array(7, np.int8), np.array([True, False])],
    "scalar": np.float32(0.25),
    "plain": (
        None,
        True,
        False,
        -1,
        255,
        70000,
        2**40,
        0.5,
        "Größe",
        b"bytes",
        b"",
        "x" * 300,
        [],
        {},
        (),
        (1, 2, 3, 4),
    ),
    3: "number as a name",
}


def read(data: bytes, folder: Path) -> Any:
    path = folder / "weights.pkl"
    path.write_bytes(data)
    return read_pickle(path)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and np.array_equal(one, other)
    return type(one) is type(other) and bool(one == other)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_reads_what_python_writes(protocol: int, tmp_path: Path) -> None:
    expected = CONTENT | {"model": dict(CONTENT["model"])}  # the order of a plain dict is kept, too
    assert same(read(pickle.dumps(CONTENT, protocol), tmp_path), expected)


@pytest.mark.parametrize("protocol", [2, 4])
def test_reads_the_names_of_older_numpy(protocol: int, tmp_path: Path) -> None:
    data = pickle.dumps(VALUES, protocol)
    older = data.replace(b"numpy._core", b"numpy.core").replace(b"\x8c\x16numpy.core", b"\x8c\x15numpy.core")
    assert older != data and same(read(older.replace(b"\x95", b"\x95"), tmp_path), VALUES)


def array_of_python_2(values: np.ndarray, code: str, content: bytes | None = None) -> bytes:
    """{"conv1_w": values} as Python 2 wrote it: all texts are str, opcodes U and T."""
    data = values.tobytes() if content is None else content
    text = b"U" + bytes([len(data)]) if len(data) < 256 else b"T" + struct.pack("<i", len(data))
    shape = b"(" + b"".join(b"J" + struct.pack("<i", side) for side in values.shape) + b"t"
    return (
        b"\x80\x02}q\x00U\x07conv1_wq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85"
        b"q\x04U\x01bq\x05\x87q\x06Rq\x07(K\x01" + shape + b"q\x08cnumpy\ndtype\nq\x09U"
        + bytes([len(code)]) + code.encode() + b"q\x0aK\x00K\x01\x87q\x0bRq\x0c(K\x03U\x01<q\x0dNNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tq\x0eb\x89" + text + data + b"q\x0ftq\x10bs."
    )  # fmt: skip


@pytest.mark.parametrize("values", [VALUES, np.arange(100, dtype=np.float32), np.full((1, 3), 200.5, np.float32)])
def test_reads_what_python_2_wrote(values: np.ndarray, tmp_path: Path) -> None:
    assert same(read(array_of_python_2(values, "f4"), tmp_path), {"conv1_w": values})


class Runs:
    """Unpickled by Python, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


class Kind(np.ndarray):
    pass


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_code_is_named_and_not_run(protocol: int, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    data = pickle.dumps({"a": VALUES, "b": Runs(folder)}, protocol)
    with pytest.raises(PickleError, match=r"asks for (posix|nt)\.mkdir, which no weight file needs; nothing was run"):
        read(data, tmp_path)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.array([{}, "text"], dtype=object), "array of 'O8', which are no numbers"),
        (np.array(["text"]), "array of 'U4', which are no numbers"),
        (np.zeros(2, dtype=[("x", "f4")]), "array of 'V4', which are no numbers"),
        (np.zeros(2).view(Kind), r"asks for .*\.Kind"),
        (datetime(2000, 1, 1), r"asks for datetime\.datetime"),
        ({1, 2}, "asks for builtins.set|asks for __builtin__.set|pickle operation"),
        (10**1000, "pickle operation"),
        ({(1, 2): 3}, "keys are no names"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 5])
def test_what_weights_do_not_need_is_refused(value: object, message: str, protocol: int, tmp_path: Path) -> None:
    with pytest.raises(PickleError, match=message):
        read(pickle.dumps(value, protocol), tmp_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.", "encoding 'rot13'"),
        (b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.", r"asks for os\.system"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.", r"asks for builtins\.eval"),
        (b"\x80\x02(ios\nsystem\n.", "pickle operation b'i'"),
        (b"\x80\x02X\x01\x00\x00\x00aQ.", "pickle operation b'Q'"),  # a persistent id
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"a.", "ends early"),  # a claim of 2^60 bytes
        (b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"a.", "ends early"),
        (b"\x80\x02T\xff\xff\xff\xffa.", "ends early"),  # -1 byte
        (b"\x80\x02cnumpy\nndarray\n}b.", "sets the state of a type"),
        (b"\x80\x02ccollections\nOrderedDict\n}X\x01\x00\x00\x00aK\x01sb.", "sets the state of a _Name"),
        (b"\x80\x02K\x01K\x02a.", "fills a int as if it were a list"),
        (b"\x80\x02K\x01)R.", "calls what is no function"),
        (b"\x80\x02K\x01", "ends early"),
        (b"\x80\x02.", "damaged"),
        (b"\x80\x02t.", "damaged"),
        (b"\x80\x02h\x05.", "damaged"),
        (b"", "ends early"),
        (array_of_python_2(VALUES, "f4", content=b"abcd"), r"shape \(2, 3\) with 4 bytes"),
        (array_of_python_2(np.broadcast_to(VALUES[0, 0], (2**30, 2**20)), "f4", content=b"abcd"), "with 4 bytes"),
    ],
)
def test_hostile_and_damaged_files(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(PickleError, match=message):
        read(data, tmp_path)


def test_a_memo_costs_what_is_in_it(tmp_path: Path) -> None:
    """Python's own unpickler would make room for 2^31 entries."""
    assert read(b"\x80\x02]r\xff\xff\xff\x7f0j\xff\xff\xff\x7f.", tmp_path) == []


def test_memory_is_bounded_by_the_file(tmp_path: Path) -> None:
    text = b"X" + struct.pack("<I", 1000) + b"a" * 1000
    again = b"c_codecs\nencode\nh\x00h\x01\x86R"
    data = b"\x80\x02" + text + b"q\x00X\x06\x00\x00\x00latin1q\x01"
    with pytest.raises(PickleError, match="more memory than its own size"):
        read(data + 100 * again + b".", tmp_path)


def test_a_deep_tuple_is_no_name(tmp_path: Path) -> None:
    with pytest.raises(PickleError, match="keys are no names"):  # hash() of it would end the process
        read(b"\x80\x02})" + b"\x85" * 200_000 + b"K\x01s.", tmp_path)


def test_every_truncated_file_is_refused(tmp_path: Path) -> None:
    for data in (pickle.dumps({"a": VALUES, "b": [VALUES]}, 4), array_of_python_2(VALUES, "f4")):
        for end in range(len(data)):
            with pytest.raises(PickleError):
                read(data[:end], tmp_path)


@given(st.integers(2, 5), st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
@settings(deadline=None, max_examples=300)
def test_damage_gives_no_other_error(
    tmp_path_factory: pytest.TempPathFactory, protocol: int, changes: list[tuple[int, int]]
) -> None:
    data = bytearray(pickle.dumps({"a": VALUES, "b": [np.arange(3), "x"], "c": np.float32(1)}, protocol))
    for place, byte in changes:
        data[place % len(data)] = byte
    try:
        read(bytes(data), tmp_path_factory.getbasetemp())
    except PickleError as error:
        assert str(error)
