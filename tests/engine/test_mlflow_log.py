"""MLflow, the real one, with its files in the run's folder: what is in them after one run, a resume, a new start."""

import shutil
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from detkit.engine.logs import RunLog
from detkit.engine.mlflow_log import MlflowLog, metric_name


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)


def write(folder: Path, start: int, steps: list[int], value: float, complete: bool = True) -> None:
    parameters = {"train.lr": 0.1, "data.train": ["a" * 600], **{f"model.key_{i}": i for i in range(120)}}
    log = RunLog(folder, start, [MlflowLog(folder, start, folder / "mlflow", "one", parameters)])
    for step in steps:
        log.write(step, {"loss": value, "loss/rpn": value / 2, "val_ap/tv, old": value})
    log.close(complete)


def runs(folder: Path) -> tuple[MlflowClient, list[Run]]:
    client = MlflowClient(tracking_uri=(folder / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("detkit")
    assert experiment is not None
    return client, list(client.search_runs([experiment.experiment_id]))


def history(folder: Path, name: str) -> list[tuple[int, float]]:
    client, [run] = runs(folder)
    return [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name)]


def test_a_run_holds_its_metrics_and_parameters(tmp_path: Path) -> None:
    folder = tmp_path / "a run"
    folder.mkdir()
    write(folder, 0, [1, 2], 0.5)
    assert history(folder, "loss") == [(1, 0.5), (2, 0.5)]
    assert history(folder, "loss.rpn") == [(1, 0.25), (2, 0.25)]
    assert history(folder, "val_ap.tv_ old") == [(1, 0.5), (2, 0.5)]
    _, [run] = runs(folder)
    assert (run.info.run_name, run.info.status) == ("one", "FINISHED")
    assert run.data.params["train.lr"] == "0.1" and run.data.params["model.key_119"] == "119"


def test_a_resumed_run_is_the_same_and_has_each_step_once(tmp_path: Path) -> None:
    write(tmp_path, 0, [1, 2, 3, 4], 0.5, complete=False)
    _, [before] = runs(tmp_path)
    assert before.info.status == "KILLED"
    write(tmp_path, 2, [3, 4, 5], 0.25)
    _, [after] = runs(tmp_path)
    assert (after.info.run_id, after.info.status) == (before.info.run_id, "FINISHED")
    # A resumed run repeats its steps to the digit; here they differ, to show which is there.
    assert history(tmp_path, "loss") == [(1, 0.5), (2, 0.5), (3, 0.5), (4, 0.5), (5, 0.25)]


def test_a_logger_that_comes_later_gets_the_steps_before(tmp_path: Path) -> None:
    log = RunLog(tmp_path, 0)
    log.write(1, {"loss": 0.5})
    log.close()
    write(tmp_path, 1, [2], 0.25)
    assert history(tmp_path, "loss") == [(1, 0.5), (2, 0.25)]


def test_a_run_that_begins_anew_takes_the_old_one_back(tmp_path: Path) -> None:
    write(tmp_path, 0, [1, 2], 0.5)
    write(tmp_path, 0, [1], 0.25)
    assert history(tmp_path, "loss") == [(1, 0.25)]


def test_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "elsewhere").as_uri())
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "cells")
    write(tmp_path, 0, [1], 0.5)
    assert not (tmp_path / "mlflow").exists()
    client = MlflowClient(tracking_uri=(tmp_path / "elsewhere").as_uri())
    assert client.get_experiment_by_name("cells") is not None


def test_a_store_that_cannot_be_had_is_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://there")
    with pytest.raises(
        ValueError, match=r"train\.loggers: mlflow cannot write to nowhere://there \(.+MLFLOW_TRACKING_URI"
    ):
        write(tmp_path, 0, [1], 0.5)


def test_a_server_that_fails_later_does_not_end_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = RunLog(tmp_path, 0, [MlflowLog(tmp_path, 0, tmp_path / "mlflow", "one", {})])
    client, [run] = runs(tmp_path)
    log.write(1, {"loss": 0.5})
    client.delete_run(run.info.run_id)
    for step in (2, 3, 4):
        log.write(step, {"loss": 0.5})
    log.close()
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith("mlflow: nothing is written from step 1 on (")
    assert (tmp_path / "log.jsonl").read_text().count("\n") == 4


@pytest.mark.parametrize(
    ("name", "expected"), [("loss", "loss"), ("loss/rpn", "loss.rpn"), ("val_ap/a, (b): c-d", "val_ap.a_ _b_: c-d")]
)
def test_names(name: str, expected: str) -> None:
    assert metric_name(name) == expected


def test_a_server_that_fails_at_the_end_does_not_hide_what_ended_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = MlflowLog(tmp_path, 0, tmp_path / "mlflow", "one", {})
    _, [run] = runs(tmp_path)
    shutil.rmtree(next((tmp_path / "mlflow").glob(f"*/{run.info.run_id}")))
    log.close(complete=False)
    assert capsys.readouterr().err.startswith("mlflow: it is not told that the run has ended (")
