"""What a detector can be asked to look at: files, folders, web addresses and images in memory, as RGB arrays."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from detkit.data.io.deep_images import DeepRange, scaled
from detkit.data.io.fetch import fetch
from detkit.data.io.images import SUFFIXES, ImageError, read_image
from detkit.structures import Size

Pixels = NDArray[np.uint8]  # (H, W, 3) RGB
# Of one image; a folder is many. open_image checks the types of arrays: OpenCV's own do not say them.
ImageSource = str | Path | bytes | Image.Image | NDArray[Any] | Tensor

_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_WEB = ("http", "https")
_TAKEN = (
    "a path, the bytes of a file, a PIL image, an array (H, W, 3) or (H, W), or a tensor (3, H, W), of uint8 RGB, "
    "or several of these in a list"
)


@dataclass(frozen=True, eq=False)
class OpenImage:
    name: str  # its path or address, or what kind of object it was
    origin: Path | bytes | Pixels  # what its pixels can be had from again
    pixels: Pixels
    deep_range: DeepRange | None = None  # that its file was read by, if it is deep

    @property
    def size(self) -> Size:
        height, width = self.pixels.shape[:2]
        return height, width


def open_image(source: ImageSource, deep_range: DeepRange | None = None) -> OpenImage:
    """Decode, or fetch and decode, one image.

    A file is turned by its EXIF orientation, as viewers do; a PIL image is taken as it is in memory.
    `deep_range`: the values that become 0 and 255 where a channel has more than 8 bits.
    Raises ValueError, which starts with the image's name, for what is no image.
    """
    match source:
        case str() if is_address(source):
            data = fetch(source)
            return OpenImage(source, data, _decode(data, source, deep_range), deep_range)
        case str() | Path():
            return OpenImage(str(source), Path(source), read_image(Path(source), deep_range), deep_range)
        case bytes():
            return OpenImage("bytes", source, _decode(source, "bytes", deep_range), deep_range)
        case Image.Image():
            return _in_memory(_from_pil(source, deep_range), "PIL image")
        case np.ndarray():
            if source.dtype not in (np.uint8, np.uint16) or source.shape[2:] not in ((), (3,)) or source.ndim < 2:
                raise ValueError(
                    f"array {source.shape} {source.dtype}: expected (H, W, 3) or (H, W) of uint8 or uint16, RGB or grey"
                )
            _check_size(source.shape, "array")
            if source.dtype == np.uint16:
                return _in_memory(_from_deep(source, deep_range), "array")
            return _in_memory(source if source.ndim == 3 else source[..., None].repeat(3, axis=2), "array")
        case Tensor():
            if source.dtype != torch.uint8 or source.ndim != 3 or source.shape[0] != 3:
                raise ValueError(f"tensor {tuple(source.shape)} {source.dtype}: expected (3, H, W) uint8, RGB")
            return _in_memory(source.detach().cpu().permute(1, 2, 0).numpy(), "tensor")
        case _:
            raise ValueError(f"{type(source).__name__}: expected {_TAKEN}")


def pixels_of(origin: Path | bytes | Pixels, deep_range: DeepRange | None = None) -> Pixels:
    """The pixels of an opened image once more. Raises ValueError where its file is gone."""
    match origin:
        case Path():
            return read_image(origin, deep_range)
        case bytes():
            return _decode(origin, "bytes", deep_range)
        case _:
            return origin


def is_address(text: str) -> bool:
    """Whether this is a web address and not a path. Raises ValueError for an address of another kind."""
    scheme = _ADDRESS.match(text)
    if scheme is not None and scheme[1].lower() not in _WEB:
        raise ValueError(f"{text}: expected a path, or an address that begins with http:// or https://")
    return scheme is not None


def is_one(sources: ImageSource | Iterable[ImageSource]) -> bool:
    """Whether this stands for one image (or for none at all), and not for many, as a folder or a list does."""
    match sources:
        case str():
            return is_address(sources) or not Path(sources).is_dir()
        case Path():
            return not sources.is_dir()
        case bytes() | Image.Image() | np.ndarray() | Tensor():
            return True
        case _:
            return not isinstance(sources, Iterable)


def listed(sources: ImageSource | Iterable[ImageSource]) -> Iterable[ImageSource]:
    """Every image once, those of folders in the order of their names: a list, but of a generator another one."""
    if is_one(sources):
        return [sources]  # type: ignore[list-item]
    if isinstance(sources, str | Path):
        return images_below(Path(sources))
    assert isinstance(sources, Iterable) and not isinstance(sources, bytes | Tensor)
    each = _each(sources)
    return list(each) if isinstance(sources, Sequence) else each


def _each(sources: Iterable[ImageSource]) -> Iterator[ImageSource]:
    for source in sources:
        if isinstance(source, str | Path) and not is_one(source):
            yield from images_below(Path(source))
        else:
            yield source


def images_below(folder: Path) -> list[Path]:
    """The image files in a folder and in those within it, in the order of their names; hidden ones are left out.

    Raises ValueError where there are none.
    """
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not found:
        raise ValueError(f"{folder}: no images in this folder ({', '.join(sorted(SUFFIXES))})")
    return found


def _in_memory(pixels: Pixels, name: str) -> OpenImage:
    _check_size(pixels.shape, name)
    return OpenImage(name, pixels, pixels)


def _check_size(shape: tuple[int, ...], name: str) -> None:
    height, width = shape[:2]
    if not height or not width:
        raise ValueError(f"{name}: an image of {height} x {width} px")


def _decode(data: bytes, name: str, deep_range: DeepRange | None) -> Pixels:
    """By way of a file, so that one rule holds for all."""
    with NamedTemporaryFile(prefix="detkit-") as file:
        file.write(data)
        file.flush()
        try:
            return read_image(Path(file.name), deep_range)
        except ImageError as error:
            raise ImageError(str(error).replace(file.name, name)) from None


def _from_deep(values: NDArray[Any], deep_range: DeepRange | None) -> Pixels:
    """Values (H, W) or (H, W, 3) as RGB."""
    pixels = scaled(values if values.ndim == 3 else values[..., None], deep_range)
    return pixels if pixels.shape[2] == 3 else pixels.repeat(3, axis=2)


def _from_pil(image: Image.Image, deep_range: DeepRange | None) -> Pixels:
    """As read_image has it: alpha is dropped, deep ones are scaled."""
    _check_size(image.size, "PIL image")
    try:
        if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
            return np.array(image.convert("RGB"))
        values = np.asarray(image)  # convert("RGB") would clip at 255
    except Exception as error:  # it is decoded only now, and Pillow's readers raise nearly any type on broken data
        raise ImageError(f"PIL image: cannot be decoded ({error}); replace its file") from error
    return _from_deep(values.astype(values.dtype.newbyteorder("=")), deep_range)
