"""The console command `detkit`: finds the command that was typed and runs it.

Only argument parsers are imported here; torch and all that is slow is imported by the command that runs.
"""

import difflib
import os
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import NoReturn

from detkit.cli import (
    check_data,
    completion,
    configs,
    convert_data,
    demo,
    detect,
    doctor,
    download,
    eval,
    export,
    import_weights,
    make_proposals,
    make_shapes,
    pretrain,
    report,
    train,
    why,
)
from detkit.cli.command import Command
from detkit.runtime.console import USER_ERROR, run_tool

GROUPS: dict[str, tuple[Command, ...]] = {
    "train and use a detector": (train.COMMAND, eval.COMMAND, detect.COMMAND, export.COMMAND, demo.COMMAND),
    "data sets": (check_data.COMMAND, convert_data.COMMAND, download.COMMAND, make_shapes.COMMAND),
    "compare and understand": (report.COMMAND, why.COMMAND),
    "weights and proposals": (import_weights.COMMAND, pretrain.COMMAND, make_proposals.COMMAND),
    "detkit itself": (configs.COMMAND, doctor.COMMAND, completion.COMMAND),
}
COMMANDS = {command.name: command for group in GROUPS.values() for command in group}
EXAMPLE = """examples:
  detkit train demo                      # a small detector on built-in images, on the CPU
  detkit train --data data/mine          # your own images: VOC, COCO, YOLO, labelme, CVAT ...
  detkit eval runs/demo --voc07
  detkit COMMAND --help"""


def main() -> NoReturn:
    """What the console command calls."""
    _keep_quick()
    run_tool(lambda: dispatch(sys.argv[1:]))


def run_command(name: str) -> NoReturn:
    """Run one command with the words of this process: what the scripts in tools/ call."""
    _keep_quick()
    run_tool(lambda: COMMANDS[name](sys.argv[1:]))


def _keep_quick() -> None:
    """This process is ours: pydantic need not search all installed packages for plugins, which takes 0.1 s and more."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "true")


def dispatch(words: Sequence[str]) -> int:
    """Run what was typed behind `detkit`; the exit status."""
    if words and words[0] in COMMANDS:
        return COMMANDS[words[0]](words[1:])
    if words and not words[0].startswith("-"):
        near = difflib.get_close_matches(words[0], COMMANDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(COMMANDS)}"
        print(f"error: no command {words[0]!r}{hint}", file=sys.stderr)
        return USER_ERROR
    parser = top_parser()
    if parser.parse_args(words).version:  # ends the process for --help and for what is no option
        from importlib.metadata import version

        print(f"detkit {version('detkit')}")
    else:
        parser.print_help()
    return 0


def top_parser() -> ArgumentParser:
    width = max(map(len, COMMANDS))
    listing = "\n\n".join(
        "\n".join([f"{title}:", *(f"  {command.name:{width}}  {command.summary}" for command in group)])
        for title, group in GROUPS.items()
    )
    parser = ArgumentParser(
        prog="detkit",
        usage="detkit COMMAND ...",
        description=f"Two-stage object detection, from R-CNN to Faster R-CNN.\n\n{listing}",
        epilog=EXAMPLE,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="show the version and end")
    return parser


def full_parser() -> ArgumentParser:
    """All commands and their options in one tree, for what reads parsers: shell completion."""
    parser = top_parser()
    commands = parser.add_subparsers(metavar="COMMAND")
    for command in COMMANDS.values():
        command.add_arguments(commands.add_parser(command.name, help=command.summary))
    return parser
