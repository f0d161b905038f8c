"""Train a detector."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from detkit.cli.command import FORMS, Command

EXAMPLE = """examples:
  detkit train demo
  detkit train --data data/mine                      # VOC, COCO, YOLO, labelme, CVAT, ...
  detkit train faster_rcnn_r50 --data data/mine train.steps=20000
  detkit train mine.yaml data.root=data/VOCdevkit train.precision=bf16
  torchrun --nproc-per-node 8 --no-python -- detkit train faster_rcnn_r101 --run runs/eight_gpus

The -- keeps torchrun from taking --run for an option of its own. `detkit configs` lists the names.
A run goes on from its last checkpoint when the same command is given again."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "words",
        nargs="*",
        metavar="CONFIG | key=value",
        help="a config by its name or as a YAML file, and changes to it such as train.lr=0.01; with --data it may be "
        "left out: own_data, or own_data_cpu where there is no GPU",
    )
    parser.add_argument("--data", type=Path, help="folder of images and annotations in place of the config's data")
    parser.add_argument("--form", choices=FORMS, help="of --data (default: found out)")
    parser.add_argument("--run", type=Path, help="folder of the run (default: runs/<config>, or runs/<config>_<data>)")
    parser.add_argument("--fresh", action="store_true", help="delete what the folder holds of an earlier run")


def run(arguments: Namespace) -> int:
    from detkit.recipes.plan import plan

    files = [word for word in arguments.words if "=" not in word]
    overrides = [word for word in arguments.words if "=" in word]
    if len(files) > 1 or not (files or arguments.data):
        raise ValueError(f"one CONFIG, or --data DIR, is needed; got {' '.join(files) or 'none'}")
    planned = plan(files[0] if files else None, arguments.data, arguments.form, arguments.run, overrides)
    for line in planned.said:
        print(line)

    from detkit.commands.train import train  # torch, once it is known that there is something to train

    train(planned.config, planned.folder, arguments.fresh)
    return 0


COMMAND = Command("train", __doc__, EXAMPLE, add_arguments, run, intermixed=True)
