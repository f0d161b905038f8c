"""List the configs that come with detkit, or print one.

With what each reproduces. What is printed is complete YAML, its `base` files merged: a place to start a config of your
own from.
"""

import textwrap
from argparse import ArgumentParser, Namespace

from detkit.cli.command import Command

EXAMPLE = """examples:
  detkit configs
  detkit configs vgg16                       # those with vgg16 in their name
  detkit configs faster_rcnn_r50 > mine.yaml"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="a config to print, or a part of the names to list")


def run(arguments: Namespace) -> int:
    from detkit.config.packaged import config_folder, config_names, find_config, summary_of

    names = config_names()
    if arguments.name in names:
        print(whole(arguments.name), end="")
        return 0
    listed = [name for name in names if (arguments.name or "") in name]
    if not listed:
        find_config(arguments.name)  # raises, with the nearest names
    for name in listed:
        print(name)
        text = summary_of(config_folder() / f"{name}.yaml")
        print(textwrap.fill(text, 100, initial_indent="    ", subsequent_indent="    "))
    return 0


def whole(name: str) -> str:
    """The config as YAML without `base`, under the comment that it opens with."""
    from detkit.config.loading import read_config
    from detkit.config.packaged import find_config

    path = find_config(name)
    comment = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    return "\n".join([*comment, read_config(path).to_yaml()])


COMMAND = Command("configs", __doc__, EXAMPLE, add_arguments, run)
