"""What a run tells about itself: log.jsonl, one line a logged step, and the same in TensorBoard and other places."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from detkit.runtime.whole_file import named, written_whole


class Logger(Protocol):
    """Another place for a run's numbers.

    Steps come in their order, each of them once and whole: of a resumed run all of them, from the first on, so that
    a logger writes what is missing where it writes, and passes over the rest.
    """

    def write(self, step: int, values: Mapping[str, float]) -> None: ...

    def close(self, complete: bool) -> None:
        """`complete`: the run has come to its end."""
        ...


class RunLog:
    """Writes from the main process; on a resumed run, what was logged after `start` steps is taken back first."""

    def __init__(self, folder: Path, start: int, loggers: Sequence[Logger] = ()) -> None:
        from torch.utils.tensorboard import SummaryWriter  # who reads a log needs none

        self.path = folder / "log.jsonl"
        self._loggers = loggers
        self._step, self._values = 0, dict[str, float]()  # what the loggers get when the step is whole
        kept = [row for row in read_log(self.path) if row["step"] <= start]
        with written_whole(self.path) as partial:
            partial.write_text("".join(json.dumps(row) + "\n" for row in kept))
        self._file = self.path.open("a", buffering=1)
        self._board = SummaryWriter(str(folder), purge_step=start + 1 if start else 0)
        for row in kept:
            self._collect(int(row["step"]), {name: value for name, value in row.items() if name != "step"})

    def write(self, step: int, values: Mapping[str, float]) -> None:
        with named(self.path):
            self._file.write(json.dumps({"step": step, **values}) + "\n")
        for name, value in values.items():
            self._board.add_scalar(name, value, step)
        self._collect(step, values)

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        """`image` (H, W, 3) uint8 RGB, to TensorBoard."""
        self._board.add_image(name, image, step, dataformats="HWC")

    def text(self, name: str, text: str) -> None:
        """Lines that stay as they are, to TensorBoard, before the first step."""
        self._board.add_text(name, textwrap.indent(text, "    "), 0)  # indented: a block of code in Markdown

    def close(self, complete: bool = True) -> None:
        """`complete`: the run has come to its end."""
        self._file.close()
        self._board.close()
        self._hand_on()
        for logger in self._loggers:
            logger.close(complete)

    def _collect(self, step: int, values: Mapping[str, float]) -> None:
        if step != self._step:
            self._hand_on()
            self._step = step
        self._values |= values

    def _hand_on(self) -> None:
        if self._values:
            for logger in self._loggers:
                logger.write(self._step, self._values)
        self._values = {}


def read_log(path: Path) -> list[dict[str, float]]:
    """The rows of a log.jsonl; a last line cut short by a kill is left out."""
    rows: list[dict[str, float]] = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
