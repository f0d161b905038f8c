"""A run as a row of a comparison, read from its folder: config.yaml, eval/<split>/metrics.json, stages.jsonl."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, NonNegativeFloat, NonNegativeInt

from detkit.config.data import FolderData
from detkit.config.loading import read_config
from detkit.config.schema import Config, Published
from detkit.engine.runs import missing_run
from detkit.engine.stages import FILE as STAGES_FILE
from detkit.reports.metrics import Metrics, parse, read_metrics

PARTS = ("proposals", "convolution", "regions", "rest")  # of detecting in one image, once it is decoded


class Stage(BaseModel, frozen=True):
    """A line of stages.jsonl: a stage of training, or the part of it since a resume."""

    stage: str
    seconds: NonNegativeFloat
    bytes: NonNegativeInt | None = None  # what it keeps on the disk


@dataclass(frozen=True)
class System:
    """A run, as a row of the tables."""

    name: str
    model: str  # "fast_rcnn, vgg 16"
    data: str  # what it was scored on
    metric: str
    map: float | None  # 0..1
    ap: dict[str, float | None]
    seconds_per_image: dict[str, float]  # those of PARTS that were timed
    decode: float | None  # seconds an image, not in the parts
    device: str
    date: str
    training_seconds: dict[str, float]  # of each stage, in order
    disk_bytes: int | None  # of all stages together
    published: Published | None  # its mAP is in percent
    recipe: str  # runs of the same differ in nothing but the seed
    seed: int

    @property
    def total(self) -> float | None:
        """Seconds an image."""
        return sum(self.seconds_per_image.values()) if self.seconds_per_image else None

    @property
    def training_total(self) -> float | None:
        return sum(self.training_seconds.values()) if self.training_seconds else None


def read_system(run: Path, name: str, split: str | None) -> System:
    if not run.is_dir():
        raise ValueError(missing_run(run))
    config = read_config(run / "config.yaml")
    path = newest_evaluation(run, split) / "metrics.json"
    metrics = read_metrics(path)
    stages = _read_stages(run / STAGES_FILE)
    seconds = metrics.seconds_per_image
    parts = {part: seconds[part] for part in PARTS[:-1] if part in seconds}
    rest = [value for stage, value in seconds.items() if stage not in (*PARTS[:-1], "decode")]
    training: dict[str, float] = {}
    disk: dict[str, int] = {}
    for line in stages:  # what a stage keeps grows from line to line
        training[line.stage] = training.get(line.stage, 0.0) + line.seconds
        if line.bytes is not None:
            disk[line.stage] = max(disk.get(line.stage, 0), line.bytes)
    return System(
        name=name,
        model=_model_name(config),
        data=_data_name(config, metrics),
        metric=metrics.metric,
        map=metrics.map,
        ap=metrics.ap,
        seconds_per_image=parts | ({"rest": sum(rest)} if rest else {}),
        decode=seconds.get("decode"),
        device=metrics.device,
        date=metrics.date,
        training_seconds=training,
        disk_bytes=sum(disk.values()) if disk else None,
        published=config.published,
        recipe=config.model_copy(update={"train": config.train.model_copy(update={"seed": 0})}).model_dump_json(),
        seed=config.train.seed,
    )


def newest_evaluation(run: Path, split: str | None) -> Path:
    """The folder of the results that detkit eval wrote last, of all or of those of `split`."""
    pattern = "*" if split is None else split.replace("/", "_")  # as detkit eval names the folder
    found = sorted((run / "eval").glob(f"{pattern}/metrics.json"), key=lambda path: path.stat().st_mtime)
    if not found:
        asked = "" if split is None else f" --split {split}"
        raise ValueError(f"{run}: no evaluation; make it with: detkit eval {shlex.quote(str(run))} --voc07{asked}")
    return found[-1].parent


def _read_stages(path: Path) -> list[Stage]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [parse(Stage, line, f"{path}:{number}") for number, line in enumerate(lines, start=1) if line.strip()]


def _model_name(config: Config) -> str:
    backbone = config.model.backbone
    size = getattr(backbone, "depth", None) or getattr(backbone, "name", "")  # of those kinds that have it
    return f"{config.model.kind}, {backbone.kind} {size}".strip()


def _data_name(config: Config, metrics: Metrics) -> str:
    """Runs with the same name were scored on the same images and classes, as far as their files tell."""
    data, split = config.data, metrics.split
    if split == "test" and isinstance(data, FolderData):  # "the run's test split"
        split = "+".join(data.test).replace("/", "_")
    return f"{split} of {data.root}, {metrics.images:,} images, {len(metrics.ap)} classes"
