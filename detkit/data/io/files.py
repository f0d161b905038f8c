"""Files of data sets: what one is known by, and text read whole, within bounds, as it is not trusted."""

import os
import stat
from pathlib import Path

MAX_TEXT_BYTES = 16 << 20  # of a file of annotations of one image, or of a list of them


def real_path(path: Path) -> str:
    """What an image is known by: two names of one file are one image."""
    return os.path.realpath(path)


def read_bytes(path: Path, max_bytes: int = MAX_TEXT_BYTES) -> bytes:
    """The file's content. Raises ValueError, whose message does not name the file: it goes into a Fault."""
    try:
        info = path.stat()
        if not stat.S_ISREG(info.st_mode):  # reading a pipe would wait for ever
            raise ValueError("is not a regular file")
        if info.st_size > max_bytes:
            raise ValueError(f"has {info.st_size:,} bytes, at most {max_bytes:,} are read; split or mend the file")
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
