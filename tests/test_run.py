"""Runs from Python: trained, opened, scored, shown and used."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import detkit
from detkit.commands import train as training
from detkit.config.loading import ConfigError, load_config
from detkit.engine.checkpoint import load_model
from detkit.run import Run, open_run, train

ANSWER = {"map": 0.5, "ap": {"bar": 0.25, "<block>": None}}


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Run:
    """A copy of a finished run, to be changed."""
    return open_run(shutil.copytree(finished_run, tmp_path / "copy"))


def write_metrics(folder: Path, **changes: Any) -> None:
    folder.mkdir(parents=True)
    content = {"metric": "voc07", **ANSWER, "images": 3, "split": "test", "metrics": {"voc07": ANSWER}} | changes
    (folder / "metrics.json").write_text(json.dumps(content))


def test_the_package_offers_them() -> None:
    assert (detkit.train, detkit.open_run, detkit.Run) == (train, open_run, Run)


def test_training_is_that_of_the_command_line(
    tiny_file: Path, tmp_path: Path, finished_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(tiny_file, run=tmp_path / "run", workers=0)
    assert run.folder == tmp_path / "run" and f"run {run.folder}: 8 images" in capsys.readouterr().out
    ours, theirs = load_model(run.folder).weights, load_model(finished_run).weights
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert [row["step"] for row in run.history] == [1, 2, 3, 4] and all(row["loss"] > 0 for row in run.history)
    assert run.classes == ("bar", "block") and run.metrics is None


def test_arguments_and_settings_reach_the_config(
    tiny: dict[str, Any], voc_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of one's own in a config that was written for another."""
    tiny["data"] |= {"root": "missing", "train": ["trainval"], "val": []}
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(tiny))
    monkeypatch.chdir(tmp_path)
    asked = {"model.rpn.nms_iou": 0.6, "data.augment": {"horizontal_flip": 0.25}, "model.rpn.ratios": (1, 2.0)}
    run = train(
        file, data=str(voc_root), steps=2, batch_size=1, lr=1e-5, workers=1, seed=7, precision="fp32", settings=asked
    )
    assert run.folder == Path(f"runs/mine_{voc_root.name}")
    config = run.config
    assert (config.train.steps, config.train.batch_size, config.train.lr, config.train.seed) == (2, 1, 1e-5, 7)
    assert (config.data.root, config.data.workers) == (str(voc_root), 1)
    assert config.data.augment.horizontal_flip == 0.25
    assert (config.model.rpn.nms_iou, config.model.rpn.ratios) == (0.6, (1.0, 2.0))
    assert [row["step"] for row in run.history] == [1, 2]


def test_what_does_not_fit_is_said(tiny_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(ConfigError, match=r"train\.stepz: unknown key, did you mean steps\?"):
        train(tiny_file, run=folder, settings={"train.stepz": 3})
    with pytest.raises(ValueError, match=r"train\.steps: given by its own argument and in settings, too"):
        train(tiny_file, run=folder, steps=1, settings={"train.steps": 3})
    with pytest.raises(ValueError, match=r"settings\['data\.root'\]: PosixPath\('x'\) is no value of a config"):
        train(tiny_file, run=folder, settings={"data.root": Path("x")})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="neither a config nor data is named"):
        train(run=folder)
    with pytest.raises(ValueError, match=r"demos: no file, and no config of that name; did you mean demo"):
        train("demos", run=folder)
    assert not folder.exists()


def test_ctrl_c_leaves_a_checkpoint_and_the_same_call_goes_on(
    tiny_file: Path, tmp_path: Path, finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped as by Ctrl-C in the third step, which is taken between two."""
    build = training.build_detector

    def build_stopped(*arguments: Any) -> Any:
        model, calls = build(*arguments), []

        def count(*_: object) -> None:
            calls.append(1)
            if len(calls) == 3:
                os.kill(os.getpid(), signal.SIGINT)

        model.register_forward_pre_hook(count)
        return model

    monkeypatch.setattr(training, "build_detector", build_stopped)
    with pytest.raises(KeyboardInterrupt):
        train(tiny_file, run=tmp_path / "run")
    assert open_run(tmp_path / "run").history[-1]["step"] == 3
    monkeypatch.undo()
    run = train(tiny_file, run=tmp_path / "run")
    assert [row["step"] for row in run.history] == [1, 2, 3, 4]
    assert run.history[-1]["loss"] == open_run(finished_run).history[-1]["loss"]
    again = train(tiny_file, run=tmp_path / "run", steps=1, fresh=True)
    assert [row["step"] for row in again.history] == [1]


def test_evaluating(run: Run, voc_root: Path, tmp_path: Path) -> None:
    metrics = run.evaluate()
    assert (metrics.metric, metrics.images, metrics.split) == ("voc07", 3, "test")
    assert tuple(metrics.ap) == run.classes and metrics.fps
    assert run.metrics == metrics and (run.folder / "eval" / "test" / "report.html").is_file()
    both = run.evaluate(("coco", "voc10"), split="val", device="cpu", out=tmp_path / "out")
    assert (both.metric, list(both.metrics), both.images) == ("coco", ["coco", "voc10"], 2)
    assert both.map == both.coco["AP"] and (tmp_path / "out" / "report.html").is_file()
    assert run.metrics == metrics
    other = Path(shutil.copytree(voc_root, tmp_path / "other"))
    assert run.evaluate("voc10", data=str(other), form="voc", split="train").images == 8
    assert (run.folder / "eval" / "other_train" / "metrics.json").is_file()
    with pytest.raises(ValueError, match="metric 'voc12': expected some of voc07, voc10, coco"):
        run.evaluate("voc12")  # type: ignore[arg-type]


def test_the_newest_scores_count(run: Run) -> None:
    write_metrics(run.folder / "eval" / "test")
    write_metrics(run.folder / "eval" / "val", split="val", map=0.75)
    os.utime(run.folder / "eval" / "test" / "metrics.json", (1, 1))
    assert run.metrics is not None and (run.metrics.split, run.metrics.map) == ("val", 0.75)
    (run.folder / "eval" / "val" / "metrics.json").write_text("{}")
    with pytest.raises(ValueError, match=r"metrics\.json: map Field required"):
        _ = run.metrics


def test_detecting(run: Run, voc_root: Path) -> None:
    predictor = run.predictor("cpu")
    assert predictor.classes == run.classes
    assert predictor.predict(voc_root / "JPEGImages" / "000000.png").size == (96, 128)


def test_how_a_run_shows_itself(run: Run) -> None:
    assert repr(run).startswith(f"<Run {run.folder}: faster_rcnn, ") and "bar, block, 4 of 4 steps>" in repr(run)
    write_metrics(run.folder / "eval" / "test")
    assert repr(run).endswith("mAP (voc07) 0.5000 on 3 images of test>")
    html = run._repr_html_()
    assert html.startswith("<table>") and "<th>steps</th><td>4 of 4 steps</td>" in html
    assert run.metrics is not None
    table = run.metrics._repr_html_()
    assert "<th>class</th><th>voc07</th>" in table and "<td>bar</td><td>0.2500</td>" in table
    assert "<td>&lt;block&gt;</td><td>-</td>" in table and "<td><b>mean</b></td><td>0.5000</td>" in table
    assert str(run.metrics) == repr(run.metrics) == "<Metrics: mAP (voc07) 0.5000 on 3 images of test>"


def test_a_run_of_the_built_in_set_knows_its_classes(tmp_path: Path) -> None:
    config = load_config(Path(__file__).parent.parent / "configs" / "demo.yaml")
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    run = open_run(str(tmp_path))
    assert len(run.classes) == 7 and "0 of" in repr(run) and run.history == [] and run.metrics is None


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nothing: no run, as it has no config\.yaml"):
        open_run(tmp_path / "nothing")
