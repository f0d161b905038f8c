"""Videos and cameras frame by frame, and videos written: by OpenCV, which needs no window for it."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detkit.structures import Size

VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv"})
_ASSUMED_FPS = 25.0  # of cameras and files that do not say it

Frame = NDArray[np.uint8]  # (H, W, 3) RGB


@dataclass(frozen=True, eq=False)
class Video:
    name: str
    size: Size
    fps: float  # frames a second
    num_frames: int | None  # as its header has it, which may be wrong; None: it does not say, or is a camera
    frames: Iterator[Frame]


@contextmanager
def open_video(source: Path | int) -> Iterator[Video]:
    """A file, or the camera of this number. Raises ValueError where no frame can be had from it."""
    if isinstance(source, int):
        name, capture = f"camera {source}", cv2.VideoCapture(source)
    else:
        # FFmpeg by name: OpenCV would take a "%d" in the name for many images. An absolute path is never an address.
        name, capture = str(source), cv2.VideoCapture(str(source.absolute()), cv2.CAP_FFMPEG)
    try:
        frames = _frames(capture)
        first = next(frames, None)
        if first is None:
            what = "no such camera, or it is in use" if isinstance(source, int) else "not a video that OpenCV can read"
            raise ValueError(f"{name}: no image can be had from it ({what}); name another")
        height, width = first.shape[:2]
        fps, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        yield Video(
            name,
            (height, width),
            fps if math.isfinite(fps) and 0 < fps <= 1000 else _ASSUMED_FPS,
            int(count) if math.isfinite(count) and count > 0 and not isinstance(source, int) else None,
            chain([first], frames),
        )
    finally:
        capture.release()


def _frames(capture: cv2.VideoCapture) -> Iterator[Frame]:
    while True:
        done, frame = capture.read()
        if not done:
            return
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


class VideoWriter:
    """An .mp4 file (MPEG-4 part 2, which OpenCV brings along) that is whole once the `with` block is left, however.

    An odd last row or column of the frames is left out by OpenCV.
    """

    def __init__(self, path: Path, size: Size, fps: float) -> None:
        height, width = size
        self._path = path
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))

    def __enter__(self) -> "VideoWriter":
        if not self._writer.isOpened():
            raise OSError(f"{self._path}: cannot be written as a video; is its folder writable?")
        return self

    def write(self, frame: Frame) -> None:
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def __exit__(self, *_: Any) -> None:
        self._writer.release()
