"""One run detected in with each test-time option in turn: mAP and CPU seconds, as rows of a Markdown table.

    python docs/results/test_time/measure.py runs/bccd_r18 --data data/bccd

The same scores as of tools/eval.py with --test-time, without its reports.
"""

import argparse
import time
from pathlib import Path

from detkit import load
from detkit.commands.eval import detect_timed, open_dataset
from detkit.config.loading import parse_test_time
from detkit.data.dataset import DetectionDataset
from detkit.data.pipeline.prepare import collate
from detkit.evaluation.coco import evaluate_coco
from detkit.evaluation.voc import evaluate
from detkit.predictor import Predictor

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
    ("flip=true", "shared_regions=true"),
    ("flip=true", "scales=[320,400,460]", "shared_regions=true"),
    ("shared_regions=true",),  # of use in an ensemble
)


TIMED = 6  # images that seconds are taken of, the first of them left out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--ensemble", type=Path, nargs="+", default=())
    parser.add_argument("--only", nargs="+", metavar="OPTIONS", help="rows of the table, such as 'flip=true, refine=1'")
    parser.add_argument("--seconds", action="store_true", help="only the seconds")
    arguments = parser.parse_args()
    print("| options | mAP (voc07) | AP (coco) | CPU seconds an image |\n| --- | --- | --- | --- |")
    for settings in SWITCHES:
        name = ", ".join(settings) or "none"
        if arguments.only is not None and name not in arguments.only:
            continue
        predictor = load(arguments.run, test_time=parse_test_time(settings), ensemble=arguments.ensemble)
        dataset = open_dataset(predictor.config, arguments.data, "test", predictor.classes)
        scores = "- | -" if arguments.seconds else scored(predictor, dataset)
        print(f"| {name} | {scores} | {seconds(predictor, dataset):.2f} |", flush=True)


def scored(predictor: Predictor, dataset: DetectionDataset) -> str:
    found, _ = detect_timed(predictor, dataset)
    voc, coco = evaluate(found, dataset, "voc07").mean_ap, evaluate_coco(found, dataset.ground_truth()).summary["AP"]
    return f"{voc:.4f} | {coco:.4f}"


def seconds(predictor: Predictor, dataset: DetectionDataset) -> float:
    """Of processors, not of the wall: other work on the machine counts less."""
    batches = [collate([predictor.resize(dataset.read(index))]) for index in range(TIMED)]
    predictor.detector.detect(batches[0])
    start = time.process_time()
    for batch in batches[1:]:
        predictor.detector.detect(batch)
    return (time.process_time() - start) / (TIMED - 1)


if __name__ == "__main__":
    main()
