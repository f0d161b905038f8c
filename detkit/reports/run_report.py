"""One page about one evaluated run: the score, the classes, the speed, and pictures of what went right and wrong."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from detkit.data.dataset import DetectionDataset
from detkit.evaluation.voc import ClassResult, VocResult
from detkit.reports import figures, gallery
from detkit.structures import Detections

PICTURES = 9  # of each group of the gallery: three full rows, and a page of some megabytes
METRIC_NAMES = {"voc07": "VOC 2007, AP at 11 recalls", "voc10": "VOC 2010, area under precision and recall"}
# What has its own place on the page, or is the length of a whole run.
PLACED = {"metric", "map", "ap", "images", "fps", "date", "seconds_per_image", "stages_ms"}


@dataclass(frozen=True)
class ClassRow:
    """A line of the table and a panel of the curves."""

    name: str
    ap: float | None
    objects: int
    detections: int
    hits: int
    false: int
    curve: str  # points of an SVG polyline in a 100 x 100 box; "" without a hit


@dataclass(frozen=True)
class StageBar:
    name: str
    p50: float  # ms
    p95: float
    p50_percent: float  # of the longest p95
    p95_percent: float


@dataclass(frozen=True)
class Group:
    """One kind of picture."""

    title: str
    note: str
    nothing: str
    tiles: list[gallery.Tile]


def write_report(
    folder: Path,
    title: str,
    metrics: Mapping[str, Any],
    result: VocResult,
    detections: Mapping[str, Detections],
    dataset: DetectionDataset,
    config_yaml: str,
    training_log: Sequence[figures.LogRow] | None,
) -> Path:
    """Writes report.html, which needs no other file, and its figures as PNG beside it; returns the page's path.

    `metrics` is what metrics.json holds; of images, fps, stages_ms, seconds_per_image and other numbers what is there
    is shown.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures.save_png(figures.precision_recall(result), folder / "precision_recall.png")
    curves = figures.training_curves(training_log or [])
    for name, figure in curves.items():
        figures.save_png(figure, folder / f"{name.lower().replace(' ', '_')}.png")
    page = _template().render(
        title=title,
        mean_ap=result.mean_ap,
        metric=METRIC_NAMES[result.metric],
        min_iou=result.min_iou,
        scored=sum(one.ap is not None for one in result.classes.values()),
        facts=_facts(metrics, dataset),
        classes=[_class_row(name, one) for name, one in figures.by_ap(result)],
        stages=_stages(metrics),
        seconds=_seconds(metrics),
        training={name: Markup(figures.inline_svg(figure)) for name, figure in curves.items()},
        groups=_groups(result, detections, dataset),
        config=config_yaml.strip(),
    )
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("detkit.reports", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = lambda jpeg: "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
    return environment.get_template("run_report.html.j2")


def _facts(metrics: Mapping[str, Any], dataset: DetectionDataset) -> dict[str, str]:
    """What stands beside the score, in order: name and value."""
    facts = {"images": f"{metrics.get('images', len(dataset)):,}"}
    if _is_number(metrics.get("fps")):
        facts["images per second"] = f"{metrics['fps']:.3g}"
    facts["date"] = str(metrics.get("date", date.today().isoformat()))
    for name, value in metrics.items():
        if name not in PLACED and (isinstance(value, str) or _is_number(value)):
            facts[name.replace("_", " ")] = value if isinstance(value, str) else f"{value:,.6g}"
    return facts


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _class_row(name: str, one: ClassResult) -> ClassRow:
    points = figures.curve_points(one)
    return ClassRow(
        name=name,
        ap=one.ap,
        objects=one.num_objects,
        detections=len(one.scores),
        hits=int(one.is_hit.sum()),
        false=int(one.is_false.sum()),
        curve=" ".join(f"{100 * recall:.1f},{100 - 100 * precision:.1f}" for recall, precision in points),
    )


def _stages(metrics: Mapping[str, Any]) -> list[StageBar]:
    stages: Mapping[str, Mapping[str, float]] = metrics.get("stages_ms") or {}
    longest = max((stage["p95"] for stage in stages.values()), default=0.0)
    percent = 100 / longest if longest > 0 else 0.0
    return [
        StageBar(name, stage["p50"], stage["p95"], percent * stage["p50"], percent * stage["p95"])
        for name, stage in stages.items()
    ]


def _seconds(metrics: Mapping[str, Any]) -> dict[str, float]:
    seconds = metrics.get("seconds_per_image") or {}
    return {name: value for name, value in seconds.items() if _is_number(value)}


def _groups(result: VocResult, detections: Mapping[str, Detections], dataset: DetectionDataset) -> list[Group]:
    return [
        Group(
            "Best hits",
            "The surest detections that found their object, of each class in turn.",
            "No detection found an object.",
            gallery.tiles(gallery.best_hits(result), detections, dataset, PICTURES),
        ),
        Group(
            "Worst false positives",
            "The surest detections that are wrong. Localisation: the right class in a poor place. Duplicate: an object"
            " found before. Confusion: an object of another class. Background: nothing there, or nothing annotated.",
            "No detection was wrong.",
            gallery.tiles(gallery.worst_false_positives(result, detections, dataset), detections, dataset, PICTURES),
        ),
        Group(
            "Missed objects",
            "The largest objects that no detection found, at any score.",
            "No object was missed.",
            gallery.tiles(gallery.missed_objects(result, dataset), detections, dataset, PICTURES),
        ),
    ]
