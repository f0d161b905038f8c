"""A whole configuration. Every key has its type, its range and its default, with where the default is from.

Only detkit/build*.py and what is above them know the sections; networks, data sets and training take plain arguments.
detkit/config/loading.py reads the files.
"""

import json
from typing import Annotated, Literal

import yaml
from pydantic import Field, model_validator

from detkit.config.base import Count, Positive, Section
from detkit.config.data import FolderData, ShapesData
from detkit.config.models import Model
from detkit.config.train import Train


class Published(Section):
    """The published figure that a config is to reproduce."""

    map: Annotated[float, Field(ge=0, le=100)]  # percent
    metric: Literal["voc07", "voc10", "coco"] = "voc07"
    source: str  # paper and table
    exact: bool = True  # of this network and these data; false: shown for orientation, no difference is taken
    seconds_per_image: Positive | None = None  # on the paper's machine


class TestTime(Section):
    """What may be done when detecting, on top of what a run's config says; as it stands: nothing."""

    __test__ = False  # no test, whatever pytest takes its name for

    flip: bool = False  # look at the mirrored image, too
    scales: tuple[Count, ...] = ()  # px, shorter sides that are looked at; none: data.short_side
    # Regions of all looks are scored in each of them and the mean counts; false: each scores its own.
    shared_regions: bool = False
    refine: Annotated[int, Field(ge=0, le=5)] = 0  # times that found boxes are taken as regions again; the paper: 1
    soft_nms: Literal["linear", "gaussian"] | None = None  # null: NMS; linear from model.head.nms_iou on
    box_voting: Annotated[float, Field(gt=0, le=1)] | None = None  # IoU of the boxes that are averaged; the paper: 0.5


class Config(Section):
    """A whole run: what is learned from, what learns, and how."""

    data: Annotated[FolderData | ShapesData, Field(discriminator="kind")]
    model: Model
    train: Train
    published: Published | None = None

    @model_validator(mode="after")
    def _fitting(self) -> "Config":
        if self.train.kind == "alternating" and self.model.kind != "faster_rcnn":
            raise ValueError(f"train.kind alternating is for a faster_rcnn, model.kind is {self.model.kind}")
        return self

    def to_yaml(self) -> str:
        return yaml.safe_dump(json.loads(self.model_dump_json()), sort_keys=False, allow_unicode=True)
