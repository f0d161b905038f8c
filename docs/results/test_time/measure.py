"""One run detected in with each test-time option in turn: mAP and seconds an image, as rows of a Markdown table.

    python docs/results/test_time/measure.py runs/bccd_r18 --data data/bccd

The same as tools/eval.py with --test-time, without its reports; --only takes the options whose name contains a word.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from detkit import load
from detkit.config import parse_test_time
from detkit.evaluation.coco import evaluate_coco
from detkit.evaluation.voc import evaluate
from detkit.scoring import detect_timed, open_dataset

SWITCHES: tuple[tuple[str, ...], ...] = (
    (),
    ("flip=true",),
    ("box_voting=0.5",),
    ("soft_nms=gaussian",),
    ("soft_nms=linear",),
    ("refine=1",),
    ("refine=1", "box_voting=0.5"),
    ("flip=true", "box_voting=0.5"),
    ("scales=[320,400,460]",),  # within what this run was trained on
    ("flip=true", "scales=[320,400,460]", "box_voting=0.5"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--ensemble", type=Path, nargs="+", default=())
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    print("| options | mAP (voc07) | AP (coco) | seconds an image |\n| --- | --- | --- | --- |")
    for settings in SWITCHES:
        if arguments.only in " ".join(settings):
            print(row(arguments.run, arguments.data, settings, arguments.ensemble), flush=True)


def row(run: Path, data: Path, settings: Sequence[str], ensemble: Sequence[Path]) -> str:
    predictor = load(run, test_time=parse_test_time(settings), ensemble=ensemble)
    dataset = open_dataset(predictor.config, data, "test", predictor.classes)
    found, speed = detect_timed(predictor, dataset)
    voc, coco = evaluate(found, dataset, "voc07").mean_ap, evaluate_coco(found, dataset.ground_truth()).summary["AP"]
    return f"| {', '.join(settings) or 'none'} | {voc:.4f} | {coco:.4f} | {1 / speed['fps']:.2f} |"


if __name__ == "__main__":
    main()
