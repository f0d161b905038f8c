"""Set evaluated runs side by side: accuracy, time, disk.

As a paper's table of systems does.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from detkit.cli.command import Command

EXAMPLE = """examples:
  detkit report runs/rcnn_vgg16 runs/fast_rcnn_vgg16 runs/faster_rcnn_vgg16
  detkit report runs/*_zf --split VOC2007/test --out runs/zf
  detkit report runs/mine runs/other --images        # what one finds and the other does not
  detkit report runs/mine_seed*                      # runs of one config: mean and spread

OUT gets index.html, which needs no other file, comparison.md, comparison.json and the figures as PNG; with --images
also images/compare.html, with the images beside it."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders, in the order of the rows")
    parser.add_argument("--split", help="split to compare (default: the newest evaluation of each run)")
    parser.add_argument("--out", type=Path, default=Path("runs/comparison"), help="(default: runs/comparison)")
    parser.add_argument("--images", action="store_true", help="compare image by image, too: two or more runs")


def run(arguments: Namespace) -> int:
    from detkit.commands.eval import assess_again
    from detkit.reports.comparison import compare
    from detkit.reports.image_comparison import check_comparable, write_image_comparison

    out = arguments.out.resolve()
    runs = [run for run in dict.fromkeys(arguments.runs) if run.resolve() != out]  # runs/* has the last report
    names = [run.resolve().name for run in runs]
    assessments = [assess_again(run, arguments.split) for run in runs] if arguments.images else []
    if arguments.images:
        check_comparable(names, assessments)  # before anything is written
    page = compare(runs, arguments.out, arguments.split)
    print((arguments.out / "comparison.md").read_text(encoding="utf-8").partition("\n## Classes")[0])
    print(f"report: {page}")
    if arguments.images:
        print(f"images: {write_image_comparison(arguments.out / 'images', names, assessments)}")
    return 0


COMMAND = Command("report", __doc__, EXAMPLE, add_arguments, run)
