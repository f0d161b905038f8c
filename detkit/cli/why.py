"""Tell at which step each missed object of an image was lost.

Follows each object through the detector, from anchors to detections.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from detkit.cli.command import Command

if TYPE_CHECKING:
    from detkit.commands.why import Why

EXAMPLE = """examples:
  detkit why runs/faster_rcnn_r101 000004
  detkit why runs/mine street_17 --data data/mine --split val --min-score 0.5 --out why"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", type=Path, help="a run folder or a model.pt")
    parser.add_argument("image", help="id, or name of the file, of an image of the split")
    parser.add_argument("--data", type=Path, help="root of the data set (default: the run's)")
    parser.add_argument("--split", help="split that the image is of (default: the run's test split)")
    parser.add_argument("--iou", type=float, default=0.5, help="overlap that a hit must exceed (default 0.5)")
    parser.add_argument("--min-score", type=float, default=0.05, help="least score of a detection (default 0.05)")
    parser.add_argument("--out", type=Path, help="folder of the drawn image and why.json (default: RUN/why/[SPLIT_]ID)")


def run(arguments: Namespace) -> int:
    from detkit.engine.runs import find_weights

    find_weights(arguments.run)  # before torch is imported: what is not there is told at once

    from detkit.commands.eval import open_dataset
    from detkit.commands.why import explain_image, folder_name, write
    from detkit.predictor import load

    predictor = load(arguments.run)
    dataset = open_dataset(predictor.config, arguments.data, arguments.split, predictor.classes)
    why = explain_image(predictor, dataset, arguments.image, arguments.iou, arguments.min_score)
    tell(why)
    run = arguments.run if arguments.run.is_dir() else arguments.run.parent
    image, table = write(why, arguments.out or run / "why" / folder_name(arguments.split, why.image_id))
    print(f"image: {image}")
    print(f"table: {table}")
    return 0


def tell(why: "Why") -> None:
    from detkit.reports.missed_objects import opening

    print(f"image {why.image_id}: {opening(why.account)}\n")
    for paragraph in why.paragraphs():
        print(f"{paragraph}\n")
    lines = why.false_lines()
    print(f"{len(lines)} false detections{':' if lines else ''}")
    for line in lines:
        print(f"  {line}")


COMMAND = Command("why", __doc__, EXAMPLE, add_arguments, run)
