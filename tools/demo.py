"""A web page on this machine: drop an image, choose a run, see what it finds and how long each stage takes.

The page is for this machine alone, and neither loads anything from the net nor sends anything.
"""

import argparse
from pathlib import Path

from detkit.commands.demo import Models, build_page, find_runs, serve
from detkit.runtime.console import run_tool

EXAMPLE = """examples:
  python tools/demo.py
  python tools/demo.py runs/lineage/fast_rcnn runs/lineage/faster_rcnn --port 7861"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "runs", nargs="*", type=Path, default=[Path("runs")], help="runs to choose from, or folders of them (runs/)"
    )
    parser.add_argument("--port", type=int, default=7860, help="port of the page (default 7860)")
    parser.add_argument("--device", help="such as cpu or cuda:1 (default: a GPU where there is one)")
    arguments = parser.parse_args()
    page = build_page(Models(find_runs(arguments.runs), arguments.device))
    address = serve(page, arguments.port)
    print(f"open {address} in a browser of this machine; Ctrl-C ends it", flush=True)
    page.block_thread()
    return 0


if __name__ == "__main__":
    run_tool(main)
