"""Write a data set in another form: PASCAL VOC, COCO, YOLO and others.

What the other form cannot hold is said.
"""

from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path

from detkit.cli.command import FORMS, Command
from detkit.data.formats.written_forms import WRITTEN

EXAMPLE = """examples:
  detkit convert-data data/bccd --to coco --out data/bccd_coco
  detkit convert-data data/mine --to yolo --out data/mine_yolo --link
  detkit convert-data data/mine --to voc --out data/mine_voc --split "all[:80%]" "all[80%:]"
  detkit convert-data data/mine --to labelme --out data/mine_labelme

Images are copied; --link makes hard links, which take no space. An earlier conversion at OUT is replaced, a folder
that holds anything else is refused. OUT is read again before it is there: what detkit could not read is not written.

form         difficult  truncated  crowd     areas of outlines  classes without objects
voc          yes        yes        yes       no                 lost
coco         yes        yes        yes       yes                kept
yolo         left out   lost       left out  no                 kept
darknet      left out   lost       left out  no                 kept      obj.data, obj.names, lists of images
labelme      yes        yes        yes       no                 lost      flags difficult, truncated, crowd
cvat         yes        yes        yes       no                 kept      attributes difficult, truncated, is_crowd
openimages   as crowd   yes        yes       no                 lost      IsTruncated, IsGroupOf
huggingface  yes        yes        yes       yes                lost      an image folder with metadata.jsonl

Classes keep their order in coco, yolo and darknet, others are read in the order of their names.
What is lost is counted."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="SRC", help="the folder of the data set")
    parser.add_argument("--to", choices=WRITTEN, required=True, help="the form to write")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write")
    parser.add_argument("--from", dest="form", choices=FORMS, help="the form of SRC (default: found by its files)")
    parser.add_argument("--split", nargs="+", default=[], metavar="NAME", help="default: all that are found")
    parser.add_argument("--classes", metavar="A,B,C", help="their order (default: that of SRC)")
    parser.add_argument("--link", action="store_true", help="hard-link images instead of copying them")


def run(arguments: Namespace) -> int:
    from detkit.data.faults import check_folder

    check_folder(arguments.source)

    from detkit.commands.convert_data import convert
    from detkit.data.faults import log_warning
    from detkit.data.formats.forms import find_form

    classes = [name.strip() for name in arguments.classes.split(",")] if arguments.classes else None
    form = find_form(arguments.source, arguments.form)
    if arguments.split:
        form = replace(form, splits=tuple(dict.fromkeys(arguments.split)), faults=())
    else:
        print(form.describe())
    for line in convert(form, arguments.to, arguments.out, classes, arguments.link, log_warning):
        print(line)
    return 0


COMMAND = Command("convert-data", __doc__, EXAMPLE, add_arguments, run)
