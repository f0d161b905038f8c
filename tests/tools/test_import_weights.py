"""detkit import-weights: what it prints, and its errors in one line."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision

Inside = Callable[..., tuple[int, str, str]]


def test_import(inside: Inside, tmp_path: Path) -> None:
    path, out = tmp_path / "resnet18.pth", tmp_path / "backbone.pt"
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), path)
    status, output, errors = inside("import_weights", path, "--out", out)
    assert (status, errors) == (0, "") and out.is_file()
    assert output.splitlines()[0] == f"{path} (torch file): torchvision's ResNet-18"
    assert output.splitlines()[1].endswith(f"model.backbone.weights={out}")
    status, output, errors = inside("import_weights", path, "--out", out, "--classes", "a,b")
    assert (status, output) == (2, "") and errors.count("\n") == 1 and "--classes" in errors


def test_changes_to_a_config_stand_anywhere(inside: Inside, tmp_path: Path) -> None:
    path, out = tmp_path / "resnet18.pth", tmp_path / "backbone.pt"
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), path)
    status, output, errors = inside("import_weights", path, "data.short_side=800", "--out", out, "model.pool.size=7")
    assert (status, output, errors.count("\n")) == (2, "", 1) and "no use for data.short_side=800" in errors


@pytest.mark.parametrize("content", [b"text", b"", b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R."])
def test_errors_are_one_line(inside: Inside, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.pkl"
    path.write_bytes(content)
    status, output, errors = inside("import_weights", path, "--out", tmp_path / "model.pt")
    assert (status, output, errors.count("\n")) == (2, "", 1)
    assert errors.startswith(f"error: {path}: ") and not (tmp_path / "model.pt").exists()


def test_help_has_examples(inside: Inside) -> None:
    status, output, _ = inside("import_weights", "--help")
    assert status == 0 and "detkit import-weights R-50.pkl --out r50.pt" in output
