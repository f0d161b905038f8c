"""Image files to RGB arrays, by one rule for every kind of file, and an error that names the file for all others.

Images come out as viewers show them: turned by their EXIF orientation, first frame only, 8 bits, three channels.
Alpha is dropped (the stored colours stay), as OpenCV and Pillow do; colour profiles are not applied.
Pillow reads the header, which is cheap; OpenCV decodes what it decodes right and fast, Pillow the rest.
Of deep images (deep_images.py) a range of values becomes 0..255; which, is for the caller to say.
"""

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from detkit.data.io.deep_images import AskedRange, Stored, scaled
from detkit.data.io.image_depth import Depth, UnreadDepth, png_depth, read_tiff
from detkit.structures import Size

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"})
MAX_PIXELS = 100_000_000  # a decoded RGB image then takes at most 300 MB
_MAX_BYTES = 8 * MAX_PIXELS  # no format stores more than 16 bits x 4 channels a pixel and is still read here

# Pillow has readers for many more formats, and some start other programs (EPS): none but these is ever tried.
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF")
# OpenCV gets CMYK off by one, cannot turn a TIFF, darkens a TIFF by its alpha, and paints a clear GIF pixel black.
_OPENCV_FORMATS = frozenset({"JPEG", "MPO", "PNG", "BMP", "WEBP"})
_JPEG_FORMATS = frozenset({"JPEG", "MPO"})  # MPO: a JPEG with further images behind it, from phones
_JPEG_END = b"\xff\xd9"
_SIDEWAYS = frozenset({5, 6, 7, 8})  # EXIF orientations that swap width and height


class ImageError(ValueError):
    """An image file that cannot be read; the message starts with the path and says what to do."""


@dataclass(frozen=True)
class ImageHeader:
    format: str  # Pillow's name
    mode: str  # Pillow's name of the kind of pixel
    stored_size: Size
    orientation: int  # EXIF: 1 is upright, 1..8
    deep: Depth | None = None  # None: 8 bits a channel or fewer

    @property
    def is_sideways(self) -> bool:
        return self.orientation in _SIDEWAYS

    @property
    def size(self) -> Size:
        """(height, width) of the image as decoded."""
        return self.stored_size[::-1] if self.is_sideways else self.stored_size


def image_size(path: Path) -> Size:
    """(height, width) as `read_image` will return it, from the header alone."""
    return read_header(path).size


def read_image(path: Path, deep_range: AskedRange = None) -> NDArray[np.uint8]:
    """Decode the image: (H, W, 3) RGB, contiguous and writable. Raises ImageError.

    `deep_range`: the values of a deep image that become 0 and 255.
    """
    header = read_header(path)
    return _as_rgb(_decode(path, header, header.orientation), header, deep_range)


def read_image_of_size(path: Path, size: Size, deep_range: AskedRange = None) -> NDArray[np.uint8]:
    """Decode the image as (height, width) `size`, in which its objects are annotated: (H, W, 3) RGB.

    Turned by its EXIF orientation or not, whichever has that size. Raises ImageError where neither has.
    """
    header = read_header(path)
    return _as_rgb(_decode(path, header, _orientation_of(path, header, size)), header, deep_range)


def check_image_of_size(path: Path, size: Size) -> None:
    """Raise ImageError where read_image_of_size would for what the header says; quick, nothing is decoded."""
    _orientation_of(path, read_header(path), size)


def read_stored_of_size(path: Path, size: Size) -> Stored:
    """As read_image_of_size, but with a deep image's own values: (H, W, 3), or (H, W, 1) where it is deep and grey."""
    header = read_header(path)
    return _decode(path, header, _orientation_of(path, header, size))


def _orientation_of(path: Path, header: ImageHeader, size: Size) -> int:
    """The orientation by which the image has this size."""
    if size not in (header.size, header.stored_size):
        has, wanted = (f"{width} x {height}" for height, width in (header.size, size))
        raise ImageError(f"{path}: is {has} px, its annotations are for {wanted}; restore the image or mend them")
    return header.orientation if size == header.size else 1


def _as_rgb(stored: Stored, header: ImageHeader, deep_range: AskedRange) -> NDArray[np.uint8]:
    if header.deep is None:
        return stored
    pixels = scaled(stored, deep_range)
    if header.deep.is_inverted:
        np.subtract(255, pixels, out=pixels)
    return pixels if pixels.shape[2] == 3 else pixels.repeat(3, axis=2)


def _decode(path: Path, header: ImageHeader, orientation: int) -> Stored:
    pixels: Stored | None
    if header.deep is not None:
        pixels = _decode_deep(path, header.deep)
    else:
        pixels = _decode_opencv(path, header) if header.format in _OPENCV_FORMATS and header.mode != "CMYK" else None
        if pixels is None:  # Pillow reads it, or says what is wrong with it
            pixels = _decode_pillow(path)
    if pixels.shape[:2] != header.stored_size:
        raise ImageError(f"{path}: its header says {header.stored_size}, it holds {pixels.shape[:2]}; save it anew")
    return _turn_upright(pixels, orientation)


def read_header(path: Path) -> ImageHeader:
    """Kind, size and orientation, without decoding; refuses images above MAX_PIXELS. Raises ImageError."""
    _check_file(path)
    try:
        header = _read_header(path)
    except UnreadDepth as error:
        raise ImageError(f"{path}: {error}") from None
    except UnidentifiedImageError:
        kinds = ", ".join(_FORMATS)
        raise ImageError(f"{path}: is not an image that can be read ({kinds}); replace the file") from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path}: more than {MAX_PIXELS:,} pixels ({error}); make it smaller") from None
    except Exception as error:  # Pillow's readers raise nearly any type on a broken header
        raise ImageError(f"{path}: its header is broken ({error}); replace the file") from error
    height, width = header.stored_size
    if not 0 < height * width <= MAX_PIXELS:
        raise ImageError(f"{path}: has {width} x {height} pixels, 1 to {MAX_PIXELS:,} are allowed; make it smaller")
    if header.deep is not None and height * width * header.deep.pixel_bytes > _MAX_BYTES:
        raise ImageError(f"{path}: has more than {_MAX_BYTES:,} bytes of pixels; make it smaller")
    return header


def _read_header(path: Path) -> ImageHeader:
    with path.open("rb") as file:
        tiff = read_tiff(file)
        if tiff is not None and tiff.deep is not None:  # Pillow opens few of these
            return ImageHeader("TIFF", "I;16" if tiff.deep.channels == 1 else "RGB", tiff.size, 1, tiff.deep)
        file.seek(0)
        deep = png_depth(file.read(26))
        file.seek(0)
        with Image.open(file, formats=_FORMATS) as image:
            width, height = image.size
            return ImageHeader(image.format or "", image.mode, (height, width), _orientation(image), deep)


def _check_file(path: Path) -> None:
    try:
        info = path.stat()
    except OSError as error:
        raise ImageError(f"{path}: cannot be opened ({error.strerror}); restore the file") from None
    if not stat.S_ISREG(info.st_mode):  # reading a pipe would wait for ever
        raise ImageError(f"{path}: is not a regular file; put an image there")
    if info.st_size == 0:
        raise ImageError(f"{path}: the file is empty; replace it")
    if info.st_size > _MAX_BYTES:
        raise ImageError(f"{path}: has {info.st_size:,} bytes, at most {_MAX_BYTES:,} are read; make it smaller")


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":
        return 1  # Pillow turns these itself, size and pixels
    exif = Image.Exif()  # not image.getexif(): that decodes a PNG
    try:
        exif.load(image.info.get("exif", b""))
        orientation = exif.get(ExifTags.Base.Orientation, 1)
    except Exception:  # the block of camera notes is broken, of which Pillow raises nearly any type: viewers ignore it
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _decode_opencv(path: Path, header: ImageHeader) -> NDArray[np.uint8] | None:
    data = _read_bytes(path)
    if header.format in _JPEG_FORMATS and not data.endswith(_JPEG_END):
        return None  # cut short, or something appended: OpenCV would paint the missing part grey, Pillow can tell
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels: NDArray[Any] | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return None if pixels is None else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels).astype(np.uint8, copy=False)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}); restore the file") from None


def _decode_pillow(path: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(path, formats=_FORMATS) as image:
            image.load()
            return np.array(image.convert("RGB"))
    except Exception as error:  # Pillow's readers raise nearly any type on broken data
        raise ImageError(f"{path}: cannot be decoded ({error}); replace the file") from error


def _decode_deep(path: Path, depth: Depth) -> Stored:
    """(H, W, 1) or (H, W, 3) RGB; OpenCV turns a TIFF by its orientation, as Pillow does, and no PNG."""
    try:
        pixels: Stored | None = cv2.imdecode(np.frombuffer(_read_bytes(path), np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is None and depth.channels == 1:  # some ways of compressing are Pillow's alone
        pixels = _decode_deep_pillow(path)
    if pixels is None:
        raise ImageError(f"{path}: cannot be decoded ({depth.describe()}); replace the file, or save it uncompressed")
    if pixels.ndim == 2:
        return pixels[..., None]
    return np.ascontiguousarray(pixels[..., 2::-1])  # BGR, or BGRA


def _decode_deep_pillow(path: Path) -> Stored:
    try:
        with Image.open(path, formats=_FORMATS) as image:
            values = np.asarray(image)
            return values.astype(values.dtype.newbyteorder("="))
    except Exception as error:  # as above
        raise ImageError(f"{path}: cannot be decoded ({error}); replace the file") from error


def _turn_upright(pixels: Stored, orientation: int) -> Stored:
    """Undo the EXIF orientation (EXIF 2.3, tag 0x0112)."""
    turns = {
        2: lambda: pixels[:, ::-1],
        3: lambda: pixels[::-1, ::-1],
        4: lambda: pixels[::-1],
        5: lambda: pixels.transpose(1, 0, 2),
        6: lambda: np.rot90(pixels, -1),
        7: lambda: pixels[::-1, ::-1].transpose(1, 0, 2),
        8: lambda: np.rot90(pixels),
    }
    return np.ascontiguousarray(turns[orientation]()) if orientation in turns else pixels
