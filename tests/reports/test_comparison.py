"""The page that compares runs: its numbers, its warnings, its files, and runs that cannot be compared."""

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from detkit.reports import comparison
from detkit.reports.comparison import compare
from detkit.reports.systems import read_system

HOSTILE = "<script>alert(1)<|script> $x^{"
PUBLISHED = {"map": 66.9, "metric": "voc07", "source": "Fast R-CNN, table 1", "exact": True, "seconds_per_image": 0.32}
METRICS: dict[str, Any] = {
    "metric": "voc07",
    "map": 0.5,
    "ap": {"bar": 0.75, "block": 0.25},
    "images": 3,
    "split": "test",
    "fps": 4.0,
    "seconds_per_image": {
        "decode": 0.5,
        "convolution": 0.125,
        "proposals": 0.0625,
        "regions": 0.03125,
        "nms": 0.02,
        "other": 0.01,
    },
    "stages_ms": {},
    "device": "cpu",
    "date": "2026-11-22",
}
STAGES = [
    {"stage": "finetune", "seconds": 100.0},
    {"stage": "features", "seconds": 20.0, "bytes": 3_000_000},
    {"stage": "features", "seconds": 30.0, "bytes": 2_000_000},  # resumed
    {"stage": "svms", "seconds": 5.5, "bytes": 500_000},
]


def make_run(
    folder: Path,
    config: dict[str, Any],
    metrics: dict[str, Any],
    published: dict[str, Any] | None = None,
    stages: list[dict[str, Any]] | None = None,
) -> Path:
    evaluation = folder / "eval" / metrics["split"]
    evaluation.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config | {"published": published}))
    (evaluation / "metrics.json").write_text(json.dumps(metrics))
    if stages is not None:
        (folder / "stages.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in stages))
    return folder


@pytest.fixture
def runs(tmp_path: Path, tiny: dict[str, Any]) -> list[Path]:
    """One run with everything, and one with a score and no more."""
    bare = {key: value for key, value in METRICS.items() if key not in ("seconds_per_image", "device", "date")}
    return [
        make_run(tmp_path / "full", tiny, METRICS, PUBLISHED, STAGES),
        make_run(tmp_path / HOSTILE, tiny, bare | {"map": None, "ap": {"bar": 0.7, "block": None}}),
    ]


def test_a_run_is_read(runs: list[Path], voc_root: Path) -> None:
    full = read_system(runs[0], "full", None)
    assert full.model == "faster_rcnn, resnet 18"
    assert full.data == f"test of {voc_root}, 3 images, 2 classes"
    assert full.seconds_per_image == pytest.approx(
        {"proposals": 0.0625, "convolution": 0.125, "regions": 0.03125, "rest": 0.03}
    )
    assert full.total == pytest.approx(0.24875)  # without decode
    assert full.decode == 0.5
    assert full.training_seconds == {"finetune": 100, "features": 50, "svms": 5.5}
    assert full.training_total == 155.5
    assert full.disk_bytes == 3_000_000 + 500_000
    assert full.published is not None and full.published.source == "Fast R-CNN, table 1"


def test_a_bare_run_is_read(runs: list[Path]) -> None:
    bare = read_system(runs[1], "bare", None)
    assert (bare.map, bare.total, bare.decode, bare.training_total, bare.disk_bytes) == (None,) * 5
    assert (bare.seconds_per_image, bare.training_seconds, bare.published) == ({}, {}, None)


def markdown_table(text: str, title: str) -> list[list[str]]:
    """The cells of the table under a heading, the line below its head left out."""
    section = text.partition(f"## {title}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [rows[0], *rows[2:]]


def markdown(runs: list[Path]) -> str:
    """comparison.md without the figures, which take their time to draw."""
    systems = comparison._read_systems(runs, None)
    return comparison._markdown(comparison._warnings(systems), comparison._tables(systems), [])


def test_tables(runs: list[Path], tmp_path: Path, tiny: dict[str, Any]) -> None:
    better = METRICS | {"map": 0.6785, "ap": {"bar": 0.7, "block": 0.657}}
    text = markdown([*runs, make_run(tmp_path / "better", tiny, better, PUBLISHED)])
    model = "(faster_rcnn, resnet 18)"
    hostile = HOSTILE.replace("|", r"\|")
    published, seconds = "66.9 (Fast R-CNN, table 1)", "published, s / image"
    assert markdown_table(text, "Systems") == [
        ["system", "mAP, %", "published, %", "difference", "time, s / image", seconds, "training, s", "disk, MB"],
        [f"full {model}", "50.0", published, "-16.9", "**0.249**", "0.320", "156", "3.5"],
        [f"{hostile} {model}", "–", "–", "–", "–", "–", "–", "–"],
        [f"better {model}", "**67.8**", published, "+0.9", "**0.249**", "0.320", "–", "–"],
    ]
    assert markdown_table(text, "Classes") == [
        ["class", "full", hostile, "better"],
        ["mean", "50.0", "–", "**67.8**"],
        ["bar", "**75.0**", "70.0", "70.0"],
        ["block", "25.0", "–", "**65.7**"],
    ]
    assert markdown_table(text, "Time of an image")[:3] == [
        ["system", "proposals", "convolution", "regions", "rest", "total", "decode"],
        [f"full {model}", "0.062", "0.125", "0.031", "0.030", "**0.249**", "0.500"],
        [f"{hostile} {model}", "–", "–", "–", "–", "–", "–"],
    ]
    assert markdown_table(text, "Training")[:2] == [
        ["system", "finetune", "features", "svms", "total"],
        [f"full {model}", "100", "50", "6", "156"],
    ]


class Page(HTMLParser):
    """Tags and what they load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]


def test_page_is_safe_and_self_contained(runs: list[Path], tmp_path: Path, tiny: dict[str, Any]) -> None:
    other = make_run(tmp_path / "other", tiny, METRICS | {"metric": "voc10"})
    page = compare([*runs, other], tmp_path / "out")
    assert page == tmp_path / "out" / "index.html"
    text = page.read_text()
    parsed = Page(text)
    assert "script" not in parsed.tags
    assert all(link.startswith(("data:", "#")) for link in parsed.links)
    assert "url(http" not in text and "@import" not in text
    assert parsed.tags.count("svg") == 5 and parsed.tags.count("table") == 4
    assert "Fast R-CNN, table 1" in text and "&lt;script&gt;" in text
    assert text.count("<b>Warning</b> Different metrics") == 1
    figures = {"map", "map_against_time", "time_of_an_image", "shares_of_that_time", "training"}
    assert {path.stem for path in page.parent.glob("*.png")} == figures
    assert all(f"]({name}.png)" in (page.parent / "comparison.md").read_text() for name in figures)
    content = json.loads((page.parent / "comparison.json").read_text())
    full, bare, _ = content["systems"]
    assert [warning[:17] for warning in content["warnings"]] == ["Different metrics"]
    assert (full["name"], full["map"], full["ap"], full["published"]) == ("full", 0.5, METRICS["ap"], PUBLISHED)
    assert full["training_seconds"] == {"finetune": 100, "features": 50, "svms": 5.5}
    assert (bare["name"], bare["map"], bare["published"]) == (HOSTILE, None, None)


def test_runs_that_were_only_scored(runs: list[Path], tmp_path: Path) -> None:
    page = compare(runs[1:], tmp_path / "out")
    text = page.read_text()
    assert Page(text).tags.count("table") == 2  # systems and classes
    assert "<b>Warning</b>" not in text
    assert [path.name for path in page.parent.glob("*.png")] == ["map.png"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"metric": "voc10"}, r"Different metrics, .*: full: voc07; other: voc10"),
        ({"split": "VOC2012_val"}, r"Different data, .*: full: test of .*; other: VOC2012_val of "),
        ({"images": 4}, r"Different data, .*; other: .*, 4 images, 2 classes"),
        ({"ap": {"bar": 0.5}}, r"Different data, .*; other: .*, 3 images, 1 classes"),
        ({"device": "cuda"}, r"Different devices, seconds cannot be compared: full: cpu; other: cuda"),
        ({"device": "cuda", "seconds_per_image": {}}, None),
    ],
)
def test_warnings(
    runs: list[Path], tmp_path: Path, tiny: dict[str, Any], changes: dict[str, Any], expected: str | None
) -> None:
    other = make_run(tmp_path / "other", tiny, METRICS | changes)
    warnings = comparison._warnings(comparison._read_systems([runs[0], other], None))
    assert len(warnings) == (expected is not None)
    if expected is not None:
        assert re.match(expected, warnings[0])


def test_no_run_is_the_best_of_what_cannot_be_compared(tmp_path: Path, tiny: dict[str, Any]) -> None:
    one = make_run(tmp_path / "one", tiny, METRICS)
    others = {
        "another metric": ({"metric": "voc10", "map": 0.6}, ["50.0", "60.0"], ["**0.249**", "**0.249**"]),
        "another device": ({"device": "cuda", "map": 0.6}, ["50.0", "**60.0**"], ["0.249", "0.249"]),
    }
    for name, (changes, maps, seconds) in others.items():
        other = make_run(tmp_path / name, tiny, METRICS | changes)
        rows = markdown_table(markdown([one, other]), "Systems")[1:]
        assert ([row[1] for row in rows], [row[2] for row in rows]) == (maps, seconds)


def test_a_published_figure_of_another_metric_is_no_difference(tmp_path: Path, tiny: dict[str, Any]) -> None:
    run = make_run(tmp_path / "run", tiny, METRICS, PUBLISHED | {"metric": "voc10"})
    text = markdown([run])
    assert "> **Warning:** run was scored with voc07; its published figure is voc10" in text
    assert "difference" not in markdown_table(text, "Systems")[0]


def test_newest_evaluation_or_the_one_asked_for(tmp_path: Path, tiny: dict[str, Any]) -> None:
    run = make_run(tmp_path / "run", tiny, METRICS)
    newer = run / "eval" / "VOC2012_val"
    newer.mkdir()
    (newer / "metrics.json").write_text(json.dumps(METRICS | {"map": 0.25, "split": "VOC2012_val"}))
    os.utime(run / "eval" / "test" / "metrics.json", (1, 1))
    assert read_system(run, "run", None).map == 0.25
    assert read_system(run, "run", "test").map == 0.5
    assert read_system(run, "run", "VOC2012/val").map == 0.25


def test_runs_of_one_name_are_told_apart(tmp_path: Path, tiny: dict[str, Any]) -> None:
    same = [make_run(tmp_path / folder / "run", tiny, METRICS) for folder in ("a", "b")]
    assert [one.name for one in comparison._read_systems(same, None)] == [str(run) for run in same]


def test_the_name_of_a_test_split_is_that_of_the_config(tmp_path: Path, tiny: dict[str, Any]) -> None:
    tiny["data"]["test"] = ["VOC2007/test", "VOC2012/val"]
    run = make_run(tmp_path / "run", tiny, METRICS)
    assert read_system(run, "run", None).data.startswith("VOC2007_test+VOC2012_val of ")


def test_runs_that_cannot_be_compared(runs: list[Path], tmp_path: Path) -> None:
    run, out = runs[0], tmp_path / "out"
    with pytest.raises(ValueError, match="no run to compare"):
        compare([], out)
    with pytest.raises(ValueError, match="nowhere: no such run"):
        compare([tmp_path / "nowhere"], out)
    with pytest.raises(ValueError, match=f"full: no evaluation; .*: detkit eval {run} --voc07 --split val$"):
        compare(runs, out, "val")
    (run / "stages.jsonl").write_text('{"stage": "svms", "seconds": 1}\n{"stage": "sv')
    with pytest.raises(ValueError, match=r"stages.jsonl:2: Invalid JSON"):
        compare(runs, out)
    (run / "eval" / "test" / "metrics.json").write_text('{"metric": "voc07", "map": "high", "ap": {}, "images": 3}')
    with pytest.raises(ValueError, match=r"metrics.json: map Input should be a valid number.*; split Field required"):
        compare(runs, out)
    (run / "eval" / "test" / "metrics.json").unlink()
    with pytest.raises(ValueError, match=f"full: no evaluation; .*: detkit eval {run} --voc07$"):
        compare(runs, out)
    assert not out.exists()
