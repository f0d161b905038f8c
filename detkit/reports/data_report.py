"""One page about a data set: its faults, its classes, its objects beside anchors, and images that splits share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from markupsafe import Markup

from detkit.data.faults import Fault, Severity
from detkit.data.io.images import ImageError, read_image
from detkit.data.validation.check_report import CheckReport, kinds_of
from detkit.data.validation.compare_splits import NearDuplicate, class_counts
from detkit.data.validation.statistics import REACHED, Frame, SplitStatistics
from detkit.reports.data_figures import MAX_SPLITS, data_figures
from detkit.reports.drawing import class_color
from detkit.reports.figures import SERIES, inline_svg
from detkit.reports.page_template import page_template
from detkit.reports.sample_images import jpeg_address, sample_groups

MAX_OF_KIND = 500  # faults
MAX_PAIRS = 60  # of near duplicates: about 1 MB
LONG_SIDE = 280  # px, of their images
OTHER = {Severity.ERROR: "errors", Severity.WARNING: "other warnings", Severity.INFO: "notes"}


@dataclass(frozen=True)
class FaultKind:
    key: str
    severity: Severity
    name: str
    count: int
    shown: Sequence[Fault]


@dataclass(frozen=True)
class SplitRow:
    name: str
    color: str
    images: int
    empty: int
    objects: int
    ignored: int
    unreached: list[float]  # share of the objects whose best IoU is below each of REACHED


@dataclass(frozen=True)
class ClassCell:
    objects: int
    percent: float  # of the most objects that a class of the split has
    learned: int
    unreached: list[float]


@dataclass(frozen=True)
class PairView:
    pair: NearDuplicate
    first: str  # data: address of an image, "" where it cannot be read
    second: str


def write_data_report(
    folder: Path,
    report: CheckReport,
    frame: Frame,
    statistics: Mapping[str, SplitStatistics],
    perfect: Sequence[str],
) -> Path:
    """Writes index.html, which needs no other file; returns its path. `perfect`: lines on what objects score."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = data_figures(statistics, frame)
    page = page_template("data_report.html.j2").render(
        title=f"Data set {report.form.root}",
        facts=_facts(report),
        verdict=report.verdict().rpartition("; ")[2],
        counts={severity.value: report.count(severity) for severity in Severity},
        kinds=_fault_kinds(report.faults),
        splits=_split_rows(report, statistics),
        classes=_class_rows(report, statistics),
        frame=frame.describe(),
        reached=REACHED,
        figures={name: Markup(inline_svg(figure)) for name, figure in figures.items()},
        lines=[(name, color) for (name, one), color in zip(_with_objects(statistics), SERIES)][:MAX_SPLITS],
        perfect=perfect,
        samples=sample_groups(list(report.splits.values())),
        class_colors=_class_colors(report),
        pairs=[_view(pair) for pair in report.near_duplicates[:MAX_PAIRS]],
        num_pairs=len(report.near_duplicates),
        below_root=lambda path: _below(path, report.form.root),
    )
    path = folder / "index.html"
    path.write_text(page, encoding="utf-8")
    return path


def _below(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path


def _with_objects(statistics: Mapping[str, SplitStatistics]) -> list[tuple[str, SplitStatistics]]:
    return [(name, one) for name, one in statistics.items() if len(one.labels)]


def _facts(report: CheckReport) -> dict[str, str]:
    splits = report.splits.values()
    names = {name for split in splits for name in class_counts(split)}
    return {
        "form": report.form.title,
        "splits": f"{len(splits):,}",
        "images": f"{report.num_images:,}",
        "classes with objects": f"{len(names):,}",
        "near duplicates": f"{len(report.near_duplicates):,}",
    }


def _fault_kinds(faults: Sequence[Fault]) -> list[FaultKind]:
    return [
        FaultKind(f"k{number}", severity, summary or OTHER[severity], len(members), members[:MAX_OF_KIND])
        for number, ((severity, summary), members) in enumerate(kinds_of(faults).items())
    ]


def _split_rows(report: CheckReport, statistics: Mapping[str, SplitStatistics]) -> list[SplitRow]:
    colors = {name: color for (name, _), color in zip(_with_objects(statistics), SERIES[:MAX_SPLITS])}
    return [
        SplitRow(
            name,
            colors.get(name, ""),
            len(split.truth),
            int((split.truth.counts == 0).sum()),
            len(split.truth.objects),
            int(split.truth.objects.ignore.sum()),
            statistics[name].unreached()[1],
        )
        for name, split in report.splits.items()
    ]


def _class_rows(report: CheckReport, statistics: Mapping[str, SplitStatistics]) -> list[tuple[str, list[ClassCell]]]:
    """The classes that have objects, each with a cell a split, the most frequent first."""
    counts = {name: class_counts(split) for name, split in report.splits.items()}
    most = {name: max(count.values(), default=1) for name, count in counts.items()}
    classes = next(iter(report.splits.values())).truth.classes if report.splits else ()
    rows = []
    for label, name in enumerate(classes):
        if not any(name in count for count in counts.values()):
            continue
        cells = []
        for split, count in counts.items():
            objects = count.get(name, 0)
            cells.append(ClassCell(objects, 100 * objects / most[split], *statistics[split].unreached(label)))
        rows.append((name, cells))
    return sorted(rows, key=lambda row: -sum(cell.objects for cell in row[1]))


def _class_colors(report: CheckReport) -> dict[str, str]:
    """How boxes of each class are drawn, for CSS."""
    classes = next(iter(report.splits.values())).truth.classes if report.splits else ()
    return {name: "#{:02x}{:02x}{:02x}".format(*class_color(label)) for label, name in enumerate(classes)}


def _view(pair: NearDuplicate) -> PairView:
    return PairView(pair, _image(pair.first), _image(pair.second))


def _image(path: Path) -> str:
    try:
        pixels = read_image(path, "own")
    except ImageError:
        return ""
    scale = min(1.0, LONG_SIDE / max(pixels.shape[:2]))
    width, height = (max(1, round(side * scale)) for side in (pixels.shape[1], pixels.shape[0]))
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return jpeg_address(np.asarray(small, dtype=np.uint8))
