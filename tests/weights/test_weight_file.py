"""Weight files of every kind: told by their content, unwrapped, and refused in one line when they are none."""

import io
import pickle
import pickletools
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from detkit.engine import checkpoint
from detkit.weights.weight_file import read_weight_file

STATE = {"conv.weight": torch.arange(6.0).view(2, 3), "conv.bias": torch.tensor([0.5, -0.5])}
ARRAYS = {name: value.numpy() for name, value in STATE.items()}


class Runs:
    """Unpickled without care, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.mkdir, (self.folder,)


def write(path: Path, content: object, how: str) -> Path:
    match how:
        case "torch":
            torch.save(content, path)
        case "torch, legacy":
            torch.save(content, path, _use_new_zipfile_serialization=False)
        case "pickle":
            path.write_bytes(pickle.dumps(content))
        case "safetensors":
            save_file(content, path)
    return path


@pytest.mark.parametrize(
    ("how", "content", "container"),
    [
        ("torch", STATE, "torch file"),
        ("torch, legacy", STATE, "torch file"),
        ("torch", {"model": STATE, "iteration": 7, "optimizer": {"state": {}}}, "torch file with 'model'"),
        ("torch, legacy", {"epoch": 3, "state_dict": STATE}, "torch file with 'state_dict'"),
        ("torch", {f"module.{name}": value for name, value in STATE.items()}, "torch file"),
        ("pickle", ARRAYS, "pickle"),
        ("pickle", {"model": ARRAYS, "__author__": "x", "matching_heuristics": True}, "pickle with 'model'"),
        ("pickle", {"blobs": ARRAYS}, "pickle with 'blobs'"),
        ("safetensors", STATE, "safetensors"),
    ],
)
def test_containers_and_wrappers(how: str, content: object, container: str, tmp_path: Path) -> None:
    found = read_weight_file(write(tmp_path / "weights.bin", content, how))  # the name tells nothing
    assert found.container == container
    assert found.tensors.keys() == STATE.keys()
    assert all(torch.equal(found.tensors[name], value) for name, value in STATE.items())


def test_numbers_beside_the_weights_are_left_out_and_byte_order_is_minded(tmp_path: Path) -> None:
    content = {"a": np.array([[1, 2], [3, 4]], ">f4"), "lr": 0.1, "b": np.asfortranarray([[1, 2], [3, 4]])}
    found = read_weight_file(write(tmp_path / "weights.pkl", content, "pickle")).tensors
    assert {name: value.tolist() for name, value in found.items()} == {"a": [[1, 2], [3, 4]], "b": [[1, 2], [3, 4]]}


@pytest.mark.parametrize("how", ["torch", "torch, legacy", "pickle"])
def test_plain_values_beside_the_weights_are_settings(how: str, tmp_path: Path) -> None:
    settings = {"epoch": 7, "lr": 0.5, "pooling_mode": "align", "class_agnostic": False}
    content = {"model": ARRAYS if how == "pickle" else STATE, "optimizer": {"lr": 0.1}, 3: "x", "none": None} | settings
    found = read_weight_file(write(tmp_path / "weights.pth", content, how))
    assert found.settings == settings and found.tensors.keys() == STATE.keys()
    assert read_weight_file(write(tmp_path / "bare.pth", STATE, "torch")).settings == {}


class DictOfPython2:
    """Pickled as Python 2 pickles an OrderedDict."""

    def __init__(self, content: dict[str, torch.Tensor]) -> None:
        self.items = [list(item) for item in content.items()]

    def __reduce__(self) -> tuple[object, tuple[object]]:
        return OrderedDict, (self.items,)


def as_python_2_writes(path: Path) -> None:
    """A legacy file of torch with its short texts as bytes and its large numbers as text, as cPickle wrote them."""
    data = path.read_bytes()
    stream, new, done = io.BytesIO(data), b"", 0
    for i in range(5):
        for operation, value, at in pickletools.genops(stream):
            assert at is not None
            if operation.name == "BINUNICODE":
                new += data[done:at] + b"U" + bytes([len(value)]) + value.encode()
            elif operation.name == "LONG1" and i == 3:  # the content; the first is the magic number, a long there, too
                new += data[done:at] + b"I" + str(value).encode() + b"\n"
            else:
                continue
            done = stream.tell()
    path.write_bytes(new + data[done:])


def test_checkpoints_of_python_2(tmp_path: Path) -> None:
    """Their optimizers name each parameter by its address."""
    state = {"momentum_buffer": torch.ones(2)}
    optimizer = {"state": {0x7F12_3456_7890: state}, "param_groups": [{"params": [0x7F12_3456_7890, -(2**40), 7]}]}
    content = {"model": DictOfPython2(STATE), "optimizer": optimizer, "pooling_mode": "align"}
    path = write(tmp_path / "old.pth", content, "torch, legacy")
    as_python_2_writes(path)
    assert b"I139716164221072\n" in path.read_bytes() and b"U\x0cpooling_mode" in path.read_bytes()
    found = read_weight_file(path)
    assert found.settings == {"pooling_mode": "align"} and found.tensors.keys() == STATE.keys()
    assert all(torch.equal(found.tensors[name], value) for name, value in STATE.items())
    whole = path.read_bytes()
    for end in (len(whole) - 1, len(whole) // 2):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match="not a torch file, or damaged"):
            read_weight_file(path)
    for wrong in (b"I1397161642x1072\n", b"I" + 5000 * b"9" + b"\n"):
        path.write_bytes(whole.replace(b"I139716164221072\n", wrong))
        with pytest.raises(ValueError, match="not a torch file, or damaged"):
            read_weight_file(path)


@pytest.mark.parametrize("how", ["torch", "torch, legacy", "pickle"])
def test_code_in_a_file_is_named_and_not_run(how: str, tmp_path: Path) -> None:
    path = write(tmp_path / "weights.pth", {"a": Runs(tmp_path / "made")}, how)
    with pytest.raises(
        ValueError, match=r"weights\.pth: .*asks for \S+, which no weight file needs; nothing"
    ) as caught:
        read_weight_file(path)
    assert "\n" not in str(caught.value) and not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([STATE], "expected tensors by name, it holds a list"),
        ({"epoch": 3}, "it holds a dict of epoch"),
        ({}, "a dict of nothing"),
        ({"model": {"epoch": 3}}, "a dict of model"),
    ],
)
def test_a_file_without_weights(content: object, message: str, tmp_path: Path) -> None:
    for how in ("torch", "pickle"):
        without = [ARRAYS] if isinstance(content, list) and how == "pickle" else content
        with pytest.raises(ValueError, match=message):
            read_weight_file(write(tmp_path / "weights.pkl", without, how))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "of an unknown kind"),
        (b"<!DOCTYPE html><html>", "it is a web page; .* fetch the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "it is a pointer of Git LFS"),
        (b"PK\x03\x04 and no more", "not a torch file, or damaged"),
        (b"\x80\x02", "ends early"),
        (b"\x80\x63abc", "of an unknown kind"),  # protocol 99
        (b"\x89HDF\r\n\x1a\n", "of an unknown kind; weights are read from"),
        (b"\xff\xff\xff\xff\xff\xff\x00\x00{}", "not a file of safetensors"),
    ],
)
def test_other_files(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        read_weight_file(path)
    assert str(caught.value).count(str(path)) == 1


@pytest.mark.parametrize("how", ["torch", "torch, legacy", "pickle", "safetensors"])
def test_truncated_files(how: str, tmp_path: Path) -> None:
    path = write(tmp_path / "weights.bin", ARRAYS if how == "pickle" else STATE, how)
    data = path.read_bytes()
    for end in (len(data) - 1, len(data) // 2, 20):
        path.write_bytes(data[:end])
        with pytest.raises(ValueError, match=r"weights\.bin: "):
            read_weight_file(path)


def test_detkits_own_files_need_no_import(tmp_path: Path) -> None:
    checkpoint.save({"format": "detkit-backbone-1", "weights": STATE}, tmp_path / "own.pt")
    with pytest.raises(ValueError, match=r"own\.pt: detkit wrote this file"):
        read_weight_file(tmp_path / "own.pt")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"missing\.pth: no such file"):
        read_weight_file(tmp_path / "missing.pth")
