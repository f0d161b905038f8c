"""Check a data set before training: every fault with file, object and field, and what is in each split."""

import argparse
from pathlib import Path

from detkit.console import run_tool, track
from detkit.data.check import check_voc

EPILOG = """\
examples:
  python tools/check_data.py data/bccd
  python tools/check_data.py data/VOCdevkit --split VOC2007/trainval VOC2012/trainval --classes cat,dog

exit status: 0 all well or warnings only, 1 errors that would stop training, 2 wrong usage or no data set there
"""


def main() -> int:
    arguments = parse_arguments()
    classes = [name.strip() for name in arguments.classes.split(",")] if arguments.classes else None
    report = check_voc(arguments.dir, arguments.split, classes, lambda images: track(images, "checking"))
    for line in report.lines():
        print(line)
    return 1 if report.has_errors else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dir", type=Path, help="a VOC-shaped folder, or a folder of such (VOC2007, VOC2012)")
    parser.add_argument("--split", nargs="+", default=[], metavar="NAME", help="default: all that are found")
    parser.add_argument("--classes", metavar="A,B,C", help="allow only these; default: all names")
    return parser.parse_args()


if __name__ == "__main__":
    run_tool(main)
