"""Fetch PASCAL VOC 2007 (trainval and test) or 2012 (trainval); a stopped download is gone on with."""

import argparse
from pathlib import Path

from detkit.data.io.download import VOC07, VOC12, download, has_release
from detkit.runtime.console import run_tool

RELEASES = {"voc07": VOC07, "voc12": VOC12}

EXAMPLE = """example:
  python tools/download.py voc07 --root data/VOCdevkit
  python tools/download.py voc12 --mirror https://example.org/voc/

While it works it needs room for the archives and for what is in them: 2 GB for voc07, 4.2 GB for voc12."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("release", choices=RELEASES)
    parser.add_argument(
        "--root", type=Path, default=Path("data/VOCdevkit"), help="will hold VOC2007, VOC2012 (default: data/VOCdevkit)"
    )
    parser.add_argument("--mirror", metavar="URL", help="a folder with the archives, tried before the public mirrors")
    parser.add_argument("--keep-archives", action="store_true", help="leave the .tar files in the root")
    arguments = parser.parse_args()
    release = RELEASES[arguments.release]
    if has_release(arguments.root, release):
        print(f"{arguments.root / release.folder} is already there")
    else:
        folder = download(arguments.root, release, arguments.mirror, arguments.keep_archives)
        print(f"{folder}: the splits {', '.join(release.splits)} are there")
    return 0


if __name__ == "__main__":
    run_tool(main)
