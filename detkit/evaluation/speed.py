"""Where the time of detecting goes: wall milliseconds a stage, and images a second."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypedDict

import numpy as np
import torch


class StageTime(TypedDict):
    """Milliseconds of one stage over all calls, as metrics.json holds them."""

    p50: float
    p95: float
    mean: float


class StageClock:
    """A detkit.structures.Clock that remembers. Detect in batches of one image to get times per image.

    With a CUDA device it waits for the device before and after a stage: exact per stage, slower in all, so images
    a second are measured without it.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self._device = device if device is not None and device.type == "cuda" and torch.cuda.is_available() else None
        self._calls: dict[str, list[float]] = {}  # ms

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        self._synchronize()
        start = time.perf_counter()
        yield
        self._synchronize()
        self._calls.setdefault(stage, []).append((time.perf_counter() - start) * 1000)

    def summary(self) -> dict[str, StageTime]:
        """Times of each stage, in the order they were first entered. Of more than 3 calls the first, a warm-up, is
        left out."""
        return {stage: _summarise(calls[1:] if len(calls) > 3 else calls) for stage, calls in self._calls.items()}

    def _synchronize(self) -> None:
        if self._device is not None:
            torch.cuda.synchronize(self._device)


def images_per_second(num_images: int, seconds: float) -> float:
    if seconds <= 0:
        raise ValueError(f"{seconds} seconds for {num_images} images: expected more than 0; measure around all images")
    return num_images / seconds


def _summarise(calls: list[float]) -> StageTime:
    p50, p95 = np.percentile(calls, (50, 95))
    return StageTime(p50=float(p50), p95=float(p95), mean=float(np.mean(calls)))
