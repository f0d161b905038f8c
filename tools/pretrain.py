"""Train the backbone of a config as a classifier of crops of its training images, to start detectors from."""

import argparse
from pathlib import Path

from detkit.commands.pretrain import pretrain
from detkit.config.loading import load_config
from detkit.runtime.console import run_tool

EXAMPLE = """example, for a comparison without ImageNet weights:
  python tools/pretrain.py configs/lineage/faster_rcnn.yaml --steps 800 --side 64 --grid 4 --run runs/lineage/pretrained
  python tools/train.py configs/lineage/faster_rcnn.yaml model.backbone.weights=runs/lineage/pretrained/backbone.pt"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path, help="a YAML file of configs/: its data, backbone and training settings")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes to it")
    parser.add_argument("--run", type=Path, required=True, help="folder for backbone.pt and the log")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--side", type=int, default=224, help="px of a crop (default 224)")
    parser.add_argument("--grid", type=int, help="cells a side of the map before the tail (default: the backbone's)")
    arguments = parser.parse_intermixed_args()
    config = load_config(arguments.config, arguments.overrides)
    path = pretrain(config, arguments.run, arguments.steps, arguments.side, arguments.grid)
    print(f"done: {path}; start from it with model.backbone.weights={path}")
    return 0


if __name__ == "__main__":
    run_tool(main)
