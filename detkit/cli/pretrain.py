"""Train a backbone on crops of the training images.

As a classifier, for detectors to start from where there are no ImageNet weights.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from detkit.cli.command import Command

EXAMPLE = """example, for a comparison without ImageNet weights:
  detkit pretrain lineage/faster_rcnn --steps 800 --side 64 --grid 4 --run runs/lineage/pretrained
  detkit train lineage/faster_rcnn model.backbone.weights=runs/lineage/pretrained/backbone.pt"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("config", help="by its name or as a YAML file: its data, backbone and training settings")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes to it")
    parser.add_argument("--run", type=Path, required=True, help="folder for backbone.pt and the log")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--side", type=int, default=224, help="px of a crop (default 224)")
    parser.add_argument("--grid", type=int, help="cells a side of the map before the tail (default: the backbone's)")


def run(arguments: Namespace) -> int:
    from detkit.config.loading import load_config
    from detkit.config.packaged import find_config

    config = load_config(find_config(arguments.config), arguments.overrides)

    from detkit.commands.pretrain import pretrain  # torch, once the config is known to be right

    path = pretrain(config, arguments.run, arguments.steps, arguments.side, arguments.grid)
    print(f"done: {path}; start from it with model.backbone.weights={path}")
    return 0


COMMAND = Command("pretrain", __doc__, EXAMPLE, add_arguments, run, intermixed=True)
