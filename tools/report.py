"""Set evaluated runs side by side, as a paper's table of systems does: accuracy, time, training, disk."""

import argparse
from pathlib import Path

from detkit.commands.eval import assess_again
from detkit.reports.comparison import compare
from detkit.reports.image_comparison import check_comparable, write_image_comparison
from detkit.runtime.console import run_tool

EXAMPLE = """examples:
  python tools/report.py runs/rcnn_vgg16 runs/fast_rcnn_vgg16 runs/faster_rcnn_vgg16
  python tools/report.py runs/*_zf --split VOC2007/test --out runs/zf
  python tools/report.py runs/mine runs/other --images        # what one finds and the other does not
  python tools/report.py runs/mine_seed*                      # runs of one config: mean and spread

OUT gets index.html, which needs no other file, comparison.md, comparison.json and the figures as PNG; with --images
also images/compare.html, with the images beside it."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders, in the order of the rows")
    parser.add_argument("--split", help="split to compare (default: the newest evaluation of each run)")
    parser.add_argument("--out", type=Path, default=Path("runs/comparison"), help="(default: runs/comparison)")
    parser.add_argument("--images", action="store_true", help="compare image by image, too: two or more runs")
    arguments = parser.parse_args()
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


if __name__ == "__main__":
    run_tool(main)
