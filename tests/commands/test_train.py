"""Whole runs: trained, killed, resumed, scored and used, through training.train and the command line tools."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from detkit.build import training
from detkit.commands.train import train
from detkit.config.loading import ConfigError, load_config
from detkit.engine.checkpoint import load, load_model
from detkit.engine.logs import read_log

Inside = Callable[..., tuple[int, str, str]]  # the fixtures of conftest.py
Start = Callable[..., subprocess.Popen[str]]

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 600  # seconds; a process takes ten to start, and the machine may be busy


def same_weights(one: Path, other: Path) -> bool:
    first, second = load_model(one).weights, load_model(other).weights
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def losses(folder: Path) -> list[tuple[float, float]]:
    return [(row["step"], row["loss"]) for row in read_log(folder / "log.jsonl")]


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"waited in vain: {process.communicate()}")
        time.sleep(0.01)


# Runs


def test_a_run_folder_holds_what_the_contract_says(finished_run: Path) -> None:
    names = {path.name for path in finished_run.iterdir()}
    assert {"config.yaml", "checkpoint.pt", "model.pt", "log.jsonl"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert not any("partial" in name for name in names)
    assert [row["step"] for row in read_log(finished_run / "log.jsonl")] == [1, 2, 3, 4]
    model = load_model(finished_run)
    assert (model.classes, model.step) == (("bar", "block"), 4)
    written = load_config(finished_run / "config.yaml")
    assert model.config == written.model_dump(mode="json")
    assert written.data.classes == ("bar", "block")


def test_a_config_trains_to_the_same_weights_whenever_and_with_any_workers(
    tiny_file: Path, tmp_path: Path, finished_run: Path
) -> None:
    torch.manual_seed(99)  # what was drawn before does not matter
    train(load_config(tiny_file, ["data.workers=1"]), tmp_path / "run")
    assert same_weights(tmp_path / "run", finished_run)
    train(load_config(tiny_file, ["train.seed=1", "train.steps=1"]), tmp_path / "other")
    assert losses(tmp_path / "other")[0] != losses(finished_run)[0]


# Runs the tool in its arguments and kills it, as nobody can prevent, in the middle of writing its third file.
KILLED_WHILE_WRITING = """
import os, runpy, signal, sys, torch
save, calls = torch.save, []

def save_or_die(content, file):
    calls.append(file)
    if len(calls) == 3:
        file.write(b"half a file")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    save(content, file)

torch.save = save_or_die
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_killed_run_goes_on_to_the_weights_of_an_uninterrupted_one(tiny_file: Path, tmp_path: Path) -> None:
    overrides = ["train.steps=20", "train.ema=0.9", "data.augment.photometric=0.5"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    program = tmp_path / "killed.py"
    program.write_text(KILLED_WHILE_WRITING)
    command = [sys.executable, program, REPOSITORY / "tools" / "train.py", tiny_file, *overrides, "--run", killed]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    assert subprocess.run(command, env=environment, timeout=PATIENCE).returncode == -signal.SIGKILL
    assert load(killed / "checkpoint.pt")["step"] == 4  # in the middle, indeed
    assert len(list(killed.glob("checkpoint.pt.partial-*"))) == 1
    # Other workers than before: the run may go on with another number of them.
    train(load_config(tiny_file, [*overrides, "data.workers=1", "train.checkpoint_every=7"]), killed)
    train(load_config(tiny_file, overrides), whole)
    assert same_weights(killed, whole)
    assert losses(killed) == losses(whole)
    assert not list(killed.glob("*partial*"))


def test_ctrl_c_ends_a_run_quickly_and_quietly(tiny_file: Path, tmp_path: Path, start: Start) -> None:
    process = start("train", tiny_file, "train.steps=100000", "data.workers=1", "--run", tmp_path / "run")
    wait_for(lambda: bool(read_log(tmp_path / "run" / "log.jsonl")), process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "interrupted"
    assert "Traceback" not in err
    step = load(tmp_path / "run" / "checkpoint.pt")["step"]  # nothing is lost
    assert out.splitlines()[-1] == f"stopped; the same command goes on from step {step} of 100000"
    assert 1 <= step < 5000


@pytest.mark.slow
def test_ctrl_c_with_every_logger_leaves_no_process_and_a_resume_no_step_twice(
    tiny_file: Path, tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    run = tmp_path / "run"
    command = (tiny_file, "train.loggers=[csv,mlflow,wandb]", "data.workers=1", "--run", run)
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    process = start("train", *command, "train.steps=100000")
    wait_for(lambda: len(read_log(run / "log.jsonl")) > 2, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err.splitlines()[-1]) == (130, "interrupted")
    assert "Traceback" not in err
    stopped = load(run / "checkpoint.pt")["step"]
    assert out.splitlines()[-1] == f"stopped; the same command goes on from step {stopped} of 100000"
    assert not [name for name in command_lines() if "wandb-core" in name and str(process.pid) in name.split()]
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # training sets it for itself; this is for reading
    assert runs_in_mlflow(run) == [("run", "KILLED")]
    config = load_config(run / "config.yaml", [f"train.steps={stopped + 2}"])
    (run / "config.yaml").write_text(config.to_yaml())  # as if it had been meant to be that long
    train(config, run)
    assert runs_in_mlflow(run) == [("run", "FINISHED")]
    steps = list(range(1, stopped + 3))
    assert [int(line.partition(",")[0]) for line in (run / "log.csv").read_text().splitlines()[1:]] == steps
    assert [int(line.split()[0]) for line in (run / "wandb_run").read_text().splitlines()[1:]] == [stopped, stopped + 2]
    (run / "mine.txt").touch()
    train(load_config(tiny_file, ["train.steps=1"]), run, fresh=True)
    assert not any((run / name).exists() for name in ("log.csv", "mlflow", "mlflow_run", "wandb", "wandb_run"))
    assert (run / "mine.txt").is_file()


def command_lines() -> list[str]:
    """Of all processes."""
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()


def runs_in_mlflow(run: Path) -> list[tuple[str, str]]:
    """Name and status of each."""
    from mlflow.tracking import MlflowClient  # takes seconds

    client = MlflowClient(tracking_uri=(run / "mlflow").as_uri())
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return [(found.info.run_name, found.info.status) for found in client.search_runs(ids)]


def test_a_run_goes_on_with_other_loggers(tiny_file: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(load_config(tiny_file), run)
    train(load_config(tiny_file, ["train.loggers=[csv]"]), run)  # finished, but the logger is new
    assert [line.partition(",")[0] for line in (run / "log.csv").read_text().splitlines()] == ["step", *"1234"]


def test_a_logger_that_is_not_installed_is_told_before_anything_is_written(
    tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("detkit.build.loggers.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'pip install "detkit\[wandb\]"'):
        train(load_config(tiny_file, ["train.loggers=[wandb]"]), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_validation_keeps_its_best_and_logs_it(tiny_file: Path, tmp_path: Path) -> None:
    train(load_config(tiny_file, ["data.val=[val]", "train.eval_every=2"]), tmp_path / "run")
    every_row = read_log(tmp_path / "run" / "log.jsonl")
    rows = [row for row in every_row if "val_map" in row]
    assert [row["step"] for row in rows] == [2, 4]
    of_classes = [row for row in every_row if "val_ap/bar" in row]
    assert [row["step"] for row in of_classes] == [2, 4]
    for row, mean in zip(of_classes, rows, strict=True):
        assert (row["val_ap/bar"] + row["val_ap/block"]) / 2 == pytest.approx(mean["val_map"])
    best = max(rows, key=lambda row: row["val_map"])
    assert load_model(tmp_path / "run").step == best["step"]


def test_validation_images_must_not_be_trained_on(tiny_file: Path, tmp_path: Path) -> None:
    config = load_config(tiny_file, ["data.val=[val,train]", "train.eval_every=2"])
    with pytest.raises(ConfigError, match=r"data\.val .* shares 8 images with data\.train, such as .*000000.png"):
        train(config, tmp_path / "run")
    train(load_config(tiny_file, ["train.steps=1"]), tmp_path / "run")  # nothing was trained there yet


# The folder of a run


@pytest.fixture
def run_copy(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "copy"))


def test_a_folder_of_another_config_is_refused_and_left_alone(tiny_file: Path, run_copy: Path) -> None:
    before = {path.name: path.read_bytes() for path in run_copy.iterdir()}
    with pytest.raises(ConfigError, match=r"other values of: model\.rpn\.channels, train\.lr\. .*--fresh"):
        train(load_config(tiny_file, ["train.lr=0.5", "model.rpn.channels=8", "data.workers=1"]), run_copy)
    assert {path.name: path.read_bytes() for path in run_copy.iterdir()} == before


def test_a_run_keeps_the_precision_that_auto_came_to(
    tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    auto = load_config(tiny_file, ["train.precision=auto", "train.steps=2"])
    named = load_config(tiny_file, ["train.precision=bf16", "train.steps=2"])
    monkeypatch.setattr(training, "fast_precision", lambda device: "bf16")
    train(auto, tmp_path / "auto")
    assert "precision: bf16 (train.precision is auto)\n" in capsys.readouterr().out
    train(named, tmp_path / "named")
    assert "precision: " not in capsys.readouterr().out
    assert (tmp_path / "auto" / "config.yaml").read_text() == (tmp_path / "named" / "config.yaml").read_text()
    assert losses(tmp_path / "auto") == losses(tmp_path / "named")
    train(auto, tmp_path / "auto")  # the same machine
    monkeypatch.setattr(training, "fast_precision", lambda device: "fp32")  # one without AMX
    with pytest.raises(ConfigError, match=r"other values of: train\.precision\. Take those of its config\.yaml"):
        train(auto, tmp_path / "auto")
    train(named, tmp_path / "auto")


def test_a_finished_run_is_not_trained_again(tiny_file: Path, run_copy: Path, finished_run: Path) -> None:
    model = (run_copy / "model.pt").read_bytes()
    train(load_config(tiny_file, ["train.log_every=3"]), run_copy)
    assert (run_copy / "model.pt").read_bytes() == model
    assert losses(run_copy) == losses(finished_run)


def test_fresh_starts_over_and_deletes_only_what_a_run_writes(tiny_file: Path, run_copy: Path) -> None:
    (run_copy / "eval").mkdir()
    (run_copy / "notes.txt").write_text("mine")
    train(load_config(tiny_file, ["train.steps=1"]), run_copy, fresh=True)
    assert load_model(run_copy).step == 1
    assert len(losses(run_copy)) == 1
    assert (run_copy / "notes.txt").exists() and not (run_copy / "eval").exists()


def test_fresh_spares_a_folder_that_is_no_run(tiny_file: Path, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_text("mine")
    with pytest.raises(ConfigError, match="holds no run"):
        train(load_config(tiny_file), tmp_path, fresh=True)
    assert (tmp_path / "model.pt").read_text() == "mine"


# Scoring and detecting


def test_scoring_a_run_and_its_files_again(finished_run: Path, voc_root: Path, tmp_path: Path, inside: Inside) -> None:
    status, out, _ = inside("eval", finished_run, "--voc07", "--out", tmp_path / "out")
    assert status == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["metric"] == "voc07" and metrics["images"] == 3
    assert 0 <= metrics["map"] <= 1 and set(metrics["ap"]) == {"bar", "block"}
    assert metrics["map"] == pytest.approx(sum(metrics["ap"].values()) / 2)
    assert {"decode", "convolution", "proposals", "regions", "nms"} <= metrics["seconds_per_image"].keys()
    assert metrics["fps"] > 0
    low, high = metrics["interval"]
    assert f"mAP (voc07) {metrics['map']:.4f} (95%: {low:.4f} to {high:.4f}) on 3 images" in out
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"comp4_det_test_bar.txt", "comp4_det_test_block.txt", "report.html"} <= files
    assert sum(len((tmp_path / "out" / f).read_text().splitlines()) for f in files if f.startswith("comp4")) > 0

    again = ("--detections", tmp_path / "out", "--data", voc_root, "--split", "test", "--out", tmp_path / "again")
    status, _, err = inside("eval", "--voc07", *again)
    assert (status, err) == (0, "")
    second = json.loads((tmp_path / "again" / "metrics.json").read_text())
    assert (second["map"], second["ap"]) == (pytest.approx(metrics["map"]), pytest.approx(metrics["ap"]))


def test_scoring_writes_into_the_run_and_takes_the_newest(
    run_copy: Path, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = run_copy.parent / "runs"
    runs.mkdir()
    run_copy.rename(runs / "mine")
    monkeypatch.chdir(runs.parent)
    assert inside("eval", "--voc10", "--split", "val")[0] == 0
    metrics = json.loads((runs / "mine" / "eval" / "val" / "metrics.json").read_text())
    assert (metrics["metric"], metrics["images"]) == ("voc10", 2)
    assert (runs / "mine" / "eval" / "val" / "comp4_det_val_bar.txt").exists()


def test_detecting_draws_and_writes_json(finished_run: Path, voc_root: Path, tmp_path: Path, inside: Inside) -> None:
    folder = voc_root / "JPEGImages"
    arguments = ("--out", tmp_path / "out", "--min-score", "0")
    status, out, _ = inside("detect", finished_run, folder, folder / "000003.png", *arguments)
    assert status == 0
    rows = json.loads((tmp_path / "out" / "detections.json").read_text())["images"]
    assert len(rows) == 14 and len({row["drawn"] for row in rows}) == 14
    assert all((tmp_path / "out" / row["drawn"]).stat().st_size > 0 for row in rows)
    assert rows[3]["file"] == str(folder / "000003.png")
    assert rows[3]["detections"] == rows[13]["detections"]  # the same image, twice
    found = [one for row in rows for one in row["detections"]]
    assert f"{len(found)} detections in 14 images" in out and found
    for one in found:
        x1, y1, x2, y2 = one["box"]
        assert one["class"] in ("bar", "block") and 0 <= one["score"] <= 1
        assert 0 <= x1 < x2 <= 128 and 0 <= y1 < y2 <= 128


# What a user can do wrong: status 2 and one line


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("train", "nowhere.yaml"), ("nowhere.yaml: no such config",)),
        (("train", "{config}", "train.stepps=3"), ("train.stepps: unknown key, did you mean steps?",)),
        (("train", "{config}", "data.workrs=3"), ("data.workrs: unknown key, did you mean workers?",)),
        (("train", "{config}", "train.lr=fast"), ("train.lr", "'fast'")),
        (("train", "{config}", "data.root=nowhere"), ("nowhere",)),
        (("train", "{config}", "data.train=[all]"), ("all", "train")),
        (("train", "{config}", "model.backbone.weights=no.pt"), ("model.backbone.weights", "no.pt")),
        (("train", "{config}", "train.accumulate=4"), ("batch_size", "accumulate")),
        (("train", "{config}", "--run", "{config}"), ("tiny.yaml",)),
        (("eval", "--voc07", "{empty}"), ("this folder holds no model.pt",)),
        (("eval", "--voc07"), ("no run with a model.pt",)),
        (("eval", "--voc07", "{run}", "--split", "tset"), ("tset",)),
        (("eval", "--voc07", "--detections", "{empty}"), ("--data DIR [--split NAME]",)),
        (("eval", "--voc07", "--detections", "{empty}", "--data", "{data}", "--split", "test"), ("no file comp",)),
        (("eval", "--voc07", "{run}", "--detections", "{empty}"), ("not both",)),
        (("detect", "{empty}", "{data}/JPEGImages", "--out", "{empty}/out"), ("this folder holds no model.pt",)),
        (("detect", "{run}", "nowhere.jpg", "--out", "{empty}/out"), ("nowhere.jpg: no such file or folder",)),
        (("detect", "{run}", "{empty}", "--out", "{empty}/out"), ("no images in this folder",)),
    ],
    ids=lambda value: " ".join(value) if value[0] in ("train", "eval", "detect") else "",
)
def test_errors_are_one_line_and_status_2(
    arguments: tuple[str, ...],
    parts: tuple[str, ...],
    inside: Inside,
    tiny_file: Path,
    tmp_path: Path,
    finished_run: Path,
    voc_root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    places = {"config": tiny_file, "empty": tmp_path / "empty", "run": finished_run, "data": voc_root}
    status, out, err = inside(*(argument.format(**places) for argument in arguments))
    assert status == 2
    assert out == ""
    assert len(err.splitlines()) == 1 and err.startswith("error: ")
    for part in parts:
        assert part in err


def test_a_real_process_exits_with_status_2_and_one_line(start: Start, tmp_path: Path) -> None:
    process = start("train", tmp_path / "nowhere.yaml")
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, len(err.splitlines())) == (2, "", 1)


@pytest.mark.parametrize("name", ["train", "eval", "detect"])
def test_help_shows_an_example(name: str, inside: Inside) -> None:
    status, out, _ = inside(name, "--help")
    assert status == 0
    assert f"detkit {name}" in out.split("example", maxsplit=1)[1]


def test_options_may_stand_among_the_overrides(tiny_file: Path, tmp_path: Path, inside: Inside) -> None:
    status, out, _ = inside(
        "train", "--run", tmp_path / "run", tiny_file, "train.steps=1", "--fresh", "train.batch_size=4"
    )
    assert status == 0
    assert "rate 0.001 is for batches of 2: 0.002 for 4" in out
    written: dict[str, Any] = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (written["train"]["batch_size"], written["train"]["lr_batch"]) == (4, 2)


def test_a_damaged_config_of_a_run_is_an_error(tiny_file: Path, tmp_path: Path) -> None:
    (tmp_path / "model.pt").touch()
    (tmp_path / "config.yaml").write_text("data: {root: [")
    with pytest.raises(ConfigError, match=r"config\.yaml: not readable as YAML"):
        train(load_config(tiny_file), tmp_path)
