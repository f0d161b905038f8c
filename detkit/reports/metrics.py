"""metrics.json, the scores of a detector on a split: read, and shown in a notebook."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, NonNegativeFloat, ValidationError

File = TypeVar("File", bound=BaseModel)


class MetricScores(BaseModel, frozen=True):
    """What one metric says."""

    map: float | None  # 0..1; None where no class has an object
    interval: tuple[float, float] | None = None  # the middle 95% of `map` over resampled images
    ap: dict[str, float | None]  # of each class, 0..1


class Metrics(MetricScores, frozen=True):
    """Scores on a split: those of the leading metric here, those of all in `metrics`."""

    metric: str  # the one that leads: voc07, voc10, coco, lvis
    metrics: dict[str, MetricScores] = {}  # of files of earlier versions: none
    coco: dict[str, float | None] = {}  # the 12 numbers, if COCO's metric was asked for
    lvis: dict[str, float | None] = {}  # the 13 numbers, if that was and the data set is federated
    errors: dict[str, float | None] = {}  # AP that is lost to each kind of error
    images: int
    split: str
    fps: float | None = None  # images per second, from a decoded image to its boxes
    seconds_per_image: dict[str, NonNegativeFloat] = {}
    device: str = ""
    date: str = ""

    def __repr__(self) -> str:
        return f"<Metrics: {self.in_words()}>"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """A table of AP by class and metric, for a notebook."""
        each: Mapping[str, MetricScores] = self.metrics or {self.metric: self}
        heads = "".join(f"<th>{escape(name)}</th>" for name in ("class", *each))
        rows = "".join(_row(escape(name), [scores.ap.get(name) for scores in each.values()]) for name in self.ap)
        means = _row("<b>mean</b>", [scores.map for scores in each.values()])
        return (
            f"<table><caption>{escape(self.in_words())}</caption>"
            f"<thead><tr>{heads}</tr></thead><tbody>{rows}{means}</tbody></table>"
        )

    def in_words(self) -> str:
        """The leading score and what it was measured on."""
        return f"mAP ({self.metric}) {_as_text(self.map)} on {self.images} images of {self.split}"


def read_metrics(path: Path) -> Metrics:
    """Raises ValueError, with the path and the key, for a file that is no metrics.json."""
    return parse(Metrics, path.read_text(encoding="utf-8"), str(path))


def parse(kind: type[File], text: str, where: str) -> File:
    """JSON as a value of `kind`. Raises ValueError that begins with `where` and names the keys at fault."""
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))} {one['msg']}" for one in error.errors())
        raise ValueError(f"{where}: {problems.strip()}") from None


def _row(name: str, scores: list[float | None]) -> str:
    """A row of a table; `name` is HTML."""
    cells = "".join(f"<td>{_as_text(score)}</td>" for score in scores)
    return f"<tr><td>{name}</td>{cells}</tr>"


def _as_text(score: float | None) -> str:
    return "-" if score is None else f"{score:.4f}"
