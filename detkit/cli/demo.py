"""A web page on this machine: drop an image, see what is found.

It shows what each of the runs finds and how long every stage takes. The page is for this machine alone, and neither
loads anything from the net nor sends anything.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from detkit.cli.command import Command

EXAMPLE = """examples:
  detkit demo
  detkit demo runs/lineage/fast_rcnn runs/lineage/faster_rcnn --port 7861"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "runs", nargs="*", type=Path, default=[Path("runs")], help="runs to choose from, or folders of them (runs/)"
    )
    parser.add_argument("--port", type=int, default=7860, help="port of the page (default 7860)")
    parser.add_argument("--device", help="such as cpu or cuda:1 (default: a GPU where there is one)")


def run(arguments: Namespace) -> int:
    from detkit.commands.demo import Models, build_page, find_runs, serve

    page = build_page(Models(find_runs(arguments.runs), arguments.device))
    address = serve(page, arguments.port)
    print(f"open {address} in a browser of this machine; Ctrl-C ends it", flush=True)
    page.block_thread()
    return 0


COMMAND = Command("demo", __doc__, EXAMPLE, add_arguments, run)
