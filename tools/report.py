"""Set evaluated runs side by side, as a paper's table of systems does: accuracy, time, training, disk."""

import argparse
from pathlib import Path

from detkit.console import run_tool
from detkit.reports.comparison import compare

EXAMPLE = """examples:
  python tools/report.py runs/rcnn_vgg16 runs/fast_rcnn_vgg16 runs/faster_rcnn_vgg16
  python tools/report.py runs/*_zf --split VOC2007/test --out runs/zf

OUT gets index.html, which needs no other file, comparison.md, comparison.json and the figures as PNG."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders, in the order of the rows")
    parser.add_argument("--split", help="split to compare (default: the newest evaluation of each run)")
    parser.add_argument("--out", type=Path, default=Path("runs/comparison"), help="(default: runs/comparison)")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    runs = [run for run in dict.fromkeys(arguments.runs) if run.resolve() != out]  # runs/* has the last report
    page = compare(runs, arguments.out, arguments.split)
    print((arguments.out / "comparison.md").read_text(encoding="utf-8").partition("\n## Classes")[0])
    print(f"report: {page}")
    return 0


if __name__ == "__main__":
    run_tool(main)
