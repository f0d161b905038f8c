"""The wheel: built from this tree, installed into an empty environment elsewhere, it does all that the README says."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from detkit.config.packaged import config_names

REPOSITORY = Path(__file__).parent.parent
UV = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    (file,) = folder.glob("*.whl")
    return file


def test_it_holds_the_configs_the_templates_and_the_command(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"detkit/configs/{name}.yaml" for name in config_names()} <= set(names)
    assert {"detkit/py.typed", "detkit/reports/run_report.html.j2", "detkit/reports/style.css"} <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "tools/", "configs/"))]
    (entry,) = (name for name in names if name.endswith("entry_points.txt"))
    assert "detkit = detkit.cli.main:main" in zipfile.ZipFile(wheel).read(entry).decode()


@pytest.mark.slow
def test_from_an_empty_environment_to_detections(wheel: Path, tmp_path: Path) -> None:
    """Nothing of the checkout is in reach: another folder, another environment, PYTHONPATH empty."""
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, str(tmp_path / "env")], check=True)
    python = tmp_path / "env" / "bin" / "python"
    install = [UV, "pip", "install", "--quiet", "--python", str(python), str(wheel)]
    subprocess.run([*install, "--constraint", str(REPOSITORY / "requirements.lock")], check=True)
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    work = tmp_path / "work"
    work.mkdir()

    def run(*words: str) -> str:
        done = subprocess.run(words, cwd=work, env=clean, text=True, capture_output=True)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    detkit = str(python.with_name("detkit"))
    where = run(str(python), "-c", "import detkit; print(detkit.__file__)").strip()
    assert Path(where).is_relative_to(tmp_path / "env")
    assert "faster_rcnn_r101" in run(detkit, "configs")
    assert "all well" in run(detkit, "doctor")
    small = ["data.num_train=8", "data.num_val=4", "data.num_test=4", "train.checkpoint_every=20", "data.workers=0"]
    assert "detkit eval runs/demo" in run(detkit, "train", "demo", "train.steps=20", *small)
    assert "mAP (voc07)" in run(detkit, "eval", "runs/demo", "--voc07")
    assert (work / "runs/demo/eval/test/report.html").is_file()
    Image.fromarray(np.full((90, 120, 3), 128, dtype=np.uint8)).save(work / "grey.png")
    run(detkit, "detect", "runs/demo", "grey.png", "--out", "found", "--min-score", "0")
    found = json.loads((work / "found" / "detections.json").read_text())
    assert found["complete"] and len(found["images"]) == 1
    assert "0 errors" in run(detkit, "check-data", "data/shapes_demo")
    settings = {"data.num_train": 8, "data.num_val": 4, "data.num_test": 4, "data.workers": 0}
    code = f"import detkit; print(detkit.train('demo', steps=21, settings={settings}, run='runs/two').evaluate())"
    assert "voc07" in run(str(python), "-c", code)
    assert yaml.safe_load((work / "runs/two/config.yaml").read_text())["train"]["steps"] == 21
