"""One page about one evaluated run: scores, classes, curves, causes of errors, and a gallery of what it did."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from detkit.data.ground_truth import Bools
from detkit.evaluation.assessment import Assessment
from detkit.evaluation.errors import MAIN_KINDS
from detkit.reports import curves, figures, page_data
from detkit.reports.gallery import FOLDER, Gallery, shortened, write_gallery
from detkit.reports.page_template import page_template
from detkit.reports.run_gallery import run_gallery
from detkit.reports.thumbnails import write_thumbnails

MAX_IMAGES = 10_000  # about 300 MB
FIRST_PANELS = 15  # of curves: three rows; more are folded away
# What has its own place on the page, or is the length of a whole run.
PLACED = {"metric", "map", "ap", "images", "fps", "date", "seconds_per_image", "stages_ms"}


@dataclass(frozen=True)
class StageBar:
    name: str
    p50: float  # ms
    p95: float
    p50_percent: float  # of the longest p95
    p95_percent: float


@dataclass(frozen=True)
class GalleryText:
    title: str
    note: str


def write_report(
    folder: Path,
    title: str,
    metrics: Mapping[str, Any],
    assessment: Assessment,
    config_yaml: str,
    training_log: Sequence[figures.LogRow] | None,
    images: bool,
) -> Path:
    """Writes report.html, its folder report_files/ and its figures as PNG beside it; returns the page's path.

    `metrics` is what metrics.json holds; of images, fps, stages_ms, seconds_per_image and other numbers what is there
    is shown. Without `images` the gallery shows boxes on blank frames.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ious, panels = curves.precision_recall_curves(assessment)
    figures.save_png(curves.precision_recall_figure(ious, panels), folder / "precision_recall.png")
    training = figures.training_curves(training_log or [])
    for name, figure in training.items():
        figures.save_png(figure, folder / f"{name.lower().replace(' ', '_')}.png")
    gallery = shortened(run_gallery(assessment))
    save_gallery(folder, gallery, assessment, images)
    causes, sums = page_data.causes(assessment.errors)
    page = page_template("run_report.html.j2").render(
        title=title,
        scores=page_data.headline(assessment),
        summary=assessment.coco.summary if assessment.coco else {},
        facts=_facts(metrics, len(assessment.truth)),
        ap_names=page_data.ap_names(assessment),
        classes=page_data.class_rows(assessment),
        ious=ious,
        panels=panels,
        first_panels=FIRST_PANELS,
        causes=causes,
        sums=sums,
        similar=assessment.errors.similar,
        loss_names=[page_data.CAUSES[kind][0] for kind in MAIN_KINDS],
        class_losses=page_data.class_losses(assessment.errors),
        bin_groups=page_data.bin_groups(assessment),
        matrix=page_data.matrix(assessment.confusion),
        stages=_stages(metrics),
        seconds=_seconds(metrics),
        training={name: Markup(figures.inline_svg(figure)) for name, figure in training.items()},
        gallery=GalleryText("Gallery", _gallery_note(gallery)),
        config=config_yaml.strip(),
    )
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def save_gallery(folder: Path, gallery: Gallery, assessment: Assessment, images: bool) -> None:
    """Writes the gallery's data and images to report_files/."""
    with_thumbnail = _with_thumbnail(gallery) if images else np.zeros(len(assessment.truth), dtype=np.bool_)
    write_thumbnails(folder / FOLDER / "images", assessment.dataset, np.flatnonzero(with_thumbnail).tolist())
    write_gallery(folder, gallery, with_thumbnail)


def _with_thumbnail(gallery: Gallery) -> Bools:
    """(N,) the images of the first entries, and all others as long as there is room."""
    image = np.concatenate([gallery.entries.image, np.arange(len(gallery.truth))])
    _, first = np.unique(image, return_index=True)
    chosen = np.zeros(len(gallery.truth), dtype=np.bool_)
    chosen[image[np.sort(first)[:MAX_IMAGES]]] = True
    return chosen


def _gallery_note(gallery: Gallery) -> str:
    detections = int((gallery.entries.score >= 0).sum())
    return (
        f"{detections:,} detections and {len(gallery.entries) - detections:,} missed objects, at IoU 0.50, of the"
        " best 100 detections of an image. A click enlarges; the address keeps the filter, to be passed on."
    )


def _facts(metrics: Mapping[str, Any], num_images: int) -> dict[str, str]:
    """What stands beside the score, in order: name and value."""
    facts = {"images": f"{metrics.get('images', num_images):,}"}
    if _is_number(metrics.get("fps")):
        facts["images per second"] = f"{metrics['fps']:.3g}"
    facts["date"] = str(metrics.get("date", date.today().isoformat()))
    for name, value in metrics.items():
        if name not in PLACED and (isinstance(value, str) or _is_number(value)):
            facts[name.replace("_", " ")] = value if isinstance(value, str) else f"{value:,.6g}"
    return facts


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


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
