"""Files that are whole or not there: written under a partial name and renamed when all is on the disk.

Of those that grow line by line an error names the file, too.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

PARTIAL = ".partial-"  # between a file's name and the number of the process that writes it


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A name to write under. A kill at any moment leaves the old file or the new one, and perhaps a partial one.

    Raises OSError, naming `path` and the room there is, where it cannot be written.
    """
    partial = path.with_name(f"{path.name[:200]}{PARTIAL}{os.getpid()}")  # a file's name has 255 bytes at most
    try:
        with named(path):
            yield partial
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Writing to `path`. Raises OSError, naming it and the room there is, where it cannot be written."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:  # the last two: torch's and safetensors' for a full disk
        folder = next(place for place in path.absolute().parents if place.is_dir())
        free = shutil.disk_usage(folder).free / 1e6
        raise OSError(
            f"{path}: could not be written ({_reason(error)}), with {free:.0f} MB free on its disk; what was there is "
            "kept"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror is not None:
        return error.strerror
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
