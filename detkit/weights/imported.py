"""What an importer makes of another tool's weights, and the strict matching of tensors by name that all of them share.

A converter is a module of this package with `convert(found: WeightFile) -> Imported | ImportedBackbone | None`; None
says that the file is of another kind. Its ValueErrors name tensors as the file does; importing.py adds the path.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class WeightFile:
    """A file's tensors by name, before anybody knows what network they are of."""

    path: Path
    container: str  # how they were kept, for the user: "caffemodel", "torch file with 'model'", ...
    tensors: dict[str, Tensor]
    settings: Mapping[str, str | int | float | bool] = field(default_factory=dict)  # what stands beside them


@dataclass(frozen=True)
class Imported:
    """A detector: all that a model.pt needs."""

    kind: str  # one line for the user
    config: dict[str, Any]  # plain values of a whole Config, for config.parse_config
    classes: tuple[str, ...]
    weights: dict[str, Tensor]  # as the detector built from `config` names them
    hint: str = ""  # one line for the user: what the file does not tell, and how to say it


@dataclass(frozen=True)
class ImportedBackbone:
    """A classification network."""

    kind: str  # one line for the user
    section: dict[str, Any]  # plain values of a model.backbone section, without `weights`
    weights: dict[str, Tensor]  # named as that backbone's own weight files are; its classifier may be among them


@dataclass(frozen=True)
class Wanted:
    """Where a tensor of our detector is found."""

    name: str  # in the file
    shape: Sequence[int]


def take(tensors: Mapping[str, Tensor], wanted: Mapping[str, Wanted], unused: Sequence[str]) -> dict[str, Tensor]:
    """The tensors under our names, float32. `wanted`: by our name.

    `unused`: endings of names that may be left over. Raises ValueError naming what is missing, left over, of another
    shape, or not finite.
    """
    theirs = {want.name for want in wanted.values()}
    missing = [name for name in theirs if name not in tensors]
    left = [name for name in tensors if name not in theirs and not name.endswith(tuple(unused))]
    if missing or left:
        raise ValueError(f"{_named(missing, 'missing')}, {_named(left, 'that this network has not')}")
    for want in wanted.values():
        shape = tuple(tensors[want.name].shape)
        if shape != tuple(want.shape):
            raise ValueError(f"tensor {want.name} is {shape}, expected {tuple(want.shape)}")
    return {ours: as_weights(tensors[want.name], want.name) for ours, want in wanted.items()}


def rows(tensors: Mapping[str, Tensor], name: str) -> int:
    """Length of a tensor's first side. Raises ValueError where there is none."""
    if name not in tensors or tensors[name].ndim < 1:
        raise ValueError(f"1 tensors missing ({name})")
    return int(tensors[name].shape[0])


def classes_beside_background(tensors: Mapping[str, Tensor], classifier: str) -> int:
    """How many classes the layer `classifier` scores beside the background. Raises ValueError where there are none."""
    count = rows(tensors, f"{classifier}.bias") - 1
    if count < 1:
        raise ValueError(f"tensor {classifier}.bias has room for no class beside the background")
    return count


def as_weights(tensor: Tensor, name: str) -> Tensor:
    """The tensor in float32. Raises ValueError where it holds no finite real numbers."""
    if tensor.is_complex() or tensor.is_sparse or tensor.is_quantized:
        raise ValueError(f"tensor {name} is {tensor.dtype}, expected plain real numbers")
    weights = tensor.detach().to(torch.float32).contiguous()
    if not bool(weights.isfinite().all()):
        raise ValueError(f"tensor {name} holds values that are not finite")
    return weights


def _named(names: Sequence[str], what: str) -> str:
    some = ", ".join(sorted(names)[:4])
    return f"{len(names)} tensors {what}" + (f" ({some}{', ...' if len(names) > 4 else ''})" if names else "")
