"""How many bits the channels of an image file have, from its first bytes.

Pillow does not tell 16 bits of colour from 8, and opens no TIFF of 32 bits of colour.
"""

from dataclasses import dataclass
from typing import BinaryIO

from PIL import TiffImagePlugin

from detkit.structures import Size

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # by colour type (PNG, section 11.2.1)
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # +: BigTIFF
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _ORIENTATION, _CHANNELS, _PLANES, _FORMAT = 256, 257, 258, 262, 274, 277, 284, 339
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2  # of _PHOTOMETRIC; others, such as inks, have no range to be found
_KINDS = {1: "unsigned", 2: "signed", 3: "float"}  # of _FORMAT


class UnreadDepth(ValueError):
    """A kind of deep image that is not read; the message does not name the file."""


@dataclass(frozen=True)
class Depth:
    """Of an image with more than 8 bits a channel."""

    bits: int
    channels: int
    kind: str = "unsigned"
    is_inverted: bool = False  # the least value is white

    @property
    def pixel_bytes(self) -> int:
        return self.channels * -(-self.bits // 8)

    def describe(self) -> str:
        """Such as "3 channels of 16 bits, unsigned"."""
        return f"{self.channels} channel{'s' * (self.channels > 1)} of {self.bits} bits, {self.kind}"


@dataclass(frozen=True)
class Tiff:
    size: Size  # turned by its orientation
    deep: Depth | None


def png_depth(start: bytes) -> Depth | None:
    """Of a PNG file with these first 26 bytes; None for any other file, and for 8 bits."""
    if not start.startswith(_PNG) or len(start) < 26 or start[24] != 16:
        return None
    return Depth(16, _PNG_CHANNELS.get(start[25], 3))


def read_tiff(file: BinaryIO) -> Tiff | None:
    """The first image of a TIFF file; None for any other file.

    Raises UnreadDepth, and nearly any type where the file is broken.
    """
    start = file.read(8)
    if start[:4] not in _TIFF:
        return None
    if start[2:4] in (b"+\0", b"\0+"):
        start += file.read(8)
    tags = TiffImagePlugin.ImageFileDirectory_v2(start)
    file.seek(tags.next)
    tags.load(file)
    size = int(tags[_HEIGHT]), int(tags[_WIDTH])
    if tags.get(_ORIENTATION, 1) in (5, 6, 7, 8):
        size = size[::-1]
    return Tiff(size, _tiff_depth(tags))


def _tiff_depth(tags: TiffImagePlugin.ImageFileDirectory_v2) -> Depth | None:
    bits, photometric = max(tags.get(_BITS, (1,))), tags.get(_PHOTOMETRIC, _BLACK_IS_ZERO)
    if bits <= 8 or photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
        return None
    kind = _KINDS.get(tags.get(_FORMAT, (1,))[0], "of unknown kind")
    depth = Depth(bits, int(tags.get(_CHANNELS, 1)), kind, photometric == _WHITE_IS_ZERO)
    if depth.channels not in (1, 3, 4):
        raise UnreadDepth(f"has {depth.describe()}; save it with 1, 3 or 4 channels")
    if depth.channels > 1 and tags.get(_PLANES, 1) != 1:  # OpenCV mixes them up
        raise UnreadDepth(f"has {depth.describe()}, stored one after the other; save it with channels interleaved")
    if kind == "float" and bits < 32:  # neither library reads them
        raise UnreadDepth(f"has {depth.describe()}; save it with 32 bits")
    return depth
