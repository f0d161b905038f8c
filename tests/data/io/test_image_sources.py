"""All that stands for an image, and that the same image is the same array in every form."""

import io
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from PIL import Image

from detkit.data.io.image_sources import images_below, is_address, is_one, listed, open_image, pixels_of
from detkit.data.io.images import ImageError

PIXELS = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("b.png", "a.png", "deep/er/c.PNG"):
        Image.fromarray(PIXELS).save(tmp_path / name)
    for name in ("notes.txt", "._b.png"):
        (tmp_path / name).write_text("no image")
    return tmp_path


def encoded(pixels: np.ndarray = PIXELS) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("form", "name"),
    [
        (PIXELS, "array"),
        (PIXELS[:, ::-1][:, ::-1], "array"),
        (torch.from_numpy(PIXELS).permute(2, 0, 1), "tensor"),
        (Image.fromarray(PIXELS), "PIL image"),
        (Image.fromarray(np.dstack([PIXELS, PIXELS[..., :1]])), "PIL image"),
        (encoded(), "bytes"),
    ],
)
def test_every_form_in_memory_is_the_same_image(form: object, name: str) -> None:
    image = open_image(form)
    assert image.name == name and image.size == (5, 4)
    np.testing.assert_array_equal(image.pixels, PIXELS)
    np.testing.assert_array_equal(pixels_of(image.origin), PIXELS)


def test_a_file_by_its_path_and_a_grey_image(folder: Path) -> None:
    for path in (folder / "a.png", str(folder / "a.png")):
        image = open_image(path)
        assert (image.name, image.origin) == (str(path), Path(path))
        np.testing.assert_array_equal(image.pixels, PIXELS)
        np.testing.assert_array_equal(pixels_of(image.origin), PIXELS)
    grey = PIXELS[..., 0]
    for form in (grey, Image.fromarray(grey), encoded(grey)):
        np.testing.assert_array_equal(open_image(form).pixels, np.dstack([grey] * 3))


def test_deep_images_in_every_form_by_the_same_range(tmp_path: Path) -> None:
    values = np.array([[0, 1000, 1500], [2500, 3000, 4095]], np.uint16)
    expected = np.dstack([[[0, 0, 64], [191, 255, 255]]] * 3)
    path = tmp_path / "a.png"
    path.write_bytes(encoded(values))
    big_endian = Image.frombytes("I;16B", (3, 2), values.byteswap().tobytes())
    deep = [Image.fromarray(values.astype(kind)) for kind in ("uint16", "int32", "float32")]
    for form in (path, path.read_bytes(), values, np.dstack([values] * 3), big_endian, *deep):
        image = open_image(form, (1000, 3000))
        np.testing.assert_array_equal(image.pixels, expected)
        np.testing.assert_array_equal(pixels_of(image.origin, image.deep_range), expected)
    with pytest.warns(UserWarning, match=r"data\.deep_range=\[LOW, HIGH\]"):
        assert open_image(values).pixels[1, 2, 0] == 255


def test_an_image_by_its_address(folder: Path) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        image = open_image(f"{address}/a.png")
        with pytest.raises(ImageError, match=f"^{address}/notes.txt: is not an image"):
            open_image(f"{address}/notes.txt")
        server.shutdown()
    assert image.name == f"{address}/a.png"
    np.testing.assert_array_equal(pixels_of(image.origin), PIXELS)  # without the server


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (
            np.zeros((8, 8, 4), np.uint8),
            r"array \(8, 8, 4\) uint8: expected \(H, W, 3\) or \(H, W\) of uint8 or uint16",
        ),
        (np.zeros((8, 8, 1), np.uint8), r"array \(8, 8, 1\)"),
        (np.zeros((2, 8, 8, 3), np.uint8), r"array \(2, 8, 8, 3\)"),
        (np.zeros(8, np.uint8), r"array \(8,\)"),
        (np.zeros((8, 8, 3), np.float32), "float32: expected"),
        (np.zeros((0, 8, 3), np.uint8), "array: an image of 0 x 8 px"),
        (torch.zeros(8, 8, 3, dtype=torch.uint8), r"tensor \(8, 8, 3\).*expected \(3, H, W\)"),
        (torch.zeros(3, 8, 8), "float32: expected"),
        (torch.zeros(3, 8, 0, dtype=torch.uint8), "tensor: an image of 8 x 0 px"),
        (b"", "^bytes: the file is empty"),
        (b"no image", "^bytes: is not an image"),
        (encoded()[:50], "^bytes: "),
        (np.zeros((0, 8), np.uint16), "array: an image of 0 x 8 px"),
        (Image.open(io.BytesIO(encoded()[:50])), "^PIL image: cannot be decoded"),
        ("missing.jpg", "^missing.jpg: cannot be opened"),
        ("ftp://example.org/a.jpg", "^ftp://example.org/a.jpg: expected a path, or an address that begins with http"),
        (None, "^NoneType: expected a path"),
        ([PIXELS], "^list: expected a path"),
    ],
)
def test_what_is_no_image(form: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_image(form)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("http://a/b.jpg", True), ("HTTPS://a/b.jpg", True), ("a/b.jpg", False), ("/http:/a", False), ("c:a", False)],
)
def test_what_is_an_address(text: str, expected: bool) -> None:
    assert is_address(text) is expected


def test_one_or_many(folder: Path) -> None:
    one = (
        folder / "a.png",
        str(folder / "a.png"),
        "missing.jpg",
        "http://a/b/",
        b"",
        PIXELS,
        torch.zeros(3, 2, 2),
        None,
    )
    many = (folder, str(folder), [], (PIXELS,), iter([PIXELS]), {folder / "a.png"})
    assert all(is_one(form) for form in one)
    assert not any(is_one(form) for form in many)


def test_folders_are_listed_by_name_wherever_they_stand(folder: Path) -> None:
    inside = [folder / "a.png", folder / "b.png", folder / "deep/er/c.PNG"]
    assert images_below(folder) == listed(folder) == listed([str(folder)]) == inside
    assert listed((PIXELS, folder / "deep", "x.jpg")) == [PIXELS, inside[2], "x.jpg"]
    assert listed(None) == [None] and listed([]) == []
    with pytest.raises(ValueError, match="no images in this folder"):
        (folder / "empty").mkdir()
        listed(folder / "empty")


def test_a_generator_is_read_as_it_is_needed() -> None:
    def endless():
        while True:
            yield PIXELS

    images = listed(endless())
    assert [next(images) is PIXELS for _ in range(3)] == [True] * 3
