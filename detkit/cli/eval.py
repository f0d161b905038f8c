"""Detect in a split of a data set and score the detections.

With --detections it scores those of any other tool.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detkit.cli.command import FORMS, Command

if TYPE_CHECKING:
    from detkit.commands.eval import Scored
    from detkit.evaluation.assessment import MetricName

METRICS: "tuple[MetricName, ...]" = ("voc07", "voc10", "coco")
EXAMPLE = """examples:
  detkit eval                                # the newest run, on its test split, by its usual metric
  detkit eval runs/faster_rcnn_r101 --voc10 --split VOC2012/val
  detkit eval runs/mine --voc07 --coco --data data/other
  detkit eval --coco --detections results.json --data annotations/instances_val2017.json
  detkit eval --voc07 --voc10 --coco --detections results/VOC2007/Main --data data/VOCdevkit \\
      --split VOC2007/test"""


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", type=Path, help="a run folder or a model.pt (default: the newest run)")
    metrics = parser.add_argument_group("metrics (default: the usual one of the data set); the first leads")
    metrics.add_argument("--voc07", action="store_true", help="11-point AP at IoU 0.5, as VOC2007")
    metrics.add_argument("--voc10", action="store_true", help="area AP at IoU 0.5, since VOC2010")
    metrics.add_argument("--coco", action="store_true", help="the 12 numbers of COCO, AP is the mean of IoU .5 to .95")
    parser.add_argument("--data", type=Path, help="the folder of a data set (default: the run's data)")
    parser.add_argument("--form", choices=FORMS, help="of --data (default: found out)")
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


def run(arguments: Namespace) -> int:
    asked: list[MetricName] = [name for name in METRICS if getattr(arguments, name)]
    scored = score_files(arguments, asked) if arguments.detections else score_run(arguments, asked)
    if not asked:
        print(f"no metric named: --{scored.metrics['metric']}, the usual one of this data set")
    print_scores(scored.metrics)
    print(f"report: {scored.report}")
    return 0


def score_run(arguments: Namespace, asked: "list[MetricName]") -> "Scored":
    from detkit.engine.runs import find_weights, newest_run

    path = arguments.run or newest_run()
    if not arguments.run:
        print(f"no run named: {path}, the newest")
    for member in (path, *arguments.ensemble):
        find_weights(member)

    from detkit.config.loading import parse_test_time

    test_time = parse_test_time(arguments.test_time)

    from detkit.commands import eval  # torch, once it is known that there is something to score

    return eval.score_run(
        path,
        asked,
        arguments.data,
        arguments.form,
        arguments.split,
        arguments.svd,
        test_time,
        arguments.ensemble,
        arguments.out,
    )


def score_files(arguments: Namespace, asked: "list[MetricName]") -> "Scored":
    if arguments.svd:
        raise ValueError("--svd changes a detector; --detections takes none")
    if arguments.test_time or arguments.ensemble:
        raise ValueError("--test-time and --ensemble change how detections are found; --detections has them already")
    if arguments.run:
        raise ValueError("give a run or --detections, not both")
    if not arguments.data:
        raise ValueError("--detections needs the annotations it is scored against: --data DIR [--split NAME]")

    from detkit.commands import eval

    return eval.score_files(arguments.detections, asked, arguments.data, arguments.form, arguments.split, arguments.out)


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


COMMAND = Command("eval", __doc__, EXAMPLE, add_arguments, run)
