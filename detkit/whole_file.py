"""Files that are whole or not there: written under a partial name and renamed when all is on the disk."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

PARTIAL = ".partial-"  # between a file's name and the number of the process that writes it


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A name to write under. A kill at any moment leaves the old file or the new one, and perhaps a partial one.

    Raises OSError, naming `path` and the room there is, where it cannot be written.
    """
    partial = path.with_name(f"{path.name}{PARTIAL}{os.getpid()}")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except (
        OSError,
        RuntimeError,
        SafetensorError,
    ) as error:  # some writers have no other word for it
        why = f" ({error.strerror or error})" if isinstance(error, OSError) else ""
        free = shutil.disk_usage(path.parent).free / 1e6
        raise OSError(
            f"{path}: could not be written{why}, with {free:.0f} MB free on its disk; what was there is kept"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
