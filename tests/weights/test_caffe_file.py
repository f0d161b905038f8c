"""Reading .caffemodel files: all forms in which weights are written, and files that are damaged or made to harm."""

import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from detkit.weights.caffe_file import read_caffemodel
from tests.weights import caffe_writer as w

RNG = np.random.default_rng(0)
CONV = [RNG.normal(size=(3, 2, 5, 4)).astype(np.float32), np.arange(3, dtype=np.float32)]
FC = [RNG.normal(size=(7, 6)).astype(np.float32), np.arange(7, dtype=np.float32)]


def read(tmp_path: Path, content: bytes) -> dict[str, tuple[str, list[NDArray[np.float32]]]]:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(content)
    return read_caffemodel(path).layers


@pytest.mark.parametrize("old", [False, True])
def test_what_is_written_is_read(tmp_path: Path, old: bool) -> None:
    path = w.write_caffemodel(tmp_path / "net.caffemodel", {"conv1": CONV, "fc6": FC}, old)
    model = read_caffemodel(path)
    assert model.name == "net" and list(model.layers) == ["conv1", "fc6"]  # relu has no weights
    for name, blobs, kind in (("conv1", CONV, "Convolution"), ("fc6", FC, "InnerProduct")):
        assert model.layers[name][0] == kind
        for found, wanted in zip(model.layers[name][1], blobs, strict=True):
            assert found.dtype == np.float32 and np.array_equal(found, wanted)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("double", [True, False])
def test_numbers_packed_and_one_by_one(tmp_path: Path, packed: bool, double: bool) -> None:
    values = RNG.normal(size=(4, 9)).astype(np.float32)
    written = w.chunk(7, w.blob(values, packed, double))
    layers = read(tmp_path, w.chunk(100, w.chunk(1, b"fc") + written))
    assert np.array_equal(layers["fc"][1][0], values)


def test_numbers_in_several_pieces_and_a_shape_that_is_packed(tmp_path: Path) -> None:
    values = np.arange(10, dtype=np.float32)
    pieces = w.floats(values[:3]) + w.floats(values[3:6], packed=False) + w.floats(values[6:])
    shape = w.chunk(7, w.number(1, 5) + w.number(1, 2))  # not packed: a field for each side
    unknown = w.number(77, 1) + w.varint(78 << 3 | 1) + b"12345678"
    layers = read(tmp_path, w.chunk(100, w.chunk(1, b"fc") + w.chunk(7, unknown + pieces + shape)))
    assert np.array_equal(layers["fc"][1][0], values.reshape(5, 2))


def test_old_shapes_lose_the_axes_that_their_layer_has_not(tmp_path: Path) -> None:
    one = [np.ones((1, 2, 3, 3), np.float32), np.ones(1, np.float32)]  # a convolution of one channel keeps its axis
    layers = read(tmp_path, w.caffemodel({"conv": one, "fc": [np.ones((1, 4), np.float32)]}, old=True))
    assert [blob.shape for blob in layers["conv"][1]] == [(1, 2, 3, 3), (1,)]
    assert layers["fc"][1][0].shape == (1, 4)


WHOLE = w.caffemodel({"conv1": CONV, "fc6": FC})


@pytest.mark.parametrize("size", [*range(1, 40), *range(40, len(WHOLE) - 30, 37)])
def test_a_file_that_was_cut_is_an_error_or_lacks_layers(tmp_path: Path, size: int) -> None:
    try:
        layers = read(tmp_path, WHOLE[:size])
    except ValueError as error:
        assert "net.caffemodel: not a whole .caffemodel: " in str(error) and "\n" not in str(error)
    else:  # cut between two layers
        assert set(layers) < {"conv1", "fc6"}


def shaped(*shape: int, count: int = 4) -> bytes:
    dims = w.chunk(7, w.chunk(1, b"".join(w.varint(dim) for dim in shape)))
    return w.chunk(100, w.chunk(1, b"fc") + w.chunk(7, dims + w.floats(np.zeros(count, np.float32))))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (shaped(2, 3), r"blob 0 of fc: 4 numbers for a shape of \[2, 3\] at byte 9"),
        (shaped(2**40, 2**40), "4 numbers for a shape of"),  # nothing of that size is made
        (shaped(-1, 4), "4 numbers for a shape of"),
        (shaped(*[1] * 40), "a shape of more than 32 axes"),
        (shaped(1) + shaped(1), "4 numbers for a shape of"),
        (shaped(4) + shaped(4), "a second layer 'fc' with weights"),
        (w.chunk(100, w.chunk(7, w.blob(FC[0]))), "weights of a layer without a name"),
        (w.chunk(100, w.chunk(1, b"a\nb") + w.chunk(7, b"")), "cannot be printed"),
        (w.chunk(100, w.chunk(1, b"\xff\xfe")), "a name that is no text"),
        (w.chunk(100, w.chunk(1, b"x" * 600)), "a name of 600 bytes"),
        (w.chunk(100, w.chunk(1, b"fc") + w.chunk(7, w.chunk(5, b"123"))), "3 bytes of numbers of 4 bytes each"),
        (w.varint(100 << 3 | 2) + w.varint(2**50) + b"abc", "field 100 ends .* bytes behind what is there at byte 0"),
        (b"\x80" * 20, "a number that does not end at byte 0"),
        (b"\x00\x01", "a field with number 0"),
        (w.varint(5 << 3 | 3), "wire type 3"),
        (w.chunk(1, b"net"), "there are no layers with weights"),
        (struct.pack("<Q", 2) + b'{"weights": {}}', "not a whole .caffemodel"),
        (b"", "the file is empty"),
    ],
)
def test_damage_is_one_line_with_the_place(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read(tmp_path, content)
    assert str(error.value).startswith(f"{tmp_path}/net.caffemodel: ") and "\n" not in str(error.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        read_caffemodel(tmp_path / "net.caffemodel")
