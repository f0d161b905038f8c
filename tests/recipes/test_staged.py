"""R-CNN and SPPNet as pipelines: killed in any stage they end as undisturbed, and leave on disk what they should."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from detkit.commands.train import train
from detkit.config.loading import parse_config
from detkit.data.formats.forms import Form
from detkit.data.formats.opening import open_form
from detkit.data.pipeline.proposal_file import ProposalFile
from detkit.engine.checkpoint import load_model
from detkit.staged import feature_store

REPOSITORY = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}

KILLER = """
import importlib, os, signal, sys
from pathlib import Path
from detkit.config.loading import load_config
from detkit.commands.train import train

module, _, name = sys.argv[3].partition(":")
owner = importlib.import_module(module)
*path, name = name.split(".")
for part in path:
    owner = getattr(owner, part)
whole, calls = getattr(owner, name), [0]

def deadly(*arguments, **named):
    calls[0] += 1
    if calls[0] == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(*arguments, **named)

setattr(owner, name, deadly)
train(load_config(Path(sys.argv[1])), Path(sys.argv[2]))
"""

# Where the pipeline is killed: function, call.
KILLS = [
    ("detkit.engine.trainer:Trainer._train_step", 4),  # in the fine-tuning, behind its first checkpoint
    ("detkit.staged.feature_store:save", 5),  # features of the third or fifth image, its partial file open
    ("detkit.recipes.staged:train_svms", 1),
    ("detkit.staged.svm:_fit", 2),  # between two SVMs
    ("detkit.recipes.staged:_fit_regressors", 1),  # the SVMs are there
    ("detkit.staged.bbox_regressor:_solve", 2),
    ("detkit.recipes.session:save_model", 1),  # all stages are there
]


@pytest.fixture
def staged(tiny: dict[str, Any], voc_root: Path, tmp_path: Path) -> dict[str, Any]:
    """A config of R-CNN in seconds; `proposals` are drawn at random."""
    dataset = open_form(Form("voc", voc_root, ()), ["train"], None)
    file = ProposalFile.create(tmp_path / "train.sqlite", "drawn")
    rng = np.random.default_rng(0)
    for index, image_id in enumerate(dataset.image_ids):
        height, width = dataset.size(index)
        about = dataset.target(index).boxes.numpy().repeat(4, axis=0)
        about = about + rng.uniform(-4, 4, about.shape)
        corner = rng.uniform(0, 0.5, (12, 2))
        anywhere = np.concatenate([corner, corner + rng.uniform(0.2, 0.5, (12, 2))], axis=1) * ([width, height] * 2)
        boxes = np.concatenate([about, anywhere]).clip(0, [width, height] * 2).astype(np.float32)
        file.write(image_id, boxes, np.linspace(1, 0, len(boxes), dtype=np.float32), (height, width), 0.01)
    tiny["model"] = {
        "kind": "rcnn",
        "backbone": {"kind": "zfnet", "width": 0.1, "fc_dim": 16, "weights": None},
        "crop_side": 32,
        "context": 2,
        "proposals": {"kind": "files", "files": [str(file.path)]},
        "head": {"batch_per_image": 8, "box_weight": 0.0},
        "svm": {"c": 1.0},
    }
    tiny["train"]["lr_batch"] = 2  # as load_config sets it
    return tiny


def as_sppnet(content: dict[str, Any]) -> dict[str, Any]:
    model = {key: content["model"][key] for key in ("backbone", "proposals", "head", "svm")}
    scales = {"sides": [48, 64, 96], "region_side": 32}
    sppnet = {"kind": "sppnet", "noc": {"convs": 0, "fc_dim": 16}, "scales": scales}
    return content | {"model": model | sppnet}


def run_whole(content: dict[str, Any], folder: Path) -> dict[str, torch.Tensor]:
    train(parse_config(content, "staged"), folder)
    return load_model(folder).weights


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["rcnn", "sppnet"])
def test_killed_in_any_stage_it_ends_as_undisturbed(kind: str, staged: dict[str, Any], tmp_path: Path) -> None:
    content = staged if kind == "rcnn" else as_sppnet(staged)
    expected = run_whole(content, tmp_path / "undisturbed")
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(content))
    for where, call in KILLS:
        folder = tmp_path / f"killed in {where.rpartition(':')[2]}"
        command = [sys.executable, "-c", KILLER, str(config), str(folder), where, str(call)]
        killed = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
        assert killed.returncode == -signal.SIGKILL, f"{where}: {killed.stderr}"
        assert not (folder / "model.pt").exists()
        weights = run_whole(content, folder)
        assert weights.keys() == expected.keys()
        different = [name for name, value in expected.items() if not torch.equal(weights[name], value)]
        assert not different, where
        assert not list(folder.rglob("*partial*"))


def test_features_go_when_they_have_served_and_stay_when_asked_to(staged: dict[str, Any], tmp_path: Path) -> None:
    run_whole(staged, tmp_path / "gone")
    assert not (tmp_path / "gone" / "features").exists()
    staged["model"]["keep_features"] = True
    run_whole(staged, tmp_path / "kept")
    assert len(list((tmp_path / "kept" / "features" / "fc7").iterdir())) == 8
    assert len(list((tmp_path / "kept" / "features" / "regressed").iterdir())) == 8


def test_every_stage_is_timed_and_a_finished_run_is_left_alone(staged: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run_whole(staged, folder)
    rows = [json.loads(line) for line in (folder / "stages.jsonl").read_text().splitlines()]
    assert list(dict.fromkeys(row["stage"] for row in rows)) == [
        "proposals",
        "finetune",
        "features",
        "svms",
        "regressors",
    ]
    assert next(row for row in rows if row["stage"] == "proposals")["seconds"] == pytest.approx(8 * 0.01)
    assert max(row.get("bytes", 0) for row in rows if row["stage"] == "features") > 1000
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.pt")}
    run_whole(staged, folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.pt")} == before


def test_too_little_room_is_refused_before_anything_is_written(
    staged: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = feature_store.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(feature_store.shutil, "disk_usage", lambda path: usage._replace(free=100))
    with pytest.raises(ValueError, match=r"features of 8 images: .* GB needed, 0.0 GB free"):
        run_whole(staged, tmp_path / "run")
    assert not list((tmp_path / "run" / "features").rglob("*.safetensors"))


def test_an_image_without_proposals_is_told_before_training(staged: dict[str, Any], tmp_path: Path) -> None:
    staged["data"]["train"] = ["train", "val"]
    with pytest.raises(ValueError, match=r"image 000008 and 1 more: no proposals in .*make-proposals"):
        run_whole(staged, tmp_path / "run")
