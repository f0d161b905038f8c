"""Runs side by side, as the papers' tables set systems: accuracy, seconds an image, training, disk."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import jinja2
from markupsafe import Markup
from matplotlib.figure import Figure

from detkit.config.schema import Published
from detkit.evaluation.bootstrap import mean_and_spread
from detkit.reports.comparison_figures import map_against_seconds, paired_bars, stacked_bars
from detkit.reports.figures import inline_svg, save_png
from detkit.reports.systems import PARTS, System, read_system

NONE = "–"
Best = Callable[[list[float]], float]


@dataclass(frozen=True)
class Cell:
    text: str
    note: str = ""
    is_best: bool = False


@dataclass(frozen=True)
class Table:
    title: str
    note: str
    heads: list[str]  # of all columns, with their units
    rows: list[tuple[Cell, ...]]  # the first cell names the row


def compare(runs: Sequence[Path], out: Path, split: str | None = None) -> Path:
    """Writes index.html (which needs no other file), comparison.md, comparison.json and PNG figures; returns the page.

    Scores are those of `split`, or of each run's newest evaluation. Raises ValueError for a run that has none or whose
    files cannot be read.
    """
    systems = _read_systems(runs, split)
    warnings, tables, figures = _warnings(systems), _tables(systems), _figures(systems)
    out.mkdir(parents=True, exist_ok=True)
    for title, figure in figures.items():
        save_png(figure, out / _file_name(title))
    rows = [asdict(one) | {"published": one.published and one.published.model_dump()} for one in systems]
    for row in rows:
        del row["recipe"]  # the whole config, which is in the run
    content = json.dumps({"systems": rows, "warnings": warnings}, indent=2)
    (out / "comparison.json").write_text(content + "\n", encoding="utf-8")
    (out / "comparison.md").write_text(_markdown(warnings, tables, list(figures)), encoding="utf-8")
    page = out / "index.html"
    page.write_text(_page(systems, warnings, tables, figures), encoding="utf-8")
    return page


def _read_systems(runs: Sequence[Path], split: str | None) -> list[System]:
    if not runs:
        raise ValueError("no run to compare; name the folders of runs")
    names = [run.resolve().name for run in runs]
    names = [name if names.count(name) == 1 else str(run) for name, run in zip(names, runs, strict=True)]
    return [read_system(run, name, split) for name, run in zip(names, runs, strict=True)]


def _warnings(systems: Sequence[System]) -> list[str]:
    """What forbids to compare two of the rows."""
    texts = []
    checks: dict[str, Callable[[System], str]] = {
        "Different metrics, mAP cannot be compared": lambda one: one.metric,
        "Different data, mAP cannot be compared": lambda one: one.data,
        "Different devices, seconds cannot be compared": lambda one: one.device if one.seconds_per_image else "",
    }
    for title, key in checks.items():
        groups: dict[str, list[str]] = {}
        for one in systems:
            groups.setdefault(key(one), []).append(one.name)
        groups.pop("", None)
        if len(groups) > 1:
            texts.append(f"{title}: " + "; ".join(f"{', '.join(names)}: {value}" for value, names in groups.items()))
    for one in systems:
        if one.published and one.published.metric != one.metric:
            texts.append(f"{one.name} was scored with {one.metric}; its published figure is {one.published.metric}")
    return texts


def _tables(systems: Sequence[System]) -> list[Table]:
    names = [Cell(one.name, one.model) for one in systems]
    quickest = min if len({one.device for one in systems if one.total}) == 1 else None
    totals = _column([one.total for one in systems], ".3f", quickest)
    trained = _column([one.training_total for one in systems], ",.0f")
    tables = [_overview(systems, names, totals, trained), *_seeds(systems), _class_table(systems)]
    timed = [part for part in PARTS if any(part in one.seconds_per_image for one in systems)]
    if timed:
        note = "Seconds an image. A dash: not timed, and not in the total. Decoding is not in the total."
        parts = [(part, _column([one.seconds_per_image.get(part) for one in systems], ".3f")) for part in timed]
        decode = _column([one.decode for one in systems], ".3f")
        columns = [("system", names), *parts, ("total", totals), ("decode", decode)]
        tables.append(_from_columns("Time of an image", note, columns))
    stages = _stages(systems)
    if stages:
        note = "Seconds of each stage. The disk, above, is what all stages keep together."
        times = [(name, _column([one.training_seconds.get(name) for one in systems], ",.0f")) for name in stages]
        tables.append(_from_columns("Training", note, [("system", names), *times, ("total", trained)]))
    return tables


def _overview(systems: Sequence[System], names: list[Cell], totals: list[Cell], trained: list[Cell]) -> Table:
    unit, size = ("GB", 1e9) if any((one.disk_bytes or 0) >= 1e9 for one in systems) else ("MB", 1e6)
    disk = [None if one.disk_bytes is None else one.disk_bytes / size for one in systems]
    published_seconds = [one.published.seconds_per_image if one.published else None for one in systems]
    columns = [
        ("system", names),
        ("mAP, %", _column([_percent(one.map) for one in systems], ".1f", _highest(systems))),
        ("published, %", [_published_cell(one.published) for one in systems]),
        ("difference", _column([_difference(one) for one in systems], "+.1f")),
        ("time, s / image", totals),
        ("published, s / image", _column(published_seconds, ".3f")),
        ("training, s", trained),
        (f"disk, {unit}", _column(disk, ",.1f")),
    ]
    known = [(head, cells) for head, cells in columns if any(cell.text != NONE for cell in cells)]
    notes = ["Published times were taken on the machines of their papers."] if any(published_seconds) else []
    if any(one.published and not one.published.exact for one in systems):
        notes.append("Published figures of other data or another network are for orientation: no difference is taken.")
    note = " ".join(notes)
    return _from_columns("Systems", note, known)


def _seeds(systems: Sequence[System]) -> list[Table]:
    """Mean and spread of the runs that differ in nothing but their seed; no table where there are none."""
    groups: dict[tuple[str, str, str], list[System]] = {}
    for one in systems:
        if one.map is not None:
            groups.setdefault((one.recipe, one.data, one.metric), []).append(one)
    several = [group for group in groups.values() if len({one.seed for one in group}) > 1]
    if not several:
        return []
    spreads = [mean_and_spread([100 * one.map for one in group if one.map is not None]) for group in several]
    columns = [
        ("runs", [Cell(", ".join(one.name for one in group), group[0].model) for group in several]),
        ("seeds", [Cell(str(count)) for _, _, count in spreads]),
        ("mAP, %", [Cell(f"{mean:.2f}") for mean, _, _ in spreads]),
        ("standard deviation", _column([deviation for _, deviation, _ in spreads], ".2f")),
    ]
    note = "Runs of one config with different seeds: their mean, and how far they scatter (over n - 1)."
    return [_from_columns("Seeds", note, columns)]


def _from_columns(title: str, note: str, columns: Sequence[tuple[str, list[Cell]]]) -> Table:
    heads, cells = zip(*columns, strict=True)
    return Table(title, note, list(heads), list(zip(*cells, strict=True)))


def _class_table(systems: Sequence[System]) -> Table:
    """Classes in rows: there may be many, and systems are few."""
    names = dict.fromkeys(name for one in systems for name in one.ap)
    rows = [("mean", [one.map for one in systems]), *((name, [one.ap.get(name) for one in systems]) for name in names)]
    highest = _highest(systems)
    cells = [(Cell(name), *_column([_percent(ap) for ap in aps], ".1f", highest)) for name, aps in rows]
    return Table("Classes", "AP in %.", ["class", *(one.name for one in systems)], cells)


def _stages(systems: Sequence[System]) -> list[str]:
    return list(dict.fromkeys(name for one in systems for name in one.training_seconds))


def _highest(systems: Sequence[System]) -> Best | None:
    """No run is the best of runs that cannot be compared."""
    return max if len({(one.metric, one.data) for one in systems}) == 1 else None


def _column(values: Sequence[float | None], form: str, best: Best | None = None) -> list[Cell]:
    known = [value for value in values if value is not None]
    top = format(best(known), form) if best and len(known) > 1 else None
    texts = [NONE if value is None else format(value, form) for value in values]
    return [Cell(text, is_best=text == top) for text in texts]


def _published_cell(published: Published | None) -> Cell:
    return Cell(NONE) if published is None else Cell(f"{published.map:.1f}", published.source)


def _difference(one: System) -> float | None:
    if one.map is None or one.published is None or one.published.metric != one.metric or not one.published.exact:
        return None
    return 100 * one.map - one.published.map


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _figures(systems: Sequence[System]) -> dict[str, Figure]:
    """By title, those there are numbers for."""
    names = [one.name for one in systems]
    published = [one.published.map if one.published else None for one in systems]
    figures = {"mAP": paired_bars(names, [_percent(one.map) for one in systems], published)}
    placed = [(one.name, one.total, 100 * one.map) for one in systems if one.total and one.map is not None]
    if placed:
        placed_names, seconds, percents = zip(*placed, strict=True)
        figures["mAP against time"] = map_against_seconds(placed_names, seconds, percents)
    if any(one.total for one in systems):
        parts = {part: [one.seconds_per_image.get(part, 0.0) for one in systems] for part in PARTS}
        totals = [one.total or 1.0 for one in systems]
        shares = {part: [100 * x / total for x, total in zip(row, totals, strict=True)] for part, row in parts.items()}
        texts = [f"{one.total:.3g} s" if one.total else "" for one in systems]
        figures["Time of an image"] = stacked_bars(names, parts, "seconds, without decoding", texts)
        # Where one system takes most of the figure above, the others are seen here.
        figures["Shares of that time"] = stacked_bars(names, shares, "percent", texts)
    stages = _stages(systems)
    if stages:
        longest = max(one.training_total or 0.0 for one in systems)
        unit, length = ("hours", 3600) if longest >= 7200 else ("minutes", 60) if longest >= 300 else ("seconds", 1)
        times = {name: [one.training_seconds.get(name, 0.0) / length for one in systems] for name in stages}
        texts = [f"{one.training_total / length:,.3g}" if one.training_total else "" for one in systems]
        figures["Training"] = stacked_bars(names, times, unit, texts)
    return figures


def _file_name(title: str) -> str:
    return f"{title.lower().replace(' ', '_')}.png"


def _page(
    systems: Sequence[System], warnings: Sequence[str], tables: Sequence[Table], figures: dict[str, Figure]
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("detkit.reports", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    facts = {
        "metric": {one.metric for one in systems},
        "data": {one.data for one in systems},
        "device": {one.device for one in systems if one.device},
    }
    return environment.get_template("comparison.html.j2").render(
        count=len(systems),
        warnings=warnings,
        tables=tables,
        facts={name: values.pop() for name, values in facts.items() if len(values) == 1},  # else a warning tells
        figures={title: Markup(inline_svg(figure)) for title, figure in figures.items()},
    )


def _markdown(warnings: Sequence[str], tables: Sequence[Table], titles: Sequence[str]) -> str:
    lines = ["# Comparison of runs", ""]
    for text in warnings:
        lines += [f"> **Warning:** {text}", ""]
    for table in tables:
        lines += [f"## {table.title}", "", *([table.note, ""] if table.note else [])]
        rule = [Cell(":--"), *[Cell("--:")] * (len(table.heads) - 1)]
        rows = [[Cell(head) for head in table.heads], rule, *table.rows]
        lines += ["| " + " | ".join(map(_markdown_cell, row)) + " |" for row in rows] + [""]
    lines += [f"![{title}]({_file_name(title)})" for title in titles]
    return "\n".join(lines) + "\n"


def _markdown_cell(cell: Cell) -> str:
    text = f"**{cell.text}**" if cell.is_best else cell.text
    return (text + (f" ({cell.note})" if cell.note else "")).replace("|", "\\|")
