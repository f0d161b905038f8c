"""The files of a run that hold weights: checkpoint.pt to go on training, model.pt to detect.

Both are plain containers of tensors, numbers and strings, read with torch's safe loader. What is in a model.pt can also
stand in a file of safetensors, for programs that have no torch.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from detkit.engine.runs import find_weights
from detkit.runtime.whole_file import written_whole

MODEL_FORMAT = 1
SAFETENSORS = ".safetensors"  # by its suffix the file is known


@dataclass(frozen=True)
class SavedModel:
    """All that detecting needs."""

    config: dict[str, Any]  # plain values, for config.parse_config
    classes: tuple[str, ...]
    weights: dict[str, Tensor]
    step: int  # training steps behind the weights


def save(content: Mapping[str, Any], path: Path) -> None:
    """Write `content` whole or not at all. Raises OSError where there is no room for it."""
    with written_whole(path) as partial, partial.open("wb") as file:
        torch.save(dict(content), file)


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote. Raises ValueError for any other file; no code in it is run."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises errors of many kinds for a file that is not its own
        raise ValueError(f"{path}: not a file that detkit wrote, or damaged ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: not a file that detkit wrote")
    return content


def save_model(model: SavedModel, path: Path) -> None:
    save(
        {
            "format": MODEL_FORMAT,
            "config": model.config,
            "classes": list(model.classes),
            "weights": model.weights,
            "step": model.step,
        },
        path,
    )


def save_safetensors(model: SavedModel, path: Path) -> None:
    """Write the model as safetensors; what is no tensor stands as JSON in the file's header."""
    about = {
        "format": "pt",  # what other programs ask for: tensors as torch has them
        "detkit": str(MODEL_FORMAT),
        "config": json.dumps(model.config),
        "classes": json.dumps(model.classes),
        "step": str(model.step),
    }
    with written_whole(path) as partial:
        save_file({name: weight.clone().contiguous() for name, weight in model.weights.items()}, partial, about)


def load_model(path: Path) -> SavedModel:
    """Read a model.pt, given as the file or as its run folder, or a .safetensors.

    Raises ValueError when it is none; where there is none, the message names the runs there are.
    """
    path = find_weights(path)
    if path.suffix == SAFETENSORS:
        return _load_safetensors(path)
    content = load(path)
    if content.get("format") != MODEL_FORMAT:
        raise ValueError(f"{path}: not a model.pt of this version of detkit (format {content.get('format')!r})")
    try:
        return SavedModel(content["config"], tuple(content["classes"]), dict(content["weights"]), content["step"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a whole model.pt ({error!r})") from error


def _load_safetensors(path: Path) -> SavedModel:
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
    except Exception as error:  # errors of safetensors and of torch, of many kinds
        raise ValueError(f"{path}: not a file of safetensors, or damaged ({error})") from error
    if about.get("detkit") != str(MODEL_FORMAT):
        raise ValueError(
            f"{path}: not a detector of this version of detkit (format {about.get('detkit')!r}); weights of other "
            "tools are read by detkit import-weights"
        )
    try:
        config, classes = json.loads(about["config"]), json.loads(about["classes"])
        step = int(about["step"])
    except (KeyError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a whole detector ({error!r})") from error
    if not isinstance(config, dict) or not isinstance(classes, list) or not all(isinstance(c, str) for c in classes):
        raise ValueError(f"{path}: its config is no mapping, or its classes are no list of names")
    return SavedModel(config, tuple(classes), weights, step)
