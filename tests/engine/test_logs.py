"""log.jsonl: written, read, and cut back on resuming."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from detkit.engine.logs import RunLog, read_log


def write(folder: Path, start: int, steps: list[int], value: float) -> None:
    log = RunLog(folder, start)
    for step in steps:
        log.write(step, {"loss": value})
    log.close()


def test_rows_come_back(tmp_path: Path) -> None:
    write(tmp_path, 0, [1, 2], 0.5)
    assert read_log(tmp_path / "log.jsonl") == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.5}]


def test_no_log_has_no_rows(tmp_path: Path) -> None:
    assert read_log(tmp_path / "log.jsonl") == []


def test_resuming_takes_back_what_is_done_again(tmp_path: Path) -> None:
    write(tmp_path, 0, [1, 2, 3, 4], 0.5)
    write(tmp_path, 2, [3, 5], 0.25)
    rows = [(row["step"], row["loss"]) for row in read_log(tmp_path / "log.jsonl")]
    assert rows == [(1, 0.5), (2, 0.5), (3, 0.25), (5, 0.25)]


def test_a_line_cut_short_by_a_kill_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, 0, [1, 2], 0.5)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    assert [row["step"] for row in read_log(tmp_path / "log.jsonl")] == [1, 2]
    write(tmp_path, 2, [3], 0.25)
    assert [row["step"] for row in read_log(tmp_path / "log.jsonl")] == [1, 2, 3]


def test_tensorboard_gets_the_same_numbers_and_images(tmp_path: Path) -> None:
    log = RunLog(tmp_path, 0)
    log.write(3, {"loss": 0.5, "lr": 0.125})
    log.image(3, "detections", np.zeros((4, 6, 3), np.uint8))
    log.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(3, 0.5)]
    assert [(e.step, e.value) for e in events.Scalars("lr")] == [(3, 0.125)]
    image = events.Images("detections")[0]
    assert (image.step, image.height, image.width) == (3, 4, 6)


def test_lines_of_text_reach_tensorboard_as_they_are(tmp_path: Path) -> None:
    log = RunLog(tmp_path, 0)
    log.text("config", "train:\n  steps: 4\n")
    log.close()
    value = EventAccumulator(str(tmp_path)).Reload().Tensors("config/text_summary")[0]
    assert value.tensor_proto.string_val[0].decode() == "    train:\n      steps: 4\n"


@dataclass
class Kept:
    """A logger that keeps what it is given."""

    rows: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    complete: bool | None = None

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self.rows.append((step, dict(values)))

    def close(self, complete: bool) -> None:
        self.complete = complete


def test_loggers_get_each_step_once_and_whole(tmp_path: Path) -> None:
    kept = Kept()
    log = RunLog(tmp_path, 0, [kept])
    log.write(1, {"loss": 0.5})
    log.write(2, {"loss": 0.25})
    log.write(2, {"val_map": 0.75})
    log.close()
    assert (kept.rows, kept.complete) == ([(1, {"loss": 0.5}), (2, {"loss": 0.25, "val_map": 0.75})], True)


def test_loggers_of_a_resumed_run_get_what_was_kept_first(tmp_path: Path) -> None:
    write(tmp_path, 0, [1, 2, 3, 4], 0.5)
    kept = Kept()
    log = RunLog(tmp_path, 2, [kept])
    log.write(3, {"loss": 0.25})
    log.close(complete=False)
    assert kept.rows == [(1, {"loss": 0.5}), (2, {"loss": 0.5}), (3, {"loss": 0.25})]
    assert kept.complete is False
