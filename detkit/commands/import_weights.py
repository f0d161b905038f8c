"""Weights of other tools to files of detkit: a model.pt to detect with, or a backbone to train from."""

import json
import shlex
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from detkit.build.backbone import build_backbone
from detkit.build.detector import build_detector
from detkit.config.backbones import AnyBackbone
from detkit.config.data import FolderData
from detkit.config.loading import parse_config, with_overrides
from detkit.data.formats.class_names import checked_classes, fault_of_name
from detkit.engine.backbone_file import save_backbone
from detkit.engine.checkpoint import SavedModel, save_model
from detkit.weights import (
    caffe_detectors,
    caffe_imagenet,
    classification,
    detectron2,
    faster_rcnn_pytorch,
    simple_faster_rcnn,
)
from detkit.weights.imported import Imported, ImportedBackbone, WeightFile
from detkit.weights.weight_file import read_weight_file

Converter = Callable[[WeightFile], Imported | ImportedBackbone | None]
CONVERTERS: tuple[Converter, ...] = (
    caffe_detectors.convert,
    caffe_imagenet.convert,
    detectron2.convert,
    simple_faster_rcnn.convert,
    faster_rcnn_pytorch.convert,
    classification.convert,
)
KNOWN = (
    "Faster R-CNN C4 of detectron2, Fast and Faster R-CNN of Caffe, simple-faster-rcnn, faster-rcnn.pytorch, ResNet "
    "and VGG of torchvision, resnetv2 of timm, ResNet, VGG and ZF of Caffe, R-50.pkl and R-101.pkl of Detectron, with "
    "--name what else timm has"
)


def import_weights(
    path: Path,
    out: Path,
    classes: Sequence[str] | None = None,
    name: str | None = None,
    overrides: Sequence[str] = (),
) -> str:
    """Read the weights in `path`, write them to `out`, and say what they are and how they are used.

    `classes`: their names, in the order of the outputs; None: what the number of them tells. `name`: timm's name for a
    classification network. `overrides`: `key=value` changes to the config of a detector, for what its file does not
    tell. Raises ValueError when the file is none, or of a network that detkit does not have.
    """
    if out.exists() and out.samefile(path):
        raise ValueError(f"{out}: is the file to read; give --out another name")
    found = read_weight_file(path)
    try:
        made = classification.timm_network(found, name) if name is not None else _convert(found)
        if isinstance(made, Imported):
            made = made if classes is None else _renamed(made, classes)
            usage = _write_detector(made, out, overrides)
        elif classes is not None or overrides:
            needless = "--classes" if classes is not None else overrides[0]
            raise ValueError(f"{made.kind}, a classification network: it has no use for {needless}")
        else:
            usage = _write_backbone(made, out)
    except ValueError as error:
        raise ValueError(f"{path} ({found.container}): {error}") from error
    return f"{path} ({found.container}): {made.kind}\n{usage}"


def _convert(found: WeightFile) -> Imported | ImportedBackbone:
    for convert in CONVERTERS:
        made = convert(found)
        if made is not None:
            return made
    some = ", ".join(list(found.tensors)[:4])
    raise ValueError(f"{len(found.tensors)} tensors ({some}, ...) of no network that is known here; known are {KNOWN}")


def _renamed(made: Imported, classes: Sequence[str]) -> Imported:
    if len(classes) != len(made.classes):
        raise ValueError(f"{made.kind}; --classes has {len(classes)} names")
    for name in checked_classes(classes):
        fault = fault_of_name(name)
        if fault is not None:
            raise ValueError(f"--classes: {name!r} {fault}")
    config = made.config | {"data": made.config["data"] | {"classes": list(classes)}}
    return replace(made, classes=tuple(classes), config=config)


def _write_detector(made: Imported, out: Path, overrides: Sequence[str]) -> str:
    config = parse_config(with_overrides(made.config, overrides, "model.head.nms_iou=0.5"), source=made.kind)
    backbone = config.model.backbone
    if backbone.weights is not None or backbone.kind != made.config["model"]["backbone"]["kind"]:
        raise ValueError(
            f"{made.kind}: its backbone and weights are in the file; leave model.backbone's kind and weights"
        )
    if isinstance(config.data, FolderData) and config.data.classes not in (None, made.classes):
        raise ValueError(f"data.classes {list(config.data.classes or ())}: name the classes with --classes")
    with torch.device("meta"):  # names and shapes alone
        own = build_detector(config, len(made.classes)).state_dict()
    differing = sorted(own.keys() ^ made.weights.keys())
    differing += [n for n, w in made.weights.items() if n in own and own[n].shape != w.shape]
    if differing:
        cause = f"with {' '.join(overrides)}" if overrides else "please report this"
        raise ValueError(f"{made.kind}: its weights do not fit its config ({', '.join(differing[:4])}); {cause}")
    out.parent.mkdir(parents=True, exist_ok=True)
    save_model(SavedModel(json.loads(config.model_dump_json()), made.classes, made.weights, step=0), out)
    changed = f"changed: {' '.join(overrides)}" if overrides else made.hint
    usage = f"written: {out}; detect with: detkit detect {shlex.quote(str(out))} IMAGES --out found"
    return f"{changed}\n{usage}" if changed else usage


def _write_backbone(made: ImportedBackbone, out: Path) -> str:
    """Loaded as training would load it: what does not fit is found here."""
    adapter: TypeAdapter[Any] = TypeAdapter(AnyBackbone)
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "weights.pt"
        torch.save(made.weights, state)
        try:
            section = adapter.validate_json(json.dumps(made.section | {"weights": str(state)}))
            backbone = build_backbone(section)
        except ValidationError as error:
            raise ValueError(f"{made.kind}: {error.errors()[0]['msg']}") from error
        except ValueError as error:
            raise ValueError(f"{made.kind}: {str(error).removeprefix(f'{state}: ')}") from error
    out.parent.mkdir(parents=True, exist_ok=True)
    save_backbone(backbone, out)
    keys = " ".join(f"model.backbone.{key}={value}" for key, value in made.section.items())
    return f"written: {out}; train from it with: {keys} model.backbone.weights={out}"
