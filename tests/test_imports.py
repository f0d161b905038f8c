"""What is imported by what is done, counted in a fresh process: nothing before it is needed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parent.parent
FAST = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}

LEARNING = {"torch", "torchvision", "timm", "albumentations", "sklearn"}
SCORERS = {"pycocotools", "faster_coco_eval"}
PAGES = {"matplotlib", "jinja2"}
SHOWN_WHILE_IT_RUNS = {"rich", "tensorboard"}


def imported(script: str, *arguments: object) -> set[str]:
    """The top packages that are there after `script` in a process of its own."""
    code = f"import sys\n{script}\nprint('\\n' + ' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | FAST, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


CHECK = """
from pathlib import Path
from detkit.commands.check_data import check
from detkit.config.loading import load_config
from detkit.config.packaged import find_config
from detkit.data.formats.forms import find_form
from detkit.recipes.plan import config_for_own_data
from detkit.runtime import gpu
gpu._DEVICES = ()  # a machine without a GPU: where there is one, torch is asked about it
config = load_config(find_config(config_for_own_data()))
found = check(find_form(Path(sys.argv[1])), [], None, config)
assert list(found.lines())
"""
PAGE = """
from detkit.reports.data_report import write_data_report
write_data_report(Path(sys.argv[2]), found.report, found.frame, found.statistics, list(found.perfect_lines()))
"""
CONVERT = """
from pathlib import Path
from detkit.commands.convert_data import convert
from detkit.data.formats.forms import find_form
convert(find_form(Path(sys.argv[1])), sys.argv[2], Path(sys.argv[3]), None, False, print)
"""
SCORE = """
from pathlib import Path
from detkit.commands.eval import open_annotations, score
from detkit.evaluation.coco_files import read_rows
dataset, name, images = open_annotations(Path(sys.argv[1]), "test", None)
found = read_rows(Path(sys.argv[2]), dataset.ground_truth())
assert score(found, dataset, [sys.argv[3]], {}, Path(sys.argv[4]), name, "files", None, images).report.is_file()
"""
WRONG_KEY = """
from pathlib import Path
from detkit.config.loading import ConfigError, load_config
try:
    load_config(Path(sys.argv[1]))
except ConfigError as error:
    assert "did you mean" in str(error)
else:
    raise AssertionError("read a config with a wrong key")
"""
DETECT = """
import detkit
assert detkit.load(sys.argv[1], "cpu").predict(sys.argv[2], 0.0) is not None
"""


def test_data_are_checked_without_torch(voc_root: Path) -> None:
    assert not imported(CHECK, voc_root) & (LEARNING | SCORERS | PAGES | SHOWN_WHILE_IT_RUNS)


def test_the_page_of_a_check_needs_no_torch(voc_root: Path, tmp_path: Path) -> None:
    packages = imported(CHECK + PAGE, voc_root, tmp_path / "page")
    assert packages >= PAGES
    assert not packages & (LEARNING | SCORERS | SHOWN_WHILE_IT_RUNS)


@pytest.mark.parametrize("kind", ["coco", "yolo"])
def test_data_are_converted_without_torch(kind: str, voc_root: Path, tmp_path: Path) -> None:
    packages = imported(CONVERT, voc_root, kind, tmp_path / "out")
    assert not packages & (LEARNING | SCORERS | PAGES | SHOWN_WHILE_IT_RUNS | {"numba"})


@pytest.mark.parametrize("metric", ["voc07", "coco"])
def test_files_of_detections_are_scored_without_what_a_detector_needs(
    metric: str, voc_root: Path, tmp_path: Path
) -> None:
    file = tmp_path / "results.json"
    file.write_text(json.dumps([{"image_id": "000010", "category_id": 1, "bbox": [5, 5, 40, 16], "score": 0.5}]))
    packages = imported(SCORE, voc_root, file, metric, tmp_path / "eval")
    assert not packages & ((LEARNING - {"torch"}) | SHOWN_WHILE_IT_RUNS)
    assert ("faster_coco_eval" in packages) == ("numba" in packages) == (metric == "coco")


def test_a_wrong_key_is_told_without_a_library_for_images(tiny: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(yaml.safe_dump(tiny | {"train": tiny["train"] | {"stepz": 1}}))
    assert not imported(WRONG_KEY, file) & (
        LEARNING | SCORERS | PAGES | SHOWN_WHILE_IT_RUNS | {"numba", "numpy", "cv2"}
    )


def test_a_detector_detects_without_what_training_and_reports_need(finished_run: Path, voc_root: Path) -> None:
    packages = imported(DETECT, finished_run, next((voc_root / "JPEGImages").iterdir()))
    assert "torch" in packages
    assert not packages & ((LEARNING - {"torch", "torchvision"}) | SCORERS | PAGES | SHOWN_WHILE_IT_RUNS | {"numba"})
