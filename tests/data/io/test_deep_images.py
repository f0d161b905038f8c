"""A range of values becomes 0..255, by hand for every kind of deep file; a file without a known range has its own."""

import struct
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from detkit.data.io import images
from detkit.data.io.deep_images import as_range, range_of, sampled, scaled
from detkit.data.io.images import ImageError, read_header, read_image, read_image_of_size, read_stored_of_size

# 1000 becomes 0 and 3000 becomes 255: 1500 is a quarter of the way (63.75) and 2500 three quarters (191.25).
VALUES = [[0, 1000, 1500], [2500, 3000, 4095]]
EXPECTED = [[0, 0, 64], [191, 255, 255]]
RANGE = (1000.0, 3000.0)


def write(path: Path, values: NDArray[np.generic]) -> Path:
    """By OpenCV, which takes BGR."""
    assert cv2.imwrite(str(path), values if values.ndim == 2 else values[..., ::-1])
    return path


def coloured(values: object, dtype: str) -> NDArray[np.generic]:
    """(2, 3, 3) each channel another: red the values, green them mirrored, blue them upside down."""
    grey = np.array(values)
    return np.stack([grey, grey[:, ::-1], grey[::-1]], axis=2).astype(dtype)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("a.png", "uint16"),
        ("a.tif", "uint16"),
        ("a.tif", "int16"),
        ("a.tif", "int32"),
        ("a.tif", "float32"),
        ("a.tif", "float64"),
    ],
)
def test_a_range_becomes_8_bits(tmp_path: Path, name: str, dtype: str) -> None:
    grey = read_image(write(tmp_path / f"grey_{name}", np.array(VALUES).astype(dtype)), RANGE)
    assert grey.dtype == np.uint8
    assert grey.flags.c_contiguous
    assert grey.flags.writeable
    np.testing.assert_array_equal(grey, np.dstack([EXPECTED] * 3))
    path = write(tmp_path / f"colour_{name}", coloured(VALUES, dtype))
    np.testing.assert_array_equal(read_image(path, RANGE), coloured(EXPECTED, "uint8"))
    np.testing.assert_array_equal(read_stored_of_size(path, (2, 3)), coloured(VALUES, dtype))


def test_alpha_is_dropped_and_stored_colours_stay(tmp_path: Path) -> None:
    colour = coloured(VALUES, "uint16")
    alpha = np.full((2, 3, 1), 7, np.uint16)
    for name in ("a.png", "a.tif"):
        assert cv2.imwrite(str(tmp_path / name), np.concatenate([colour[..., ::-1], alpha], axis=2))
        np.testing.assert_array_equal(read_image(tmp_path / name, RANGE), coloured(EXPECTED, "uint8"))


def test_signed_values_below_zero() -> None:
    stored = np.array([[[-100], [-50], [0], [100]]], np.int16)  # CT: air is -1000, water 0
    assert scaled(stored, (-100, 0)).ravel().tolist() == [0, 128, 255, 255]


def tiff(width: int, rows: list[list[int]], order: str, photometric: int = 1, **tags: int) -> bytes:
    """A grey 16-bit TIFF by hand: header, one directory, one strip."""
    values = [value for row in rows for value in row]
    entries = {256: width, 257: len(rows), 258: 16, 259: 1, 262: photometric, 277: 1, 278: len(rows)}
    entries |= {279: 2 * len(values)} | {int(tag[1:]): value for tag, value in tags.items()}
    size = 8 + 2 + 12 * (len(entries) + 1) + 4
    entries[273] = size
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8)
    body = b"".join(struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in sorted(entries.items()))
    data = struct.pack(f"{order}{len(values)}H", *values)
    return head + struct.pack(f"{order}H", len(entries)) + body + b"\0" * 4 + data


@pytest.mark.parametrize("order", ["<", ">"])
def test_either_byte_order(tmp_path: Path, order: str) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(3, VALUES, order))
    np.testing.assert_array_equal(read_image(path, RANGE)[..., 0], EXPECTED)


def test_white_is_zero(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(3, VALUES, "<", photometric=0))
    np.testing.assert_array_equal(read_image(path, RANGE)[..., 0], 255 - np.array(EXPECTED))


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (2, [[64, 0, 0], [255, 255, 191]]),
        (3, [[255, 255, 191], [64, 0, 0]]),
        (6, [[191, 0], [255, 0], [255, 64]]),
        (8, [[64, 255], [0, 255], [0, 191]]),
    ],
)
def test_orientation_is_applied(tmp_path: Path, orientation: int, expected: list[list[int]]) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(3, VALUES, "<", t274=orientation))
    np.testing.assert_array_equal(read_image(path, RANGE)[..., 0], expected)
    assert read_header(path).size == np.shape(expected)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.array(VALUES, np.uint16)).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", RANGE)[..., 0], expected)
    np.testing.assert_array_equal(read_image_of_size(tmp_path / "a.png", (2, 3), RANGE).shape, (2, 3, 3))


def test_values_that_are_not_finite() -> None:
    stored = np.array([[[np.nan], [-np.inf], [np.inf], [0.5], [0.0], [1.0]]], np.float32)
    assert scaled(stored, (0, 1)).ravel().tolist() == [0, 0, 255, 128, 0, 255]
    assert scaled(stored, "own").ravel().tolist() == [0, 0, 255, 128, 0, 255]
    assert scaled(np.full((2, 2, 1), np.nan, np.float32), "own").tolist() == [[[0], [0]], [[0], [0]]]


def test_eight_bits_are_as_they_are(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.uint8).reshape(2, 3)
    for name in ("a.png", "a.tif", "a.bmp"):
        np.testing.assert_array_equal(read_image(write(tmp_path / name, values), RANGE)[..., 0], values)


def test_a_range_of_its_own_is_told_once_and_quietly_where_it_is_asked_for(tmp_path: Path) -> None:
    thermal = np.linspace(7000, 9000, 2001).round().astype(np.uint16).reshape(3, 667)
    thermal[0, 0] = 65535  # a dead pixel
    path = write(tmp_path / "a.png", thermal)
    with pytest.warns(UserWarning, match=r"no range is known .* state one with data\.deep_range=\[LOW, HIGH\]"):
        pixels = read_image(path)
    assert pixels[-1, -1, 0] == 255
    assert abs(int(pixels[1, 333, 0]) - 128) <= 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read_image(path, "own"), pixels)


def test_ranges_by_hand() -> None:
    thousand = np.arange(1001.0)
    assert range_of(thousand) == (1.0, 999.0)  # 0.1% and 99.9%
    assert range_of(np.array([0.0, 1, 2, 3, 4, 5])) == (0.0, 5.0)  # a file of labels
    assert range_of(np.array([100.0] * 9999 + [4000.0])) == (100.0, 4000.0)  # nearly all equal: the least and most
    assert range_of(np.full(50, 700.0)) == (700.0, 1400.0)
    assert range_of(np.zeros(50)) == (0.0, 1.0)
    assert range_of(np.zeros(0)) == (0.0, 1.0)
    assert as_range(0.1 + 0.2, 1 / 3) == (0.3, 0.333333)


def test_a_large_image_is_sampled_evenly() -> None:
    stored = np.arange(1000 * 900, dtype=np.int32).reshape(1000, 900, 1)
    values = sampled(stored, 1000)
    assert 900 <= len(values) <= 1100
    assert abs(values.mean() / stored.mean() - 1) < 0.05


@given(
    st.lists(st.integers(-(2**15), 2**15 - 1), min_size=1, max_size=50),
    st.tuples(st.integers(-40_000, 40_000), st.integers(1, 70_000)),
)
def test_the_table_of_16_bits_is_the_formula_and_keeps_the_order(values: list[int], span: tuple[int, int]) -> None:
    deep_range = (float(span[0]), float(span[0] + span[1]))
    short, long = (np.sort(np.array(values, dtype)).reshape(1, -1, 1) for dtype in ("int16", "int32"))
    np.testing.assert_array_equal(scaled(short, deep_range), scaled(long, deep_range))
    assert (np.diff(scaled(short, deep_range).ravel().astype(int)) >= 0).all()


def test_deep_files_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(3, VALUES, "<", t339=3))
    with pytest.raises(ImageError, match=r"a\.tif: has 1 channel of 16 bits, float; save it with 32 bits"):
        read_image(path, RANGE)
    path.write_bytes(
        tiff(3, VALUES, "<").replace(struct.pack("<HHIH", 277, 3, 1, 1), struct.pack("<HHIH", 277, 3, 1, 5))
    )
    with pytest.raises(ImageError, match=r"has 5 channels of 16 bits, unsigned; save it with 1, 3 or 4 channels"):
        read_image(path, RANGE)
    planes = tiff(3, VALUES, "<", t284=2).replace(
        struct.pack("<HHIH", 277, 3, 1, 1), struct.pack("<HHIH", 277, 3, 1, 3)
    )
    path.write_bytes(planes)
    with pytest.raises(ImageError, match=r"stored one after the other; save it with channels interleaved"):
        read_image(path, RANGE)
    write(path, coloured(VALUES, "float64"))
    monkeypatch.setattr(images, "_MAX_BYTES", 600)
    monkeypatch.setattr(images, "_check_file", lambda path: None)
    assert read_image(path, RANGE).shape == (2, 3, 3)
    monkeypatch.setattr(images, "_MAX_BYTES", 6 * 3 * 8 - 1)
    with pytest.raises(ImageError, match=r"has more than 143 bytes of pixels; make it smaller"):
        read_image(path, RANGE)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("kept", [0.05, 0.3, 0.7, 0.95])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_file_cut_short_is_an_error(tmp_path: Path, name: str, kept: float, channels: int) -> None:
    noise = np.random.default_rng(0).integers(0, 4096, (64, 96, channels), dtype=np.uint16)
    path = write(tmp_path / name, noise)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ImageError, match=name.replace(".", r"\.")):
        read_image(path, RANGE)


def deep_seeds() -> list[bytes]:
    found = [tiff(3, VALUES, "<"), tiff(3, VALUES, ">")]
    for suffix in (".png", ".tif"):
        for values in (np.array(VALUES, np.uint16), coloured(VALUES, "uint16")):
            found.append(cv2.imencode(suffix, values)[1].tobytes())
    return [*found, cv2.imencode(".tif", coloured(VALUES, "float32"))[1].tobytes()]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(deep_seeds()), st.data())
def test_damaged_files_give_an_image_or_an_image_error(tmp_path: Path, seed: bytes, data: st.DataObject) -> None:
    content = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "fuzz"
    path.write_bytes(content)
    try:
        assert read_image(path, RANGE).shape[:2] == read_header(path).size
    except ImageError as error:
        assert str(error).startswith(str(path))
