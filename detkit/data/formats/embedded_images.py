"""Images that are inside annotation files, written out once: training reads images from files.

They go to detkit_images/SPLIT/ below the root of the data set, and stay there for the next run.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from detkit.data.faults import Fault, Severity
from detkit.data.formats.named_images import is_inside
from detkit.runtime.whole_file import written_whole

IMAGES = "detkit_images"
WRITTEN = "splits had images inside their files, which were written out"

_MAGIC = (
    (b"\xff\xd8", ".jpg"), (b"\x89PNG", ".png"), (b"GIF8", ".gif"), (b"BM", ".bmp"), (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"), (b"RIFF", ".webp"),
)  # fmt: skip


@dataclass
class EmbeddedImages:
    root: Path
    split: str
    num_written: int = 0

    @property
    def folder(self) -> Path:
        return self.root / IMAGES / self.split

    def write(self, stem: str, data: bytes, source: Path) -> Path:
        """The file of an image, written where it is not there, of another size, or older than `source`.

        Raises ValueError for data that is no image, and where it cannot be written.
        """
        suffix = next((suffix for magic, suffix in _MAGIC if data.startswith(magic)), None)
        if suffix is None:
            raise ValueError("is no image that can be read (JPEG, PNG, BMP, WEBP, TIFF, GIF); replace it")
        target = self.folder / f"{stem[:100]}{suffix}"
        links = [place for place in (target, *target.parents) if place.is_symlink() and is_inside(place, self.root)]
        if not is_inside(target, self.root / IMAGES) or any(place != self.root for place in links):
            raise ValueError(f"cannot be written to {target}, which is a link or leads out of the data set; remove it")
        try:
            if not _is_current(target, len(data), source):
                target.parent.mkdir(parents=True, exist_ok=True)
                with written_whole(target) as partial:
                    partial.write_bytes(data)
                self.num_written += 1
        except OSError as error:
            first = error.__cause__ if isinstance(error.__cause__, OSError) else error  # written_whole has one more
            message = f"cannot be written to {target} ({first.strerror}); copy the data set to where that can be"
            raise ValueError(message) from None
        return target

    def faults(self, file: Path) -> Iterator[Fault]:
        if self.num_written:
            message = f"{self.num_written:,} images inside were written to {self.folder}, where they are read"
            yield Fault(file, message, Severity.INFO, summary=WRITTEN)


def _is_current(target: Path, size: int, source: Path) -> bool:
    if not target.is_file():
        return False
    info = target.stat()
    return info.st_size == size and info.st_mtime >= source.stat().st_mtime
