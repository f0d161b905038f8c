"""Detect in images, videos and cameras.

Draws the detections and writes them as JSON.
"""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from detkit.cli.command import Command
from detkit.runtime.console import INTERRUPTED

if TYPE_CHECKING:
    from detkit.commands.detect import Summary

EXAMPLE = """examples:
  detkit detect runs/demo images/ street.jpg https://example.org/dog.jpg --out found
  detkit detect runs/demo traffic.mp4 --out found_traffic --min-score 0.7
  detkit detect runs/demo 0 --out camera     (camera 0, until Ctrl-C)"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("weights", type=Path, help="a run folder, or a model.pt or .safetensors")
    parser.add_argument(
        "sources", nargs="+", help="images, folders of images, URLs of images, videos, numbers of cameras"
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder for what is drawn and detections.json: a new one, or the same again",
    )
    parser.add_argument("--min-score", type=float, default=0.5, help="least score of a detection (default 0.5)")
    parser.add_argument("--device", help="such as cpu or cuda:1 (default: a GPU where there is one)")
    parser.add_argument("--batch-size", type=int, default=4, help="images or frames at once (default 4)")
    parser.add_argument("--json-only", action="store_true", help="draw nothing")


def run(arguments: Namespace) -> int:
    from detkit.engine.runs import find_weights

    find_weights(arguments.weights)  # before torch is imported: what is not there is told at once

    from detkit.commands.detect import Rule, claim_folder, detect_inputs, find_inputs
    from detkit.predictor import load

    if not 0 <= arguments.min_score <= 1 or arguments.batch_size < 1:
        raise ValueError("--min-score is from 0 to 1, and --batch-size at least 1")
    inputs = find_inputs(arguments.sources, arguments.out)
    predictor = load(arguments.weights, arguments.device)
    claim_folder(arguments.out, inputs)
    rule = Rule(arguments.min_score, arguments.batch_size, draw=not arguments.json_only)
    return tell(detect_inputs(predictor, inputs, arguments.out, rule), arguments.out)


def tell(summary: "Summary", out: Path) -> int:
    """Print what was done, and return the exit status."""
    frames = f" and {summary.frames} frames of videos" if summary.frames else ""
    print(
        f"{summary.detections} detections in {summary.images} image{'' if summary.images == 1 else 's'}{frames}: {out}"
    )
    for reason in summary.failed:
        print(f"left out: {reason}", file=sys.stderr)
    if summary.interrupted:
        print("interrupted: what was found until then is written", file=sys.stderr)
        return INTERRUPTED
    return 1 if summary.failed else 0


COMMAND = Command("detect", __doc__, EXAMPLE, add_arguments, run)
