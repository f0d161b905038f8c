"""A tiny data set of drawn rectangles in the VOC folder shape, and a tiny detector on it."""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from detkit.config.loading import load_config, parse_config
from detkit.config.schema import Config

REPOSITORY = Path(__file__).parent.parent
COLORS = {"bar": (220, 60, 40), "block": (40, 90, 220)}  # class: RGB
SPLITS = {"train": range(8), "val": range(8, 10), "test": range(10, 13)}
FAST = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def voc_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """13 images of about 96 x 128 px, every fourth one tall; the last of train has no object."""
    root = tmp_path_factory.mktemp("rectangles")
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for split, numbers in SPLITS.items():
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{n:06d}\n" for n in numbers))
        for number in numbers:
            _draw(root, number, num_objects=0 if number == 7 else 2)
    return root


def _draw(root: Path, number: int, num_objects: int) -> None:
    rng = np.random.default_rng(number)
    height, width = (128, 96) if number % 4 == 3 else (96, 128)
    pixels = rng.integers(90, 130, (height, width, 3)).astype(np.uint8)
    objects = ""
    for place, (name, color) in list(enumerate(COLORS.items()))[:num_objects]:
        box_h, box_w = (16, 40) if name == "bar" else (32, 32)
        x, y = int(rng.integers(0, width // 2 - 40 + 1)) + place * width // 2, int(rng.integers(0, height - box_h))
        pixels[y : y + box_h, x : x + box_w] = color
        corners = zip(("xmin", "ymin", "xmax", "ymax"), (x + 1, y + 1, min(x + box_w, width), y + box_h), strict=True)
        sides = "".join(f"<{side}>{value}</{side}>" for side, value in corners)
        objects += f"<object><name>{name}</name><bndbox>{sides}</bndbox></object>"
    Image.fromarray(pixels).save(root / "JPEGImages" / f"{number:06d}.png")
    (root / "Annotations" / f"{number:06d}.xml").write_text(f"<annotation>{objects}</annotation>")


@pytest.fixture
def tiny(voc_root: Path) -> dict[str, Any]:
    """The content of a config whose step takes a tenth of a second; a test may change it."""
    return _tiny(voc_root)


def _tiny(voc_root: Path) -> dict[str, Any]:
    selection = {f"{mode}_{when}_nms": 16 for mode in ("train", "test") for when in ("before", "after")}
    return {
        "data": {
            "kind": "voc",
            "root": str(voc_root),
            "train": ["train"],
            "test": ["test"],
            "short_side": 64,
            "long_side": 96,
            "workers": 0,
        },
        "model": {
            "kind": "faster_rcnn",
            "backbone": {"kind": "resnet", "depth": 18, "norm": "group", "frozen_stages": 0, "weights": None},
            "pool": {"kind": "roi_align", "size": 3, "sampling": 1},
            "rpn": {"channels": 16, "sizes": [24, 40], "ratios": [1.0], "min_side": 2, "across_border": True}
            | selection,
            "head": {"batch_per_image": 8, "min_score": 0.01},
        },
        "train": {
            "steps": 4,
            "batch_size": 2,
            "lr": 0.001,
            "optimizer": {"kind": "sgd"},
            "schedule": {"kind": "step", "drops": [3]},
            "checkpoint_every": 2,
            "log_every": 1,
        },
    }


@pytest.fixture
def tiny_config(tiny: dict[str, Any]) -> Config:
    return parse_config(tiny, "tiny")


@pytest.fixture
def tiny_file(tiny: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny))
    return path


@pytest.fixture(scope="session")
def finished_run(voc_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of the tiny config; not to be changed."""
    from detkit.commands.train import train  # imports half a dozen libraries, which most tests do not need

    folder = tmp_path_factory.mktemp("runs") / "tiny"
    file = folder.with_name("tiny.yaml")
    file.write_text(yaml.safe_dump(_tiny(voc_root)))
    train(load_config(file), folder)
    return folder


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="session")
def start() -> Start:
    """Starts a command line tool: start("train", config, "--run", folder)."""

    def popen(name: str, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, REPOSITORY / "tools" / f"{name}.py", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen([str(c) for c in command], stdout=pipe, stderr=pipe, text=True, env=os.environ | FAST)

    return popen


Inside = Callable[..., tuple[int, str, str]]


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Inside:
    """Runs a tool in this process, which is quicker: (exit status, standard output, standard error)."""

    def run(name: str, *arguments: object) -> tuple[int, str, str]:
        path = REPOSITORY / "tools" / f"{name}.py"
        monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit:
            runpy.run_path(str(path), run_name="__main__")
        assert isinstance(exit.value.code, int)
        return exit.value.code, *capsys.readouterr()

    return run
