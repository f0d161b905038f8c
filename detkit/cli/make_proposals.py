"""Make the proposals of a split, on all cores.

The same command goes on where it was stopped.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from detkit.cli.command import Command

METHODS = ("selective_search", "selective_search_quality", "edge_boxes", "rpn")
EXAMPLE = """examples:
  detkit make-proposals --method selective_search --data data/VOCdevkit --split VOC2007/test --recall
  detkit make-proposals --method selective_search_quality --data data/mine --split train --out mine.sqlite
  detkit make-proposals --method edge_boxes --forest model.yml.gz --data data/mine --split train
  detkit make-proposals --method rpn --weights runs/faster_rcnn_r101 --data data/mine --split test

A detector takes such files with model.proposals.kind=files; detkit train makes those of the first three methods by
itself. The format is SQLite; detkit/data/pipeline/proposal_file.py states it."""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--method", choices=METHODS, required=True)
    parser.add_argument("--data", type=Path, required=True, help="the folder of a data set")
    parser.add_argument("--split", required=True, help="such as test, VOC2007/test or val2017")
    parser.add_argument(
        "--out", type=Path, help="file to write (default: data/proposals/<data>_<split>.<source>.sqlite)"
    )
    parser.add_argument("--weights", type=Path, help="a run with an RPN, for --method rpn")
    parser.add_argument("--forest", type=Path, help="structured-forest edge model, for --method edge_boxes")
    parser.add_argument("--recall", action="store_true", help="score them against the annotations, with figures")


def run(arguments: Namespace) -> int:
    from detkit.data.faults import check_folder

    check_folder(arguments.data)

    from detkit.data.formats.forms import find_form
    from detkit.data.formats.opening import open_form
    from detkit.recipes.proposals import make_split, score_recall

    dataset = open_form(find_form(arguments.data), [arguments.split], None)
    file = make_split(
        arguments.method, dataset, arguments.data, arguments.split, arguments.out, arguments.weights, arguments.forest
    )
    seconds = file.seconds()
    mean = sum(seconds[image_id] for image_id in dataset.image_ids) / max(len(dataset), 1)
    print(f"{file.path}: proposals of {len(dataset)} images ({file.source}), {mean:.3f} s of one core an image")
    if arguments.recall:
        print(score_recall(file, dataset))
    return 0


COMMAND = Command("make-proposals", __doc__, EXAMPLE, add_arguments, run)
