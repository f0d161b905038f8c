"""A run's numbers in Weights & Biases: in files in the run's folder, unless WANDB_MODE=online sends them."""

import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = "wandb"  # made by wandb, with a folder for each time that training ran
RUN_FILE = "wandb_run"  # a line with the id of the run, then one for each time that ended well: last step, folder
PROJECT = "detkit"  # unless WANDB_PROJECT says otherwise


class WandbLog:
    """Goes on in the run that was begun from `folder` before, and writes each step there once."""

    def __init__(self, folder: Path, start: int, name: str, config: Mapping[str, Any]) -> None:
        """Raises ValueError where wandb cannot begin, as online without a key."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # else it reports its errors to its makers
        import wandb

        self._file = folder / RUN_FILE
        if start == 0:  # nothing was kept of what was written before
            self._file.unlink(missing_ok=True)
        before = _read(self._file)
        for written in (folder / FOLDER).glob("offline-run-*"):
            if written.name not in before.folders:  # killed: what it holds is uncertain, and comes once more
                shutil.rmtree(written)
        mode = os.environ.get("WANDB_MODE") or "offline"
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT") or PROJECT,
                name=name,
                id=before.run_id,
                resume="allow",
                reinit="create_new",  # beside one that a notebook may have under way
                config=dict(config),
                allow_val_change=True,  # a resumed run may have other values of harmless keys
                dir=str(folder),
                mode=mode,  # type: ignore[arg-type]  # wandb checks it
                settings=wandb.Settings(console="off", silent=mode != "online"),
            )
        except (wandb.Error, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(
                f"train.loggers: wandb cannot begin ({reason}); mend that, or unset WANDB_MODE for files in the run's "
                "folder"
            ) from error
        self._last_step = max(before.last_step, self._run.step - 1)  # the second: of a run that wandb's server knows
        self._file.write_text("".join(f"{line}\n" for line in before.lines))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        if step > self._last_step:
            self._run.log(dict(values), step=step, commit=True)
            self._last_step = step

    def close(self, complete: bool) -> None:
        import wandb

        folder = Path(self._run.dir).parent.name
        self._run.finish(exit_code=0 if complete else 1)
        with self._file.open("a") as file:
            file.write(f"{self._last_step} {folder}\n")
        if wandb.run is None:
            wandb.teardown()  # ends its process, which would stay as long as this one


@dataclass(frozen=True)
class _Before:
    """What was written of a run so far."""

    run_id: str
    lines: tuple[str, ...]  # of the file
    last_step: int
    folders: frozenset[str]


def _read(file: Path) -> _Before:
    text = file.read_text() if file.is_file() else ""
    lines = [line.strip() for line in text.splitlines(keepends=True) if line.endswith("\n")]  # a kill may cut the last
    run_id, *ends = lines or [secrets.token_hex(4)]
    steps, folders = [int(end.split()[0]) for end in ends], [end.split()[1] for end in ends]
    return _Before(run_id, (run_id, *ends), max(steps, default=0), frozenset(folders))
