"""log.csv: a table that spreadsheets and pandas read."""

import csv
from pathlib import Path

import pytest

from detkit.engine.csv_log import CsvLog
from detkit.engine.logs import RunLog


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_a_step_and_a_column_a_name(tmp_path: Path) -> None:
    log = CsvLog(tmp_path)
    log.write(1, {"loss": 0.5, "lr": 0.125})
    log.write(2, {"loss": 0.25, "lr": 0.125, "val_ap/cat, old": 0.75})
    log.write(3, {"loss": 0.5, "lr": 0.125})
    assert (tmp_path / "log.csv").read_text() == (
        'step,loss,lr,"val_ap/cat, old"\n1,0.5,0.125,\n2,0.25,0.125,0.75\n3,0.5,0.125,\n'
    )


def test_a_resumed_run_has_each_step_once(tmp_path: Path) -> None:
    first = RunLog(tmp_path, 0, [CsvLog(tmp_path)])
    for step in (1, 2, 3, 4):
        first.write(step, {"loss": 0.5})
    with (tmp_path / "log.csv").open("a") as file:
        file.write("5,0.")  # a kill in the middle of a line
    again = RunLog(tmp_path, 2, [CsvLog(tmp_path)])
    for step in (3, 4):
        again.write(step, {"loss": 0.25, "val_map": 0.5})
    again.close()
    assert [(row["step"], row["loss"], row["val_map"]) for row in rows(tmp_path)] == [
        ("1", "0.5", ""),
        ("2", "0.5", ""),
        ("3", "0.25", "0.5"),
        ("4", "0.25", "0.5"),
    ]


def test_a_run_that_begins_anew_leaves_no_old_row(tmp_path: Path) -> None:
    CsvLog(tmp_path).write(1, {"loss": 0.5})
    RunLog(tmp_path, 0, [CsvLog(tmp_path)]).close()
    assert not (tmp_path / "log.csv").exists()


def test_a_full_disk_names_the_table(tmp_path: Path) -> None:
    log = CsvLog(tmp_path)
    log.write(1, {"loss": 0.5})
    (tmp_path / "log.csv").unlink()
    (tmp_path / "log.csv").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"log\.csv: could not be written \(No space left on device\)"):
        log.write(2, {"loss": 0.5})
