"""What each stage of a training took, in stages.jsonl of the run folder: one line each time a stage was worked on."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILE = "stages.jsonl"


class StageTimes:
    """Times the stages of the run in `folder`. A stage that is stopped and goes on has several lines, which add up."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - begun)

    def add(self, stage: str, seconds: float, num_bytes: int | None = None) -> None:
        """`num_bytes`: what the stage keeps on the disk."""
        row: dict[str, str | float] = {"stage": stage, "seconds": round(seconds, 3)}
        if num_bytes is not None:
            row["bytes"] = num_bytes
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def has(self, stage: str) -> bool:
        lines = self._path.read_text().splitlines() if self._path.is_file() else []
        return any(f'"stage": "{stage}"' in line for line in lines)
