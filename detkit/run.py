"""detkit from Python: `detkit.train(...)` makes a run, and a run is scored and used.

The same functions are called as by the command line: progress, files and figures are the same.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import get_args

import torch

from detkit.commands.eval import score_run
from detkit.commands.train import train as train_plan
from detkit.config.data import FormName, ShapesData
from detkit.config.loading import read_config
from detkit.config.schema import Config
from detkit.config.train import PrecisionName
from detkit.data.synthetic.shapes_render import CLASSES as SHAPE_CLASSES
from detkit.engine.checkpoint import load_model
from detkit.engine.logs import read_log
from detkit.evaluation.assessment import MetricName
from detkit.predictor import Predictor, load
from detkit.recipes.plan import plan
from detkit.reports.metrics import Metrics, read_metrics
from detkit.reports.systems import newest_evaluation

Setting = str | int | float | bool | None | Sequence["Setting"] | Mapping[str, "Setting"]  # as YAML has them

NO_SETTINGS: Mapping[str, Setting] = MappingProxyType({})
_SHOWN = 10  # classes that a notebook names


@dataclass(frozen=True, repr=False)
class Run:
    """A folder that training wrote: what was trained, how it went, how good it is."""

    folder: Path
    config: Config  # with the classes that its data set turned out to have

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; labels count in these."""
        if isinstance(self.config.data, ShapesData):
            return SHAPE_CLASSES
        return self.config.data.classes or load_model(self.folder).classes

    @property
    def metrics(self) -> Metrics | None:
        """The scores of its last evaluation; None where there was none.

        Raises ValueError for a metrics.json that cannot be read.
        """
        if not any((self.folder / "eval").glob("*/metrics.json")):
            return None
        return read_metrics(newest_evaluation(self.folder, None) / "metrics.json")

    @property
    def history(self) -> list[dict[str, float]]:
        """What was logged on the way, one row for each logged step: "step", "loss", "lr" and more."""
        return read_log(self.folder / "log.jsonl")

    def evaluate(
        self,
        metrics: MetricName | Sequence[MetricName] = (),
        *,
        data: str | Path | None = None,
        form: FormName | None = None,
        split: str | None = None,
        out: str | Path | None = None,
        device: str | torch.device | None = None,
    ) -> Metrics:
        """Detect in the images of a split, score what is found, and write a report.html.

        `metrics`: one or more of "voc07", "voc10", "coco" and "lvis" (which "coco" means of a federated data set), of
        which the first leads; none: the usual one of the data set. `data`: another data set's folder, of `form`.
        `split`: None is the one for testing. `out`: folder of the report and the result files, eval/<split> in the
        run's by default. `device`: as for `predictor`.
        Raises ValueError where any of these does not fit.
        """
        asked = [metrics] if isinstance(metrics, str) else list(metrics)
        for name in asked:
            if name not in get_args(MetricName):
                raise ValueError(f"metric {name!r}: expected some of {', '.join(get_args(MetricName))}")
        scored = score_run(self.folder, asked, data=_path(data), form=form, split=split, out=_path(out), device=device)
        return read_metrics(scored.report.with_name("metrics.json"))

    def predictor(self, device: str | torch.device | None = None) -> Predictor:
        """Its detector, on `device` (default: a GPU where there is one). Raises ValueError as `detkit.load` does."""
        return load(self.folder, device)

    def __repr__(self) -> str:
        return f"<Run {self.folder}: {', '.join(text for _, text in self._facts()[1:])}>"

    def _repr_html_(self) -> str:
        """A small table, for a notebook."""
        rows = "".join(f"<tr><th>{name}</th><td>{escape(text)}</td></tr>" for name, text in self._facts())
        return f"<table><tbody>{rows}</tbody></table>"

    def _facts(self) -> list[tuple[str, str]]:
        """What is told about a run: its folder first, all of it from small files."""
        data = self.config.data
        names = SHAPE_CLASSES if isinstance(data, ShapesData) else data.classes or ()
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        rows = self.history
        steps = f"{int(rows[-1]['step']) if rows else 0} of {self.config.train.steps}"
        facts = [
            ("run", str(self.folder)),
            ("model", f"{self.config.model.kind}, {self.config.model.backbone.kind}"),
            ("data", data.root),
            ("classes", ", ".join(names[:_SHOWN]) + more),
            ("steps", f"{steps} steps"),
        ]
        metrics = self.metrics
        return facts if metrics is None else [*facts, ("scores", metrics.in_words())]


def train(
    config: str | Path | None = None,
    *,
    data: str | Path | None = None,
    form: FormName | None = None,
    run: str | Path | None = None,
    fresh: bool = False,
    steps: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    workers: int | None = None,
    seed: int | None = None,
    precision: PrecisionName | None = None,
    settings: Mapping[str, Setting] = NO_SETTINGS,
) -> Run:
    """Train a detector: `detkit.train("faster_rcnn_r50", data="data/mine", steps=2000)`.

    The same call goes on where an earlier one was stopped: Ctrl-C (KeyboardInterrupt) leaves a checkpoint.

    config: the name of one that comes with detkit, or a YAML file; None: the one for images of one's own, which needs
        `data`: own_data, or own_data_cpu where there is no GPU.
    data: a folder of images and annotations in place of the config's. form: of it; None: found out.
    run: the folder to write to; None: runs/<config>, or runs/<config>_<data>.
    fresh: delete first what the folder holds of an earlier run.
    steps, batch_size (images a step), lr (for the batch size that stands in the config: it is scaled to another),
        workers (processes that read images), seed, precision: in place of the config's; None: as there.
    settings: any other keys of the config, such as {"model.rpn.nms_iou": 0.6}.

    Raises ValueError for anything in the config, the data or the folder that does not fit: the message says what.
    """
    named: dict[str, Setting] = {
        "train.steps": steps,
        "train.batch_size": batch_size,
        "train.lr": lr,
        "data.workers": workers,
        "train.seed": seed,
        "train.precision": precision,
    }
    if not isinstance(settings, Mapping):  # checked, as a list of key=value is what the command line has
        raise ValueError(f'settings: expected a dict such as {{"model.rpn.nms_iou": 0.6}}, got {settings!r:.80}')
    given = {key: value for key, value in named.items() if value is not None}
    twice = [key for key in given if key in settings]
    if twice:
        raise ValueError(f"{', '.join(twice)}: given by its own argument and in settings, too; leave out one of them")
    overrides = [_override(key, value) for key, value in (given | dict(settings)).items()]
    planned = plan(config, _path(data), form, _path(run), overrides)
    for line in planned.said:
        print(line)
    train_plan(planned.config, planned.folder, fresh)
    return open_run(planned.folder)


def open_run(folder: str | Path) -> Run:
    """The run in `folder`, finished or under way. Raises ValueError where there is none."""
    written = Path(folder) / "config.yaml"
    if not written.is_file():
        raise ValueError(f"{folder}: no run, as it has no config.yaml; name a folder that training wrote: runs/<name>")
    return Run(Path(folder), read_config(written))


def _override(key: str, value: Setting) -> str:
    """A setting as a command line has it: YAML takes all of JSON."""
    try:
        return f"{key}={json.dumps(value)}"
    except TypeError:
        raise ValueError(
            f"settings[{key!r}]: {value!r:.80} is no value of a config; use text, numbers, true or false, lists, dicts"
        ) from None


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
