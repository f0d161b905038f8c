"""Detect in a split of a data set and score the detections, or score those of any other tool."""

import argparse
from pathlib import Path

from detkit import load
from detkit.console import run_tool
from detkit.data.voc import VocDataset
from detkit.evaluation.voc_files import read_detections
from detkit.scoring import Scored, detect_timed, newest_run, open_dataset, score

EXAMPLE = """examples:
  python tools/eval.py --voc07                               # the newest run, on its test split
  python tools/eval.py runs/faster_rcnn_r101 --voc10 --split VOC2012/val
  python tools/eval.py --voc07 --detections results/VOC2007/Main --data data/VOCdevkit --split VOC2007/test"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", nargs="?", type=Path, help="a run folder or a model.pt (default: the newest run)")
    metric = parser.add_mutually_exclusive_group(required=True)
    metric.add_argument("--voc07", dest="metric", action="store_const", const="voc07", help="11-point AP, as VOC2007")
    metric.add_argument("--voc10", dest="metric", action="store_const", const="voc10", help="area AP, since VOC2010")
    parser.add_argument("--data", type=Path, help="root of the data set (default: the run's)")
    parser.add_argument("--split", help="split to score (default: the run's test split)")
    parser.add_argument(
        "--detections", type=Path, help="folder of comp*_det_<split>_<class>.txt files: only score them"
    )
    parser.add_argument(
        "--svd",
        type=int,
        nargs="+",
        default=(),
        metavar="RANK",
        help="cut fc6 (and fc7) to these ranks, such as 1024 256",
    )
    parser.add_argument("--out", type=Path, help="folder of the results (default: RUN/eval/<split>)")
    arguments = parser.parse_args()
    scored = score_files(arguments) if arguments.detections else score_run(arguments)
    for name, ap in scored.metrics["ap"].items():
        print(f"{name:>20}  {'-' if ap is None else f'{ap:.4f}'}")
    mean, fps = scored.metrics["map"], scored.metrics.get("fps")
    speed = f", {fps:.2f} images per second ({scored.metrics['device']})" if fps else ""
    shown = "-" if mean is None else f"{mean:.4f}"
    print(f"mAP ({arguments.metric}) {shown} on {scored.metrics['images']} images{speed}")
    print(f"report: {scored.report}")
    return 0


def score_run(arguments: argparse.Namespace) -> Scored:
    path = arguments.run or newest_run()
    run = path if path.is_dir() else path.parent
    predictor = load(path, svd=arguments.svd)
    dataset = open_dataset(predictor.config, arguments.data, arguments.split, predictor.classes)
    name = split_name(arguments.split or "test")
    found, speed = detect_timed(predictor, dataset)
    cut = "".join(f"_svd{rank}" for rank in arguments.svd)
    folder = arguments.out or run / "eval" / f"{name}{cut}"
    return score(found, dataset, arguments.metric, speed, folder, name, f"{run.name} on {name}", run)


def score_files(arguments: argparse.Namespace) -> Scored:
    if arguments.svd:
        raise ValueError("--svd changes a detector; --detections takes none")
    if arguments.run:
        raise ValueError("give a run or --detections, not both")
    if not arguments.data or not arguments.split:
        raise ValueError("--detections needs the annotations it is scored against: --data DIR --split NAME")
    dataset = VocDataset(arguments.data, [arguments.split], None)
    found = read_detections(arguments.detections, dataset.classes, dataset.image_ids)
    name = split_name(arguments.split)
    folder = arguments.out or arguments.detections / "eval"
    return score(found, dataset, arguments.metric, {}, folder, name, f"{arguments.detections.name} on {name}", None)


def split_name(split: str) -> str:
    return split.replace("/", "_")


if __name__ == "__main__":
    run_tool(main)
