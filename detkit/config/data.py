"""`data`: what is learned from and tested on, and how images come to the network."""

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from detkit.config.base import Count, Fraction, Positive, Section


class Augment(Section):
    """What training changes at random in an image; the papers flip and do nothing else."""

    horizontal_flip: Fraction = 0.5
    vertical_flip: Fraction = 0.0
    quarter_turns: Fraction = 0.0  # turn by 90, 180 or 270 degrees: for images without an up, such as microscopy
    scale_jitter: tuple[Positive, Positive] | None = None  # factor on the short side, drawn log-uniformly
    photometric: Fraction = 0.0  # brightness, contrast, saturation, hue
    safe_crop: Fraction = 0.0  # a random crop that loses no object

    @model_validator(mode="after")
    def _ordered(self) -> "Augment":
        if self.scale_jitter and self.scale_jitter[0] > self.scale_jitter[1]:
            raise ValueError(f"scale_jitter is (least, most), got {list(self.scale_jitter)}")
        return self


class ImageConfig(Section):
    """What every kind of data set has: the size images are brought to, and how training reads them.

    `deep_range`: the values of images with more than 8 bits a channel that become 0 and 255; others between them
    follow linearly, others beyond them are clipped. "auto" is found once, from the training images when a run starts:
    up to 256 deep ones, evenly spaced; the 0.1% and 99.9% of their values, widened by the same of the values inside
    the annotated boxes, so that few small bright objects on a dark ground are not clipped. What was found is written
    into the run's config: testing and detecting use it, whatever their images hold. Images of 8 bits are as they are.
    """

    short_side: Count = 600  # px; Fast R-CNN, section 4.1
    long_side: Count = 1000  # px, at most
    deep_range: Literal["auto"] | tuple[float, float] = "auto"  # low, high
    augment: Augment = Field(default_factory=Augment)
    group_by_aspect: bool = True  # wide and tall images in separate batches: less padding
    workers: Annotated[int, Field(ge=0)] = 2  # processes that decode, for each training process

    @model_validator(mode="after")
    def _deep_range_ordered(self) -> "ImageConfig":
        if self.deep_range != "auto":
            low, high = self.deep_range
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ValueError(f"deep_range is auto, or [low, high] with low < high; got [{low:g}, {high:g}]")
        return self

    @property
    def known_deep_range(self) -> tuple[float, float] | None:
        """None: not found yet, or no training image is deep."""
        return None if self.deep_range == "auto" else self.deep_range


FormName = Literal["voc", "coco", "yolo", "labelme", "cvat", "openimages", "huggingface"]


class Folder(Section):
    """A folder in one of the forms of data sets, and what its classes are called here."""

    kind: FormName
    root: str
    rename: dict[str, str] = Field(default_factory=dict)  # name in the files: name here
    other_classes: Literal["error", "drop"] = "error"  # objects that are of none of `classes`


class Source(Folder):
    """Another data set to learn from, brought to the classes of the first by name."""

    splits: Annotated[tuple[str, ...], Field(min_length=1)]
    other_classes: Literal["error", "drop"] = "drop"


class FolderData(ImageConfig, Folder):
    """What is learned from and tested on.

    A split is "trainval", "VOC2007/trainval" in a sub-folder of root, or "train2017" for instances_train2017.json;
    "all[:80%]" is four fifths of one, chosen by the ids.
    """

    kind: FormName  # again: what tells sections apart must be their own
    classes: tuple[str, ...] | None = None  # null: those of the training splits
    train: Annotated[tuple[str, ...], Field(min_length=1)]
    val: tuple[str, ...] = ()  # the best weights are chosen here, never on test
    test: tuple[str, ...]
    also: tuple[Source, ...] = ()  # further data sets to train on


class ShapesData(ImageConfig):
    """The built-in set of rendered scenes, written to root when it is not there yet."""

    kind: Literal["shapes"]
    root: str = "data/shapes"
    seed: Annotated[int, Field(ge=0)] = 0
    long_sides: tuple[Count, Count] = (220, 300)  # px, of images
    object_sizes: tuple[Count, Count] = (20, 180)  # px, longer side of an object
    num_train: Count = 400
    num_val: Count = 60
    num_test: Count = 120
