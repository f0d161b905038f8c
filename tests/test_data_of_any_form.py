"""A folder in any form is trained on and scored with no more than --data DIR; several are trained on together."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from detkit.build.data import build_training_set
from detkit.commands.convert_data import convert
from detkit.config.data import FolderData, FormName
from detkit.config.loading import load_config
from detkit.data.formats.forms import find_form
from detkit.engine.checkpoint import load_model
from tests.data.exports.truth import FOLDER

Inside = Callable[..., tuple[int, str, str]]  # the fixtures of conftest.py


@pytest.fixture(scope="session")
def folders(voc_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[FormName, Path]:
    """The rectangles in each form."""
    root = tmp_path_factory.mktemp("forms")
    folders: dict[FormName, Path] = {"voc": voc_root, "coco": root / "coco", "yolo": root / "yolo"}
    for kind in ("coco", "yolo"):
        convert(find_form(voc_root), kind, folders[kind], None, False, pytest.fail)
    return folders


@pytest.mark.parametrize("kind", ["voc", "coco", "yolo"])
def test_a_folder_is_trained_on_and_scored(
    folders: dict[FormName, Path], kind: FormName, tiny_file: Path, tmp_path: Path, inside: Inside
) -> None:
    run, data = tmp_path / "run", folders[kind]
    code, out, err = inside("train", tiny_file, "--data", data, "--run", run, "train.steps=1")
    assert (code, f"{kind.upper()} form" in out) == (0, True), err
    assert "training on train; testing on test" in out
    assert load_model(run).classes == ("bar", "block")
    code, out, err = inside("eval", run, "--voc07", "--voc10", "--coco")
    assert code == 0, err
    metrics = json.loads((run / "eval" / "test" / "metrics.json").read_text())
    assert list(metrics["metrics"]) == ["voc07", "voc10", "coco"]
    assert (metrics["metric"], metrics["images"], len(metrics["coco"])) == ("voc07", 3, 12)
    files = {path.name for path in (run / "eval" / "test").iterdir()}
    assert {"results.json", "report.html", "comp4_det_test_bar.txt"} <= files
    assert all(f"mAP ({name})" in out for name in metrics["metrics"])


@pytest.mark.parametrize(
    ("export", "title"),
    [
        ("labelme_rectangles", "labelme"),
        ("datumaro_cvat", "CVAT"),
        ("datumaro_open_images", "Open Images"),
        ("datasets_imagefolder_names", "Hugging Face"),
        ("datasets_saved_dict", "Hugging Face"),
        ("datumaro_yolo", "YOLO"),
        ("fiftyone_voc", "VOC"),
        ("roboflow_coco", "COCO"),
        ("lvis_v1", "COCO"),
    ],
)
def test_what_a_tool_wrote_is_trained_on_and_scored(
    export: str, title: str, tiny_file: Path, tmp_path: Path, inside: Inside
) -> None:
    shutil.copytree(FOLDER / export, tmp_path / export)  # images may be written out beside the files that hold them
    run, data = tmp_path / "run", tmp_path / export
    code, out, err = inside("train", tiny_file, "--data", data, "--run", run, "train.steps=1")
    assert (code, f"{title} form" in out) == (0, True), err
    assert set(load_model(run).classes) <= {"bolt", "hex nut", "hex_nut", "washer", "parts"}
    assert inside("eval", run)[0] == 0
    assert "training can start" in inside("check_data", data)[1]


@pytest.mark.parametrize("has_gpu", [False, True])
def test_the_name_of_a_run_is_the_same_with_and_without_a_gpu(
    has_gpu: bool, inside: Inside, voc_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = []
    monkeypatch.setattr("detkit.commands.train.train", lambda config, folder, fresh: folders.append(folder))
    monkeypatch.setattr("detkit.recipes.plan.has_gpu", lambda: has_gpu)
    code, out, _ = inside("train", "--data", voc_root)
    assert code == 0 and ("config: own_data_cpu" in out) is not has_gpu
    assert folders == [Path("runs") / f"own_data_{voc_root.name}"]


def test_files_of_any_tool_are_scored_as_the_run_that_wrote_them(
    folders: dict[FormName, Path], finished_run: Path, tmp_path: Path, inside: Inside
) -> None:
    data = folders["coco"]
    assert inside("eval", finished_run, "--coco", "--voc10", "--data", data, "--out", tmp_path / "a")[0] == 0
    annotations = data / "annotations" / "instances_test.json"
    alone = tmp_path / "alone"  # without images
    (alone / "annotations").mkdir(parents=True)
    (alone / "annotations" / annotations.name).write_bytes(annotations.read_bytes())
    for number, where in enumerate(([data], [data, "--split", "test"], [annotations], [alone, "--split", "test"])):
        out = tmp_path / str(number)
        code, _, err = inside(
            "eval", "--coco", "--voc10", "--detections", tmp_path / "a" / "results.json", "--data", *where, "--out", out
        )
        assert code == 0, err
        ours, theirs = (json.loads((folder / "metrics.json").read_text()) for folder in (tmp_path / "a", out))
        assert ours["metrics"] == theirs["metrics"] and ours["coco"] == theirs["coco"]


def test_what_is_asked_for_must_make_sense(
    folders: dict[FormName, Path], tiny_file: Path, tmp_path: Path, inside: Inside
) -> None:
    assert inside("train")[0] == 2
    assert inside("train", tiny_file, tiny_file)[0] == 2
    assert inside("train", tiny_file, "--form", "coco")[0] == 2
    assert "there is no such folder" in inside("train", tiny_file, "--data", tmp_path / "gone")[2]
    (tmp_path / "empty").mkdir()
    assert "no data set is there; looked for" in inside("train", tiny_file, "--data", tmp_path / "empty")[2]
    assert inside("eval", tmp_path)[0] == 2  # no metric
    results = tmp_path / "results.json"
    results.write_text("[]")
    assert "--data" in inside("eval", "--coco", "--detections", results)[2]


def test_splits_for_testing_are_not_trained_on(
    folders: dict[FormName, Path], tiny_file: Path, tmp_path: Path, inside: Inside
) -> None:
    root = tmp_path / "no_train"
    shutil.copytree(folders["coco"], root)
    (root / "annotations" / "instances_train.json").unlink()
    code, _, err = inside("train", tiny_file, "--data", root, "--run", tmp_path / "run")
    assert code == 2 and "of the splits test, val none is for training" in err
    assert not (tmp_path / "run").exists()


def test_several_folders_are_learned_from_by_the_names_of_classes(
    folders: dict[FormName, Path], tiny: dict[str, Any], tmp_path: Path
) -> None:
    tiny["data"] |= {
        "classes": ["block", "brick"],
        "rename": {"bar": "brick"},
        "also": [
            {"kind": "coco", "root": str(folders["coco"]), "splits": ["train", "val"], "rename": {"bar": "brick"}},
            {"kind": "yolo", "root": str(folders["yolo"]), "splits": ["val"]},
        ],
    }
    file = tmp_path / "joined.yaml"
    file.write_text(yaml.safe_dump(tiny))
    data = load_config(file).data
    assert isinstance(data, FolderData)
    joined = build_training_set(data)
    assert joined.classes == ("block", "brick")
    assert len(joined) == 8 + (8 + 2) + 2 and len(set(joined.image_ids)) == len(joined)
    counts = [sum(int((joined.target(i).labels == label).sum()) for i in range(len(joined))) for label in (0, 1)]
    assert counts == [7 + 7 + 2 + 2, 7 + 7 + 2]  # YOLO's bars have no name here, and are left out


def test_weights_are_chosen_by_the_metric_of_the_form(
    folders: dict[FormName, Path], tiny_file: Path, tmp_path: Path, inside: Inside
) -> None:
    code, out, err = inside(
        "train", tiny_file, "--data", folders["coco"], "--run", tmp_path / "run", "train.steps=1", "train.eval_every=1"
    )
    assert code == 0, err
    assert "weights are chosen on val" in out and "--coco" in out
    [row] = [row for row in map(json.loads, (tmp_path / "run" / "log.jsonl").open()) if "val_map" in row]
    assert 0 <= row["val_map"] <= 1
