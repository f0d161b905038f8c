"""Any weight file to its tensors by name: what kind of file it is is told by its content. No code in it is run."""

import pickle
import pickletools
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from detkit.weights.caffe_file import read_caffemodel
from detkit.weights.imported import WeightFile
from detkit.weights.restricted_pickle import MAX_STEPS, read_pickle

WRAPPERS = ("model", "state_dict", "model_state_dict", "blobs")  # under which tools keep the tensors in a checkpoint
PARALLEL = "module."  # before all names, where torch's DataParallel was saved
ZIP, PICKLE, PROTOBUF = b"PK\x03\x04", b"\x80", b"\x0a"
TORCH_LEGACY = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"  # torch's magic number, pickled, after two bytes
LEGACY_PICKLES = 5  # before the tensors' bytes: magic number, version, machine, content, names of what follows
TEXT_NUMBER = f"Unsupported operand {pickle.INT[0]}"  # what torch says of a number that is kept as text
PROTOCOLS = range(2, 6)
NO_WEIGHTS = {b"version https://git-lfs": "a pointer of Git LFS", b"<!DOCTYPE": "a web page", b"<html": "a web page"}
READ = "torch files (.pt, .pth), pickles (.pkl), safetensors, .caffemodel"


def read_weight_file(path: Path) -> WeightFile:
    """The tensors in `path`. Raises ValueError for what is no weight file, is damaged, or asks for code to be run."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    with path.open("rb") as file:
        head = file.read(64)
    try:
        if path.suffix == ".caffemodel" or head.startswith(PROTOBUF):
            return WeightFile(path, "caffemodel", _caffe(path))
        container, content = _content(path, head)
        tensors, wrapper = _unwrapped(content)
        settings = {name: value for name, value in content.items() if _is_setting(name, value)}
    except ValueError as error:
        raise ValueError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error
    return WeightFile(path, container + (f" with {wrapper!r}" if wrapper else ""), tensors, settings)


def _content(path: Path, head: bytes) -> tuple[str, Any]:
    """What the file is called, and what is in it."""
    if head.startswith(ZIP) or head[2:].startswith(TORCH_LEGACY):
        return "torch file", _torch(path, in_place=head.startswith(ZIP))
    if head.startswith(PICKLE) and head[1] in PROTOCOLS:
        return "pickle", read_pickle(path)
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        try:
            return "safetensors", load_file(path)
        except SafetensorError as error:
            raise ValueError(f"not a file of safetensors ({error})") from error
    what = next((what for start, what in NO_WEIGHTS.items() if head.startswith(start)), "of an unknown kind")
    raise ValueError(f"it is {what}; weights are read from {READ}: fetch the file itself")


def _torch(path: Path, in_place: bool) -> Any:
    """`in_place`: tensors are views of the file, so that none can claim more memory than the file has."""
    try:
        return _without_code(path, in_place)
    except (OSError, MemoryError):
        raise
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        if asked is None:
            raise ValueError("not a torch file, or damaged") from error
        raise ValueError(
            f"it asks for {asked[1]}, which no weight file needs; nothing was run (if you trust whoever made it, save "
            "its state dict alone)"
        ) from error
    except Exception as error:  # torch raises errors of many kinds for a file that is not its own
        raise ValueError(f"not a torch file, or damaged ({type(error).__name__})") from error


def _without_code(path: Path, in_place: bool) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=in_place)
    except pickle.UnpicklingError as error:
        if in_place or TEXT_NUMBER not in str(error):
            raise
    try:
        with tempfile.TemporaryFile() as copy:
            _write_with_binary_numbers(path, copy)
            return torch.load(copy, map_location="cpu", weights_only=True)
    except OSError as error:
        raise OSError(f"{path}: a copy of it in {tempfile.gettempdir()} failed ({error.strerror or error})") from error


def _write_with_binary_numbers(path: Path, copy: BinaryIO) -> None:
    """The file of torch before 1.6 with the numbers that are kept as text, in decimal, as binary ones.

    Python 2 writes numbers above 2^31 so, such as the ids of parameters in an optimizer's state: torch.load, where it
    runs no code, does not know them.
    """
    with path.open("rb") as pickles, path.open("rb") as original:
        steps = 0
        for _ in range(LEGACY_PICKLES):
            for operation, value, at in pickletools.genops(pickles):
                steps += 1
                if steps > MAX_STEPS:
                    raise ValueError("it has more operations than any weight file needs")
                if operation.name == "INT":
                    assert at is not None and value is not None
                    copy.write(original.read(at - original.tell()))
                    copy.write(_binary(value))
                    original.seek(pickles.tell())
        shutil.copyfileobj(original, copy)
    copy.seek(0)


def _binary(number: int) -> bytes:
    if isinstance(number, bool):
        return pickle.NEWTRUE if number else pickle.NEWFALSE
    length = number.bit_length() // 8 + 1
    return pickle.LONG1 + bytes([length]) + number.to_bytes(length, "little", signed=True)


def _unwrapped(content: Any) -> tuple[dict[str, Tensor], str]:
    """The tensors, and the name that they were kept under, if any."""
    if not isinstance(content, dict):
        raise ValueError(f"expected tensors by name, it holds a {type(content).__name__}")
    if "format" in content and "weights" in content:
        raise ValueError("detkit wrote this file: use it as it is, there is nothing to import")
    wrapper = next((name for name in WRAPPERS if isinstance(content.get(name), dict)), "")
    tensors = _tensors(content[wrapper] if wrapper else content)
    if not tensors:
        raise ValueError(f"expected tensors by name, it holds {_some(content)}")
    if all(name.startswith(PARALLEL) for name in tensors):
        tensors = {name.removeprefix(PARALLEL): tensor for name, tensor in tensors.items()}
    return tensors, wrapper


def _tensors(content: Mapping[Any, Any]) -> dict[str, Tensor]:
    """What is a tensor or an array of numbers; settings and counts beside them are left out."""
    found: dict[str, Tensor] = {}
    for name, value in content.items():
        if isinstance(name, str) and isinstance(value, Tensor):
            found[name] = value
        elif isinstance(name, str) and isinstance(value, np.ndarray):
            found[name] = _as_tensor(value)
    return found


def _is_setting(name: object, value: object) -> bool:
    return isinstance(name, str) and isinstance(value, str | int | float | bool)


def _as_tensor(array: NDArray[Any]) -> Tensor:
    """A copy in this machine's byte order."""
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))


def _caffe(path: Path) -> dict[str, Tensor]:
    """Blobs as LAYER.0, LAYER.1, ... in the order that Caffe keeps them."""
    layers = read_caffemodel(path).layers
    return {f"{layer}.{i}": _as_tensor(blob) for layer, (_, blobs) in layers.items() for i, blob in enumerate(blobs)}


def _some(content: Mapping[Any, Any]) -> str:
    names = [str(name)[:30] for name in list(content)[:4]]
    return f"a dict of {', '.join(names) or 'nothing'}"
