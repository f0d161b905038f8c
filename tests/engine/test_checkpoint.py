"""Files of weights: whole or not at all, and no trust in files from elsewhere."""

import pickle
import resource
from pathlib import Path

import pytest
import torch

from detkit.engine import checkpoint
from detkit.engine.checkpoint import SavedModel, load_model, save_model

MODEL = SavedModel({"data": {"kind": "voc"}}, ("cat", "dog"), {"w": torch.tensor([1.5, -2.0])}, step=7)


def same(one: SavedModel, other: SavedModel) -> bool:
    return (one.config, one.classes, one.step) == (other.config, other.classes, other.step) and torch.equal(
        one.weights["w"], other.weights["w"]
    )


def test_a_model_comes_back_from_its_file_and_from_its_folder(tmp_path: Path) -> None:
    save_model(MODEL, tmp_path / "model.pt")
    assert same(load_model(tmp_path / "model.pt"), MODEL)
    assert same(load_model(tmp_path), MODEL)
    assert [p.name for p in tmp_path.iterdir()] == ["model.pt"]


def test_a_failure_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.pt"
    save_model(MODEL, path)
    before = path.read_bytes()

    def half(content: object, file: object) -> None:
        file.write(b"half a file")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="disk full"):
        save_model(SavedModel({}, (), {}, step=8), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model.pt"]


def test_a_disk_without_room_is_an_error_that_says_so(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the full disk: torch's own writer meets both the same way."""
    path = tmp_path / "checkpoint.pt"
    checkpoint.save({"step": 1}, path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(OSError, match=r"checkpoint\.pt: could not be written \(.+\), with \d+ MB free"):
            checkpoint.save({"weights": torch.zeros(1 << 20)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint.pt"]


class Code:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "was_run"
    torch.save({"format": 1, "weights": Code(mark)}, tmp_path / "zip.pt")
    (tmp_path / "pickle.pt").write_bytes(pickle.dumps(Code(mark), protocol=2))
    for name in ("zip.pt", "pickle.pt"):
        with pytest.raises(ValueError, match=name):
            checkpoint.load(tmp_path / name)
    assert not mark.exists()
    torch.load(tmp_path / "zip.pt", weights_only=False)  # the file would have done it
    assert mark.exists()


@pytest.mark.parametrize("length", [0, 1, 100, -1, -20])
def test_a_file_cut_short_is_refused(tmp_path: Path, length: int) -> None:
    save_model(MODEL, tmp_path / "model.pt")
    (tmp_path / "model.pt").write_bytes((tmp_path / "model.pt").read_bytes()[:length])
    with pytest.raises(ValueError, match=r"model\.pt: not a file that detkit wrote, or damaged"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "not a file that detkit wrote"),
        ({"w": torch.zeros(1)}, "not a model.pt"),  # a bare state dict
        ({"format": 99}, "format 99"),
        ({"format": 1}, "not a whole model.pt"),
        ({"format": 1, "config": {}, "classes": [], "weights": 3, "step": 1}, "not a whole model.pt"),
    ],
)
def test_other_files_of_torch_are_refused(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=message):
        load_model(tmp_path / "model.pt")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no run: this folder holds no model\.pt"):
        load_model(tmp_path)
