"""Fetch PASCAL VOC 2007 or 2012.

Of 2007 trainval and test, of 2012 trainval; a stopped download is gone on with.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from detkit.cli.command import Command

EXAMPLE = """example:
  detkit download voc07 --root data/VOCdevkit
  detkit download voc12 --mirror https://example.org/voc/

While it works it needs room for the archives and for what is in them: 2 GB for voc07, 4.2 GB for voc12."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("release", choices=("voc07", "voc12"))
    parser.add_argument(
        "--root", type=Path, default=Path("data/VOCdevkit"), help="will hold VOC2007, VOC2012 (default: data/VOCdevkit)"
    )
    parser.add_argument("--mirror", metavar="URL", help="a folder with the archives, tried before the public mirrors")
    parser.add_argument("--keep-archives", action="store_true", help="leave the .tar files in the root")


def run(arguments: Namespace) -> int:
    from detkit.data.io.download import VOC07, VOC12, download, has_release

    release = {"voc07": VOC07, "voc12": VOC12}[arguments.release]
    if has_release(arguments.root, release):
        print(f"{arguments.root / release.folder} is already there")
    else:
        folder = download(arguments.root, release, arguments.mirror, arguments.keep_archives)
        print(f"{folder}: the splits {', '.join(release.splits)} are there")
    return 0


COMMAND = Command("download", __doc__, EXAMPLE, add_arguments, run)
