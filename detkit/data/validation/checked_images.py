"""Decodes every image of a data set, as training will, and keeps what comparing them takes."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from detkit.data.faults import Fault, image_fault
from detkit.data.formats.read_split import UNKNOWN_SIZE, ReadSplit
from detkit.data.io.images import ImageError, ImageHeader, read_header, read_image, read_image_of_size
from detkit.data.validation.near_duplicates import Fingerprint, fingerprint_of
from detkit.runtime.console import track
from detkit.runtime.cores import usable_cores
from detkit.structures import Size

CheckedImages = dict[tuple[Path, Size], "CheckedImage"]  # by file and the size that annotations are for


@dataclass(frozen=True, eq=False)
class CheckedImage:
    header: ImageHeader | None  # None: it cannot be read
    digest: bytes  # of the file
    fingerprint: Fingerprint | None
    fault: Fault | None = None

    @property
    def is_turned(self) -> bool:
        return self.header is not None and self.header.orientation != 1


def check_images(splits: Iterable[ReadSplit]) -> CheckedImages:
    """Each image once. Those that are not there are left out where their annotations are already told of that."""
    wanted = list(dict.fromkeys(key for split in splits for key in keys_of(split)))
    wanted = [(path, size) for path, size in wanted if path.exists() or path.is_symlink()]
    # Threads: nearly all the time is OpenCV's and Pillow's, which let others run meanwhile.
    with ThreadPoolExecutor(min(8, usable_cores())) as pool:
        found = track(pool.map(_check_image, wanted), "checking images", len(wanted))
        return dict(zip(wanted, found, strict=True))


def keys_of(split: ReadSplit) -> list[tuple[Path, Size]]:
    """Of each image of a split, in CheckedImages."""
    sizes = ((height, width) for height, width in split.truth.sizes.tolist())
    return list(zip(split.paths, sizes, strict=True))


def _check_image(wanted: tuple[Path, Size]) -> CheckedImage:
    path, size = wanted
    try:
        header = read_header(path)
        pixels = read_image(path, "own") if size == UNKNOWN_SIZE else read_image_of_size(path, size, "own")
        digest = blake2b(path.read_bytes(), digest_size=16).digest()
    except ImageError as error:
        return CheckedImage(None, b"", None, image_fault(path, error))
    return CheckedImage(header, digest, fingerprint_of(pixels))
