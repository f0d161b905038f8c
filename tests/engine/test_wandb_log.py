"""Weights & Biases, the real one, offline: what is in its files after one run, a resume, a new start."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wandb.proto.wandb_internal_pb2 import Record

from detkit.engine.logs import RunLog
from detkit.engine.wandb_log import WandbLog

REPOSITORY = Path(__file__).parents[2]
CONFIG = {"train": {"lr": 0.1}}
HEADER, BLOCK, PIECE = 7, 32768, 7  # bytes of a file's header, of its blocks and of the header of a piece in them


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_API_KEY", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)


def records(file: Path) -> Iterator[Record]:
    """Of a .wandb file, which has the form of LevelDB's logs: a record is one piece of kind 1, or of 2, 3 ... and 4."""
    data, place, record = file.read_bytes(), HEADER, b""
    while place + PIECE <= len(data):
        if BLOCK - place % BLOCK < PIECE:  # no room for a piece
            place += BLOCK - place % BLOCK
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        record += data[place + PIECE : place + PIECE + length]
        place += PIECE + length
        if kind in (1, 4):
            yield Record.FromString(record)
            record = b""


def all_records(folder: Path) -> list[Record]:
    return [record for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")) for record in records(file)]


def history(folder: Path) -> list[dict[str, Any]]:
    """Its rows, without the times that wandb adds."""
    rows = [r.history for r in all_records(folder) if r.WhichOneof("record_type") == "history"]
    values = [{item.key or item.nested_key[0]: json.loads(item.value_json) for item in row.item} for row in rows]
    return [{name: v for name, v in row.items() if name not in ("_runtime", "_timestamp")} for row in values]


def ids(folder: Path) -> set[str]:
    return {r.run.run_id for r in all_records(folder) if r.WhichOneof("record_type") == "run"}


def write(folder: Path, start: int, steps: list[int], value: float) -> None:
    log = RunLog(folder, start, [WandbLog(folder, start, "one", CONFIG)])
    for step in steps:
        log.write(step, {"loss": value, "loss/rpn": value})
        log.write(step, {"val_map": value})
    log.close()


def row(step: int, value: float) -> dict[str, float]:
    return {"_step": step, "loss": value, "loss/rpn": value, "val_map": value}


def test_a_run_holds_its_numbers_and_its_config(tmp_path: Path) -> None:
    write(tmp_path, 0, [1, 20], 0.5)
    assert history(tmp_path) == [row(1, 0.5), row(20, 0.5)]
    [run] = [r.run for r in all_records(tmp_path) if r.WhichOneof("record_type") == "run"]
    assert (run.project, run.display_name) == ("detkit", "one")
    config = {update.key: json.loads(update.value_json) for update in run.config.update}
    assert config["train"] == CONFIG["train"]


def test_a_resumed_run_is_the_same_and_has_each_step_once(tmp_path: Path) -> None:
    write(tmp_path, 0, [1, 2, 3, 4], 0.5)
    time.sleep(1)  # wandb names its folders by the second
    write(tmp_path, 2, [3, 4, 5], 0.25)
    # A resumed run repeats its steps to the digit; here they differ, to show which is there.
    assert history(tmp_path) == [row(1, 0.5), row(2, 0.5), row(3, 0.5), row(4, 0.5), row(5, 0.25)]
    assert len(ids(tmp_path)) == 1


def test_a_run_that_begins_anew_takes_the_old_one_back(tmp_path: Path) -> None:
    write(tmp_path, 0, [1, 2], 0.5)
    before = ids(tmp_path)
    write(tmp_path, 0, [1], 0.25)
    assert history(tmp_path) == [row(1, 0.25)]
    assert ids(tmp_path) != before


def test_what_wandb_refuses_is_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "somehow")
    with pytest.raises(ValueError, match=r"^train\.loggers: wandb cannot begin \(.+\); mend that, or unset WANDB_MODE"):
        write(tmp_path, 0, [1], 0.5)


WRITES = """
import os, signal, sys
from pathlib import Path
from detkit.engine.logs import RunLog
from detkit.engine.wandb_log import WandbLog
folder = Path(sys.argv[1])
log = RunLog(folder, 0, [WandbLog(folder, 0, "one", {})])
for step in (1, 2, 3):
    log.write(step, {"loss": 0.5, "loss/rpn": 0.5, "val_map": 0.5})
if sys.argv[2] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
log.close()
print(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text())
"""


def run_script(folder: Path, how: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", WRITES, str(folder), how]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_nothing_is_said_and_no_process_is_left(tmp_path: Path) -> None:
    done = run_script(tmp_path, "end")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
    assert len(history(tmp_path)) == 3


@pytest.mark.slow
def test_a_killed_run_goes_on_with_each_step_once(tmp_path: Path) -> None:
    assert run_script(tmp_path, "kill").returncode == -signal.SIGKILL
    deadline = time.monotonic() + 60
    while processes_on(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not processes_on(tmp_path)
    time.sleep(1)  # wandb names its folders by the second
    write(tmp_path, 1, [2, 3, 4], 0.5)
    assert history(tmp_path) == [row(step, 0.5) for step in (1, 2, 3, 4)]


def processes_on(folder: Path) -> list[Path]:
    """Those that hold a file in the folder open, or work there."""
    return [
        process
        for process in Path("/proc").glob("[0-9]*")
        if any(str(folder) in target for target in opened_by(process)) and process.name != str(os.getpid())
    ]


def opened_by(process: Path) -> list[str]:
    try:
        return [str(descriptor.readlink()) for descriptor in (process / "fd").iterdir()]
    except OSError:  # ended meanwhile, or not ours
        return []
