"""The files of a run that hold weights: checkpoint.pt to go on training, model.pt to detect.

Both are plain containers of tensors, numbers and strings, read with torch's safe loader, and are written under a
partial name and renamed, so that a kill at any moment leaves the old file or the new one.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

MODEL_FORMAT = 1


@dataclass(frozen=True)
class SavedModel:
    """All that detecting needs."""

    config: dict[str, Any]  # plain values, for config.parse_config
    classes: tuple[str, ...]
    weights: dict[str, Tensor]
    step: int  # training steps behind the weights


def save(content: Mapping[str, Any], path: Path) -> None:
    """Write `content` whole or not at all. Raises OSError where there is no room for it."""
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        with partial.open("wb") as file:
            torch.save(dict(content), file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except RuntimeError as error:  # torch's writer has no other word for a disk that is full
        free = shutil.disk_usage(path.parent).free / 1e6
        raise OSError(
            f"{path}: could not be written, with {free:.0f} MB free on its disk; what was there is kept"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


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


def load_model(path: Path) -> SavedModel:
    """Read a model.pt, given as the file or as its run folder. Raises ValueError when it is none."""
    if path.is_dir():
        path = path / "model.pt"
    content = load(path)
    if content.get("format") != MODEL_FORMAT:
        raise ValueError(f"{path}: not a model.pt of this version of detkit (format {content.get('format')!r})")
    try:
        return SavedModel(content["config"], tuple(content["classes"]), dict(content["weights"]), content["step"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not a whole model.pt ({error!r})") from error
