"""detkit export as it is called."""

from collections.abc import Callable
from pathlib import Path

import pytest

from detkit.engine.checkpoint import load_model

Inside = Callable[..., tuple[int, str, str]]


@pytest.fixture
def images(voc_root: Path) -> list[Path]:
    return sorted((voc_root / "JPEGImages").glob("*.png"))[:4]  # three wide, one tall


def test_safetensors(inside: Inside, finished_run: Path, images: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    status, output, errors = inside("export", finished_run, "--safetensors", path, "--check", *images)
    assert (status, errors) == (0, "")
    assert output.splitlines()[0].startswith(f"written: {path} (safetensors, ")
    assert output.splitlines()[1].endswith("in 4 images; greatest difference: 0 px, score 0")
    assert load_model(path).weights.keys() == load_model(finished_run).weights.keys()


@pytest.mark.slow
def test_onnx(inside: Inside, finished_run: Path, images: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "new" / "detector.onnx"
    status, output, _ = inside("export", finished_run, "--onnx", path, "--check", *images)
    assert status == 0 and output.startswith(f"written: {path} (ONNX, opset 18, ")
    assert "in 4 images; greatest difference: " in output and " 0 detections" not in output


def test_errors_are_one_line(inside: Inside, finished_run: Path, tmp_path: Path) -> None:
    calls = [
        ((tmp_path / "nowhere", "--onnx", tmp_path / "d.onnx"), "no such run"),
        ((finished_run, "--onnx", tmp_path / "d.bin"), "is to end with .onnx"),
        ((finished_run, "--safetensors", tmp_path / "d.safetensors", "--check", tmp_path / "a.jpg"), "a.jpg"),
    ]
    for arguments, part in calls:
        status, _, errors = inside("export", *arguments)
        assert status == 2 and errors.startswith("error: ") and errors.count("\n") == 1 and part in errors, errors


def test_help_has_examples(inside: Inside) -> None:
    status, output, _ = inside("export", "--help")
    assert status == 0 and "detkit export runs/demo --onnx demo.onnx --check street.jpg" in output
