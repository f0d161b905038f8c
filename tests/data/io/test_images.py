"""One rule for each kind of image file, and an error that names the file for all that cannot be read."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from detkit.data.io import images
from detkit.data.io.images import ImageError, image_size, read_header, read_image

HEIGHT, WIDTH = 32, 48
LEFT, RIGHT = (200, 30, 60), (10, 250, 90)
SETTINGS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def image() -> Image.Image:
    """LEFT and RIGHT halves over a black bottom half: all eight orientations look different."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[: HEIGHT // 2, : WIDTH // 2] = LEFT
    pixels[: HEIGHT // 2, WIDTH // 2 :] = RIGHT
    return Image.fromarray(pixels)


def smooth_image() -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 255, (8, 12, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((96, 64), Image.Resampling.BICUBIC)


def assert_is_image(pixels: np.ndarray, tolerance: int = 0) -> None:
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    np.testing.assert_allclose(pixels.astype(int), np.asarray(image()).astype(int), atol=tolerance)


LOSSLESS = {"lossless": True}
BEST_JPEG = {"quality": 100, "subsampling": 0}


@pytest.mark.parametrize(
    ("name", "mode", "options", "tolerance"),
    [
        ("a.jpg", "RGB", BEST_JPEG, 3),
        ("progressive.jpg", "RGB", {**BEST_JPEG, "progressive": True}, 3),
        ("cmyk.jpg", "CMYK", BEST_JPEG, 3),
        ("cmyk.tif", "CMYK", {}, 0),
        ("a.png", "RGB", {}, 0),
        ("a.bmp", "RGB", {}, 0),
        ("a.webp", "RGB", LOSSLESS, 0),
        ("a.tif", "RGB", {}, 0),
        ("a.gif", "RGB", {}, 0),
        ("a.mpo", "RGB", BEST_JPEG, 3),
        ("wrong_suffix.jpg", "RGB", {"format": "PNG"}, 0),
    ],
)
def test_every_format_gives_the_same_rgb_image(
    tmp_path: Path, name: str, mode: str, options: dict[str, object], tolerance: int
) -> None:
    path = tmp_path / name
    image().convert(mode).save(path, **options)
    assert_is_image(read_image(path), tolerance)
    assert image_size(path) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("name", ["p.png", "p.gif", "p.bmp", "p.tif"])
def test_palette_is_resolved(tmp_path: Path, name: str) -> None:
    image().quantize(8).save(tmp_path / name)
    assert_is_image(read_image(tmp_path / name))


@pytest.mark.parametrize("name", ["g.jpg", "g.png", "g.bmp", "g.webp", "g.tif", "g.gif"])
def test_grey_becomes_three_equal_channels(tmp_path: Path, name: str) -> None:
    grey = image().convert("L")
    grey.save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
    pixels = read_image(tmp_path / name)
    assert (pixels[..., :1] == pixels).all()
    np.testing.assert_allclose(pixels[..., 0].astype(int), np.asarray(grey).astype(int), atol=3)


@pytest.mark.parametrize("name", ["1.png", "1.tif", "1.bmp"])
def test_one_bit_becomes_black_and_white(tmp_path: Path, name: str) -> None:
    image().convert("L").point(lambda value: 255 * (value > 100)).convert("1").save(tmp_path / name)
    pixels = read_image(tmp_path / name)
    assert pixels[2, 2].tolist() == [0, 0, 0]
    assert pixels[2, -2].tolist() == [255, 255, 255]


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "a.bmp"])
def test_alpha_is_dropped_and_stored_colours_stay(tmp_path: Path, name: str) -> None:
    rgba = image().convert("RGBA")
    rgba.putalpha(Image.linear_gradient("L").resize((WIDTH, HEIGHT)))
    options = {"lossless": True, "exact": True} if name.endswith("webp") else {}  # exact: keep colours under alpha 0
    rgba.save(tmp_path / name, **options)
    assert_is_image(read_image(tmp_path / name))


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.tif"])
def test_only_the_first_frame_is_read(tmp_path: Path, name: str) -> None:
    other = Image.new("RGB", (WIDTH, HEIGHT), (1, 2, 3))
    options = {"lossless": True} if name.endswith("webp") else {}
    image().save(tmp_path / name, save_all=True, append_images=[other], **options)
    assert_is_image(read_image(tmp_path / name))


# Where the corner pixels of the stored image end, by EXIF 2.3: what row 0 and column 0 of the file show.
@pytest.mark.parametrize(
    ("orientation", "top_left", "top_right", "bottom_left"),
    [
        (1, LEFT, RIGHT, 0),
        (2, RIGHT, LEFT, 0),
        (3, 0, 0, RIGHT),
        (4, 0, 0, LEFT),
        (5, LEFT, 0, RIGHT),
        (6, 0, LEFT, 0),
        (7, 0, RIGHT, 0),
        (8, RIGHT, 0, LEFT),
        (9, LEFT, RIGHT, 0),
    ],
)
@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.jpg", "a.tif"])
def test_exif_orientation_is_applied(
    tmp_path: Path, name: str, orientation: int, top_left: object, top_right: object, bottom_left: object
) -> None:
    path = tmp_path / name
    exif = Image.Exif()
    exif[0x0112] = orientation
    image().save(path, exif=exif, **(BEST_JPEG if name == "a.jpg" else LOSSLESS if name == "a.webp" else {}))
    pixels = read_image(path)
    assert image_size(path) == pixels.shape[:2]
    assert read_header(path).is_sideways == (5 <= orientation <= 8 and name != "a.tif")
    for expected, row, column in ((top_left, 2, 2), (top_right, 2, -3), (bottom_left, -3, 2)):
        np.testing.assert_allclose(pixels[row, column].astype(int), expected or (0, 0, 0), atol=3)


def test_broken_exif_means_upright(tmp_path: Path) -> None:
    image().save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff", **BEST_JPEG)
    assert_is_image(read_image(tmp_path / "a.jpg"), tolerance=3)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp", "a.webp", "a.tif", "a.gif"])
@pytest.mark.parametrize("kept", [0.01, 0.3, 0.7, 0.97])
def test_a_file_cut_short_is_an_error(tmp_path: Path, name: str, kept: float) -> None:
    path = tmp_path / name
    smooth_image().save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ImageError, match=name.replace(".", r"\.")):
        read_image(path)


def test_a_jpeg_is_never_silently_grey_wherever_it_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    smooth_image().save(path)
    data, whole = path.read_bytes(), read_image(path)
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        try:
            pixels = read_image(path)
        except ImageError:
            continue
        np.testing.assert_array_equal(pixels, whole)  # only the end mark is missing


@pytest.mark.parametrize("tail", [b"\0" * 10, b"\n", b"appended by a camera"])
def test_bytes_behind_a_jpeg_do_no_harm(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "a.jpg"
    image().save(path, **BEST_JPEG)
    path.write_bytes(path.read_bytes() + tail)
    assert_is_image(read_image(path), tolerance=3)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "empty"), (b"<html>404 not found</html>", "not an image"), (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image")],
)
def test_what_is_no_image_is_an_error(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    for read in (read_image, image_size):
        with pytest.raises(ImageError, match=rf"a\.jpg: .*{message}"):
            read(path)


def test_what_is_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.jpg: cannot be opened \(No such file"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(ImageError, match="not a regular file"):
        read_image(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="not a regular file"):
        read_image(tmp_path / "pipe.jpg")


def test_too_many_pixels_are_refused_from_the_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    image().save(path)
    monkeypatch.setattr(images, "MAX_PIXELS", HEIGHT * WIDTH)
    read_image(path)
    monkeypatch.setattr(images, "MAX_PIXELS", HEIGHT * WIDTH - 1)
    monkeypatch.setattr(images, "_decode_opencv", lambda *_: pytest.fail("must not decode"))
    with pytest.raises(ImageError, match=r"a\.png: has 48 x 32 pixels, 1 to 1,535 are allowed"):
        read_image(path)


def test_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    data = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(data, "PNG")  # 400 Mpx in some 50 kB
    path = tmp_path / "bomb.png"
    path.write_bytes(data.getvalue())
    with pytest.raises(ImageError, match=r"bomb\.png: more than 100,000,000 pixels"):
        image_size(path)


def seeds() -> list[bytes]:
    found = []
    for kind in ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF"):
        data = io.BytesIO()
        image().save(data, kind)
        found.append(data.getvalue())
    return found


@SETTINGS
@given(st.sampled_from(seeds()), st.data())
def test_damaged_files_give_an_image_or_an_image_error(tmp_path: Path, seed: bytes, data: st.DataObject) -> None:
    content = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "fuzz"
    path.write_bytes(content)
    try:
        assert read_image(path).shape[:2] == image_size(path)
    except ImageError as error:
        assert str(error).startswith(str(path))
