"""Detect in a split of a data set and score the detections, or score those of any other tool."""

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detkit import load
from detkit.commands.eval import Scored, detect_timed, open_annotations, open_dataset, score, usual_metrics
from detkit.config.loading import parse_test_time
from detkit.engine.runs import newest_run
from detkit.evaluation.assessment import MetricName
from detkit.evaluation.coco_files import read_rows
from detkit.evaluation.voc_files import read_detections
from detkit.runtime.console import run_tool

EXAMPLE = """examples:
  python tools/eval.py                                       # the newest run, on its test split, by its usual metric
  python tools/eval.py runs/faster_rcnn_r101 --voc10 --split VOC2012/val
  python tools/eval.py runs/mine --voc07 --coco --data data/other
  python tools/eval.py --coco --detections results.json --data annotations/instances_val2017.json
  python tools/eval.py --voc07 --voc10 --coco --detections results/VOC2007/Main --data data/VOCdevkit \\
      --split VOC2007/test"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", nargs="?", type=Path, help="a run folder or a model.pt (default: the newest run)")
    metrics = parser.add_argument_group(
        "metrics (default: the usual one of the data set); the first in this order leads"
    )
    metrics.add_argument("--voc07", action="store_true", help="11-point AP at IoU 0.5, as VOC2007")
    metrics.add_argument("--voc10", action="store_true", help="area AP at IoU 0.5, since VOC2010")
    metrics.add_argument("--coco", action="store_true", help="the 12 numbers of COCO, AP is the mean of IoU .5 to .95")
    parser.add_argument("--data", type=Path, help="a folder in the form of VOC, COCO or YOLO (default: the run's data)")
    parser.add_argument("--form", choices=("voc", "coco", "yolo"), help="of --data (default: found out)")
    parser.add_argument("--split", help="split to score (default: the one for testing)")
    parser.add_argument(
        "--detections",
        type=Path,
        metavar="FILES",
        help="a results.json, or a folder of comp*_det_<split>_<class>.txt files: only score them",
    )
    parser.add_argument(
        "--svd",
        type=int,
        nargs="+",
        default=(),
        metavar="RANK",
        help="cut fc6 (and fc7) to these ranks, such as 1024 256",
    )
    parser.add_argument(
        "--test-time",
        nargs="+",
        default=(),
        metavar="KEY=VALUE",
        help="do more when detecting: flip=true, scales=[480,600,768], refine=1, soft_nms=linear or gaussian, "
        "box_voting=0.5 (docs/test_time_options.md)",
    )
    parser.add_argument("--ensemble", type=Path, nargs="+", default=(), metavar="RUN", help="detect with these, too")
    parser.add_argument(
        "--out",
        type=Path,
        help="folder of the results (default: RUN/eval/<split>, or RUN/eval_test_time/<split>_<options>)",
    )
    arguments = parser.parse_args()
    asked: list[MetricName] = [name for name in ("voc07", "voc10", "coco") if getattr(arguments, name)]
    scored = score_files(arguments, asked) if arguments.detections else score_run(arguments, asked)
    print_scores(scored.metrics)
    print(f"report: {scored.report}")
    return 0


def score_run(arguments: argparse.Namespace, asked: list[MetricName]) -> Scored:
    path = arguments.run or newest_run()
    if not arguments.run:
        print(f"no run named: {path}, the newest")
    run = path if path.is_dir() else path.parent
    test_time = parse_test_time(arguments.test_time)
    predictor = load(path, svd=arguments.svd, test_time=test_time, ensemble=arguments.ensemble)
    dataset = open_dataset(predictor.config, arguments.data, arguments.split, predictor.classes, arguments.form)
    asked = asked or usual_metrics(predictor.config.data, arguments.data, arguments.form)
    name = file_name(arguments.split or "test")
    if arguments.data and arguments.data.resolve() != Path(predictor.config.data.root).resolve():
        name = f"{arguments.data.resolve().name}_{name}"
    found, speed = detect_timed(predictor, dataset)
    cut = "".join(f"_svd{rank}" for rank in arguments.svd)
    folder, title = run / "eval" / f"{name}{cut}", f"{run.name} on {name}"
    more = test_time.model_dump(mode="json", exclude_defaults=True) | with_runs(arguments.ensemble)
    if more:
        told = ", ".join(f"{key} {value}" for key, value in more.items())
        # Beside eval/: what runs are compared by was found without.
        folder = run / "eval_test_time" / re.sub(r"[^\w.]+", "-", f"{name}{cut}, {told}").strip("-")
        title = f"{title}: {told}"
        speed["test_time"] = more
    return score(found, dataset, asked, speed, arguments.out or folder, name, title, run)


def with_runs(ensemble: Sequence[Path]) -> dict[str, list[str]]:
    return {"ensemble": [str(run) for run in ensemble]} if ensemble else {}


def score_files(arguments: argparse.Namespace, asked: list[MetricName]) -> Scored:
    files = arguments.detections
    if arguments.svd:
        raise ValueError("--svd changes a detector; --detections takes none")
    if arguments.test_time or arguments.ensemble:
        raise ValueError("--test-time and --ensemble change how detections are found; --detections has them already")
    if arguments.run:
        raise ValueError("give a run or --detections, not both")
    if not arguments.data:
        raise ValueError("--detections needs the annotations it is scored against: --data DIR [--split NAME]")
    dataset, split, has_images = open_annotations(arguments.data, arguments.split, arguments.form)
    asked = asked or usual_metrics(None, arguments.data, arguments.form)
    name = file_name(split)
    if files.suffix == ".json":
        folder = arguments.out or files.with_suffix("").with_name(f"{files.stem}_eval")
        return score(
            read_rows(files, dataset.ground_truth()),
            *(dataset, asked, {}, folder, name, f"{files.name} on {name}", None, has_images),
        )
    found = read_detections(files, dataset.classes, dataset.image_ids)
    folder = arguments.out or files / "eval"
    return score(found, dataset, asked, {}, folder, name, f"{files.name} on {name}", None, has_images)


def print_scores(metrics: Mapping[str, Any]) -> None:
    each = metrics["metrics"]
    width = max(len(name) for name in [*metrics["ap"], "class"])
    print("  ".join([f"{'class':>{width}}", *(f"{name:>6}" for name in each)]))
    for name in metrics["ap"]:
        print("  ".join([f"{name:>{width}}", *(f"{as_text(scores['ap'][name]):>6}" for scores in each.values())]))
    for name, scores in each.items():
        low, high = scores["interval"] or (None, None)
        sure = f" (95%: {as_text(low)} to {as_text(high)})" if low is not None else ""
        print(f"mAP ({name}) {as_text(scores['map'])}{sure} on {metrics['images']} images")
    if "coco" in metrics:
        print("coco: " + ", ".join(f"{name} {as_text(value)}" for name, value in metrics["coco"].items()))
    if metrics.get("fps"):
        print(f"{metrics['fps']:.2f} images per second ({metrics['device']})")


def as_text(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def file_name(split: str) -> str:
    return split.replace("/", "_")


if __name__ == "__main__":
    run_tool(main)
