"""Check a data set before training: faults, leaks, contents.

Every fault is told with file and object, every image that two splits share, and what the classes hold.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from detkit.cli.command import FORMS, Command

EXAMPLE = """\
examples:
  detkit check-data data/bccd
  detkit check-data data/VOCdevkit --split VOC2007/trainval VOC2012/trainval --classes cat,dog
  detkit check-data data/mine --config own_data --html check

exit status: 0 all well or warnings only, 1 errors that would stop training, 2 wrong usage or no data set there
"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("dir", type=Path, help="the folder of the data set")
    parser.add_argument("--form", choices=FORMS, help="default: found out")
    parser.add_argument("--split", nargs="+", default=[], metavar="NAME", help="default: all that are found")
    parser.add_argument("--classes", metavar="A,B,C", help="allow only these; default: all names")
    parser.add_argument("--config", help="whose size of images and anchors; default: what training takes")
    parser.add_argument("--html", type=Path, metavar="OUT_DIR", help="also write a page with figures there")
    parser.add_argument("--all", action="store_true", help="list all faults; default: the first of each kind")


def run(arguments: Namespace) -> int:
    from detkit.data.faults import check_folder

    check_folder(arguments.dir)

    from detkit.commands.check_data import SHOWN, check
    from detkit.config.loading import load_config
    from detkit.config.packaged import find_config
    from detkit.data.formats.forms import describe_use, find_form
    from detkit.recipes.plan import config_for_own_data

    classes = [name.strip() for name in arguments.classes.split(",") if name.strip()] if arguments.classes else None
    name = arguments.config or config_for_own_data()
    config = load_config(find_config(name))
    form = find_form(arguments.dir, arguments.form)
    print(form.describe())
    if not arguments.split:
        print(describe_use(form))
    if not arguments.config:
        print(f"config: {name}, as training on this folder takes; --config names another")
    found = check(form, arguments.split, classes, config)
    for line in found.lines(None if arguments.all else SHOWN):
        print(line)
    if arguments.html is not None:
        from detkit.reports.data_report import write_data_report

        perfect = list(found.perfect_lines())
        print(f"page: {write_data_report(arguments.html, found.report, found.frame, found.statistics, perfect)}")
    return 0 if found.report.can_train else 1


COMMAND = Command("check-data", __doc__, EXAMPLE, add_arguments, run)
