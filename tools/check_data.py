"""Check a data set before training: every fault with file and object, leaks between splits, and what they hold."""

import argparse
from pathlib import Path

from detkit.commands.check_data import SHOWN, check
from detkit.config.loading import load_config
from detkit.data.formats.forms import find_form
from detkit.reports.data_report import write_data_report
from detkit.runtime.console import run_tool

EPILOG = """\
examples:
  python tools/check_data.py data/bccd
  python tools/check_data.py data/VOCdevkit --split VOC2007/trainval VOC2012/trainval --classes cat,dog
  python tools/check_data.py data/mine --config configs/own_data.yaml --html check

exit status: 0 all well or warnings only, 1 errors that would stop training, 2 wrong usage or no data set there
"""


def main() -> int:
    arguments = parse_arguments()
    classes = [name.strip() for name in arguments.classes.split(",") if name.strip()] if arguments.classes else None
    config = load_config(arguments.config) if arguments.config else None
    form = find_form(arguments.dir, arguments.form)
    print(form.describe())
    found = check(form, arguments.split, classes, config)
    for line in found.lines(None if arguments.all else SHOWN):
        print(line)
    if arguments.html is not None:
        perfect = list(found.perfect_lines())
        print(f"page: {write_data_report(arguments.html, found.report, found.frame, found.statistics, perfect)}")
    return 1 if found.report.has_errors else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dir", type=Path, help="the folder of the data set")
    parser.add_argument("--form", choices=("voc", "coco", "yolo"), help="default: found out")
    parser.add_argument("--split", nargs="+", default=[], metavar="NAME", help="default: all that are found")
    parser.add_argument("--classes", metavar="A,B,C", help="allow only these; default: all names")
    parser.add_argument("--config", type=Path, help="whose size of images and anchors; default: py-faster-rcnn's")
    parser.add_argument("--html", type=Path, metavar="OUT_DIR", help="also write a page with figures there")
    parser.add_argument("--all", action="store_true", help=f"list all faults; default: {SHOWN} of a kind")
    return parser.parse_args()


if __name__ == "__main__":
    run_tool(main)
