"""What a run tells about itself: log.jsonl, one line a logged step, and the same numbers in TensorBoard."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from detkit.runtime.whole_file import written_whole


class RunLog:
    """Writes from the main process; on a resumed run, what was logged after `start` steps is taken back first."""

    def __init__(self, folder: Path, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter  # who reads a log needs none

        self.path = folder / "log.jsonl"
        kept = [row for row in read_log(self.path) if row["step"] <= start]
        with written_whole(self.path) as partial:
            partial.write_text("".join(json.dumps(row) + "\n" for row in kept))
        self._file = self.path.open("a", buffering=1)
        self._board = SummaryWriter(str(folder), purge_step=start + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """`image` (H, W, 3) uint8 RGB, to TensorBoard."""
        self._board.add_image(name, image, step, dataformats="HWC")

    def close(self) -> None:
        self._file.close()
        self._board.close()


def read_log(path: Path) -> list[dict[str, float]]:
    """The rows of a log.jsonl; a last line cut short by a kill is left out."""
    rows: list[dict[str, float]] = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
