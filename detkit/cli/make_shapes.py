"""Write the built-in data set of rendered shapes as a PASCAL VOC folder."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from detkit.cli.command import Command

EXAMPLE = """example:
  detkit make-shapes --root data/shapes
  detkit make-shapes --root data/many_shapes --seed 1 --train 5000 --val 500 --test 1000

A folder that already holds the same set is left as it is."""
COUNTS = {"train": 400, "val": 60, "test": 120}


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--root", type=Path, required=True, help="the folder to write")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other images (default: 0)")
    for split, count in COUNTS.items():
        parser.add_argument(f"--{split}", type=int, default=count, metavar="N", help=f"images (default: {count})")


def run(arguments: Namespace) -> int:
    from detkit.data.synthetic.shapes import write_shapes

    write_shapes(arguments.root, arguments.seed, {split: getattr(arguments, split) for split in COUNTS})
    print(f"{arguments.root}: the shapes set of seed {arguments.seed} is there")
    return 0


COMMAND = Command("make-shapes", __doc__, EXAMPLE, add_arguments, run)
