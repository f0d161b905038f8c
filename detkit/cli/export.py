"""Write a detector as ONNX, torch.export or safetensors.

For other programs, which need no detkit.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from detkit.cli.command import Command

if TYPE_CHECKING:
    from detkit.commands.export import OnnxDetector, TorchExportDetector
    from detkit.predictor import Predictor

EXAMPLE = """examples:
  detkit export runs/demo --onnx demo.onnx --check street.jpg yard.jpg
  detkit export runs/demo --torch-export demo.pt2
  detkit export runs/demo/model.pt --safetensors demo.safetensors

--check detects in the images with the detector and with the file, and ends with status 1 where they differ by more
than 0.01 px or 0.0001 of a score. ONNX takes images as they are stored; torch.export takes them
resized, as detkit/commands/export.py says. What goes in and comes out stands in the files, under "usage"."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("weights", type=Path, help="a model.pt or a run folder")
    form = parser.add_mutually_exclusive_group(required=True)
    form.add_argument("--onnx", type=Path, metavar="FILE.onnx", help="one graph from 8-bit images to detections")
    form.add_argument("--torch-export", type=Path, metavar="FILE.pt2", help="the same for torch without detkit")
    form.add_argument("--safetensors", type=Path, metavar="FILE.safetensors", help="weights, config and classes")
    parser.add_argument("--check", nargs="+", type=Path, default=[], metavar="IMAGE", help="compare on these images")


def run(arguments: Namespace) -> int:
    from detkit.engine.runs import find_weights

    find_weights(arguments.weights)  # before torch is imported: what is not there is told at once

    from detkit.commands.export import agreement, export_onnx, export_safetensors, export_torch
    from detkit.predictor import load

    predictor = load(arguments.weights, device="cpu")
    path = arguments.onnx or arguments.torch_export or arguments.safetensors
    path.parent.mkdir(parents=True, exist_ok=True)
    if arguments.onnx is not None:
        what = f"ONNX, opset {export_onnx(predictor, path)}"
    elif arguments.torch_export is not None:
        what = "torch.export"
        export_torch(predictor, path)
    else:
        what = "safetensors"
        export_safetensors(arguments.weights, path)
    print(f"written: {path} ({what}, {path.stat().st_size / 1e6:.1f} MB)")
    if not arguments.check:
        return 0
    found = agreement(predictor, read(path), arguments.check)
    print(f"check: {found}")
    return 0 if found.holds else 1


def read(path: Path) -> "OnnxDetector | TorchExportDetector | Predictor":
    """The written file, to detect with."""
    from detkit.commands.export import OnnxDetector, TorchExportDetector
    from detkit.predictor import load

    match path.suffix:
        case ".onnx":
            return OnnxDetector(path)
        case ".pt2":
            return TorchExportDetector(path)
        case _:
            return load(path, device="cpu")


COMMAND = Command("export", __doc__, EXAMPLE, add_arguments, run)
