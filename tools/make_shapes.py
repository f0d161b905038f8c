"""Write the built-in data set of rendered shapes as a PASCAL VOC folder."""

import argparse
from pathlib import Path

from detkit.data.synthetic.shapes import COUNTS, write_shapes
from detkit.runtime.console import run_tool

EXAMPLE = """example:
  python tools/make_shapes.py --root data/shapes
  python tools/make_shapes.py --root data/many_shapes --seed 1 --train 5000 --val 500 --test 1000

A folder that already holds the same set is left as it is."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True, help="the folder to write")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other images (default: 0)")
    for split, count in COUNTS.items():
        parser.add_argument(f"--{split}", type=int, default=count, metavar="N", help=f"images (default: {count})")
    arguments = parser.parse_args()
    write_shapes(arguments.root, arguments.seed, {split: getattr(arguments, split) for split in COUNTS})
    print(f"{arguments.root}: the shapes set of seed {arguments.seed} is there")
    return 0


if __name__ == "__main__":
    run_tool(main)
