"""Features on disk: whole or not there, for ids of any kind, and no trust in files from elsewhere."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from detkit.staged.feature_store import FeatureStore, require_room

FEATURES = {"fc7": torch.arange(6.0).reshape(2, 3).half(), "rows": torch.tensor([4, 9])}


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        one[k].dtype == other[k].dtype and torch.equal(one[k], other[k]) for k in one
    )


def test_there_and_back(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "deep" / "features")
    assert not store.has("000001")
    store.write("000001", FEATURES)
    assert store.has("000001")
    assert not store.has("000002")
    assert same(store.read("000001", ["fc7", "rows"]), FEATURES)
    assert same(store.read("000001", ["rows"]), {"rows": FEATURES["rows"]})
    assert store.read("000001", []) == {}
    assert same(FeatureStore(store.folder).read("000001", ["rows"]), {"rows": FEATURES["rows"]})  # opened again
    store.write("000001", {"fc7": torch.zeros(0, 3)})
    assert store.read("000001", ["fc7"])["fc7"].shape == (0, 3)
    assert len(files(store.folder)) == 1


def test_views_and_transposed_tensors_are_kept_as_they_look(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    tensors = {"all": base, "top": base[:2], "columns": base[:, 1:3], "turned": base.T, "grad": base.clone()}
    tensors["grad"].requires_grad_()
    store = FeatureStore(tmp_path)
    store.write("a", tensors)
    assert same(store.read("a", list(tensors)), tensors)


IDS = [
    "000001",
    "a/b",
    "a_b",
    "a\\b",
    "../../a",
    "/a",
    ".",
    "",
    "A/b",
    "Straße-日本語-😀",
    "é",  # one letter, and then the same as two
    "e\u0301",
    "x" * 200,
    "x" * 199 + "y",
    "語" * 200,
    "a\nb",
    "a.partial-1",
]


def test_ids_of_any_kind_have_files_of_their_own(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "store")
    for number, image_id in enumerate(IDS):
        assert not store.has(image_id)
        store.write(image_id, {"n": torch.tensor(number)})
    again = FeatureStore(tmp_path / "store")
    assert [int(again.read(image_id, ["n"])["n"]) for image_id in IDS] == list(range(len(IDS)))
    assert files(tmp_path) == [tmp_path / "store"]
    names = [path.name.lower() for path in files(tmp_path / "store")]
    assert len(set(names)) == len(IDS)  # also on a disk that knows no case
    assert all(name.isascii() and len(name) < 100 for name in names)


def test_removal(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "features")
    for image_id in ("a", "b/c"):
        store.write(image_id, {"fc7": torch.zeros(1000)})
    assert 8000 < sum(path.stat().st_size for path in files(store.folder)) < 9000
    store.remove()
    assert not store.folder.exists()
    kept = FeatureStore(tmp_path / "shared")
    kept.write("a", FEATURES)
    (kept.folder / "notes.txt").write_text("mine")
    kept.remove()
    assert [path.name for path in files(kept.folder)] == ["notes.txt"]


def test_a_failure_in_the_middle_of_a_write_leaves_the_old_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FeatureStore(tmp_path)
    store.write("a", FEATURES)

    def fail(descriptor: int) -> None:
        assert len(files(tmp_path)) >= 2  # it is under way, under another name
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    for image_id in ("a", "b"):
        with pytest.raises(OSError, match=rf"{image_id}-\w+\.safetensors: could not be written \(Input/output error\)"):
            store.write(image_id, {"fc7": torch.ones(5)})
    assert same(store.read("a", ["fc7", "rows"]), FEATURES)
    assert not store.has("b")
    assert len(files(tmp_path)) == 1


def test_a_disk_without_room_is_an_error_that_says_so(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the full disk."""
    store = FeatureStore(tmp_path)
    store.write("a", FEATURES)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(OSError, match=r"b-\w+\.safetensors: could not be written \(File too large\)"):
            store.write("b", {"fc7": torch.zeros(1 << 20)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert same(store.read("a", ["fc7", "rows"]), FEATURES)
    assert len(files(tmp_path)) == 1


KILLED = """
import os, signal, sys, torch
from pathlib import Path
from detkit.staged.feature_store import FeatureStore
store = FeatureStore(Path(sys.argv[1]))
store.write("whole", {"n": torch.tensor(1)})
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
store.write("half", {"n": torch.tensor(2)})
"""


def test_a_killed_writer_leaves_whole_files_and_its_rest_is_cleared(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(files(tmp_path)) == 2  # the kill came in the middle
    (tmp_path / "notes.partial-1").write_text("not ours")
    store = FeatureStore(tmp_path)
    assert [path.suffix for path in files(tmp_path)] == [".partial-1", ".safetensors"]
    assert store.has("whole")
    assert not store.has("half")
    assert int(store.read("whole", ["n"])["n"]) == 1


@pytest.mark.parametrize("length", [0, 1, 8, 60, -1])
def test_a_file_cut_short_is_refused_and_named(tmp_path: Path, length: int) -> None:
    store = FeatureStore(tmp_path)
    store.write("a", FEATURES)
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=rf"{path.name}: damaged .*; delete the file and extract again"):
        store.read("a", ["fc7"])


def test_files_from_elsewhere_are_refused_and_named(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    store.write("a", FEATURES)
    (path,) = files(tmp_path)
    own = path.read_bytes()
    path.write_bytes(b"something else altogether")
    with pytest.raises(ValueError, match=f"{path.name}: damaged"):
        store.read("a", ["fc7"])
    save_file(FEATURES, path)  # no id
    with pytest.raises(ValueError, match=f"{path.name}: not the features of image a"):
        store.read("a", ["fc7"])
    store.write("b", FEATURES)
    other = next(p for p in files(tmp_path) if p != path)
    other.write_bytes(own)  # the features of a under the name of b
    with pytest.raises(ValueError, match=f"{other.name}: not the features of image b"):
        store.read("b", ["fc7"])


def test_missing_images_and_names_are_told(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    with pytest.raises(ValueError, match=r"no features of image a/b; extract them again"):
        store.read("a/b", ["fc7"])
    store.write("a/b", FEATURES)
    with pytest.raises(ValueError, match=r"\.safetensors: fc6, pool5 missing"):
        store.read("a/b", ["fc7", "pool5", "fc6"])


Usage = namedtuple("Usage", "total used free")


def test_room_is_told_and_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Path] = []

    def disk_usage(path: Path) -> Usage:
        asked.append(path)
        return Usage(500_000_000_000, 99_800_000_000, 400_200_000_000)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    folder = tmp_path / "not" / "yet"
    require_room(folder, 82_100_000_000, "R-CNN features")
    assert capsys.readouterr().out == f"R-CNN features: 82.1 GB needed, 400.2 GB free at {folder}\n"
    assert asked == [tmp_path]  # the nearest folder that is there
    require_room(tmp_path, 400_200_000_000, "just enough")
    with pytest.raises(ValueError, match=r"maps: 503\.4 GB needed, 400\.2 GB free at .*; free some, choose a folder"):
        require_room(tmp_path, 503_400_000_000, "maps")


def test_room_of_the_real_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    require_room(Path("relative/folder"), 1, "a byte")
    with pytest.raises(ValueError, match="GB needed"):
        require_room(tmp_path, 10**18, "an exabyte")
