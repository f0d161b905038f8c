"""Train a detector."""

import argparse
from pathlib import Path

from detkit.config import load_config
from detkit.console import run_tool
from detkit.training import train

EXAMPLE = """examples:
  python tools/train.py configs/demo.yaml
  python tools/train.py configs/faster_rcnn_r101.yaml data.root=data/VOCdevkit train.precision=bf16
  torchrun --nproc-per-node 8 -- tools/train.py configs/faster_rcnn_r101.yaml --run runs/eight_gpus

The -- keeps torchrun from taking --run for an option of its own.
A run goes on from its last checkpoint when the same command is given again."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path, help="a YAML file of configs/")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes to it, such as train.lr=0.01")
    parser.add_argument("--run", type=Path, help="folder of the run (default: runs/<config name>)")
    parser.add_argument("--fresh", action="store_true", help="delete what the folder holds of an earlier run")
    arguments = parser.parse_intermixed_args()
    config = load_config(arguments.config, arguments.overrides)
    folder = arguments.run or Path("runs") / arguments.config.stem
    train(config, folder, arguments.fresh)
    return 0


if __name__ == "__main__":
    run_tool(main)
