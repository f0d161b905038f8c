"""The configuration: one YAML file, its `base` files and key=value overrides, checked into frozen sections.

Only detkit/build.py reads the sections; everything else takes plain arguments.
"""

import difflib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the key, its value and what is allowed."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Augment(Section):
    """What training changes at random in a picture; the papers flip and do nothing else."""

    horizontal_flip: Fraction = 0.5
    vertical_flip: Fraction = 0.0
    quarter_turns: Fraction = 0.0  # turn by 90, 180 or 270 degrees: for pictures without an up, such as microscopy
    scale_jitter: tuple[Positive, Positive] | None = None  # factor on the short side, drawn log-uniformly
    photometric: Fraction = 0.0  # brightness, contrast, saturation, hue
    safe_crop: Fraction = 0.0  # a random crop that loses no object

    @model_validator(mode="after")
    def _ordered(self) -> "Augment":
        if self.scale_jitter and self.scale_jitter[0] > self.scale_jitter[1]:
            raise ValueError(f"scale_jitter is (least, most), got {list(self.scale_jitter)}")
        return self


class Pictures(Section):
    """What every kind of data set has: the size pictures are brought to, and how training reads them."""

    short_side: Count = 600  # px; Fast R-CNN, section 4.1
    long_side: Count = 1000  # px, at most
    augment: Augment = Augment()
    group_by_aspect: bool = True  # wide and tall pictures in separate batches: less padding
    workers: Annotated[int, Field(ge=0)] = 2  # processes that decode, for each training process


class VocData(Pictures):
    """PASCAL VOC, or any folder of its shape. A split is "trainval", or "VOC2007/trainval" in a sub-folder of root."""

    kind: Literal["voc"]
    root: str
    classes: tuple[str, ...] | None = None  # null: the names found in the training splits
    train: Annotated[tuple[str, ...], Field(min_length=1)]
    val: tuple[str, ...] = ()  # the best weights are chosen here, never on test
    test: tuple[str, ...]


class ShapesData(Pictures):
    """The built-in set of rendered scenes, written to root when it is not there yet."""

    kind: Literal["shapes"]
    root: str = "data/shapes"
    seed: Annotated[int, Field(ge=0)] = 0
    long_sides: tuple[Count, Count] = (220, 300)  # px, of pictures
    object_sizes: tuple[Count, Count] = (20, 180)  # px, longer side of an object
    num_train: Count = 400
    num_val: Count = 60
    num_test: Count = 120


class ResNet(Section):
    kind: Literal["resnet"]
    depth: Literal[18, 34, 50, 101, 152] = 101
    layout: Literal["torchvision", "msra"] = "torchvision"  # stride of a bottleneck in its 3x3, or in its first 1x1
    norm: Literal["frozen", "batch", "group"] = "frozen"  # ResNet paper, appendix A: batch norm fixed
    frozen_stages: Annotated[int, Field(ge=0, le=4)] = 2  # 1: conv1; 2: conv1 and conv2_x; ... 4: through conv4_x
    weights: str | None = "imagenet"  # imagenet | a file with a state dict | null: from scratch


class RoIMaxPoolSection(Section):
    kind: Literal["roi_pool"]
    size: Count | None = None  # cells a side; null: what the backbone was published with


class RoIAlignSection(Section):
    kind: Literal["roi_align"]
    size: Count | None = None
    sampling: Annotated[int, Field(ge=0)] = 2  # points along each side of a bin; 0: as many as the bin is wide


class RPNSection(Section):
    """Region proposal network; the numbers are those of py-faster-rcnn."""

    channels: Count = 512
    sizes: tuple[Positive, ...] = (128.0, 256.0, 512.0)  # px, square root of the anchor's area
    ratios: tuple[Positive, ...] = (0.5, 1.0, 2.0)  # height / width
    positive_iou: Fraction = 0.7
    negative_iou: Fraction = 0.3
    batch_per_image: Count = 256
    positive_fraction: Fraction = 0.5
    across_border: bool = False  # learn from anchors that leave the picture, too
    box_weight: NotNegative = 1.0
    nms_iou: Fraction = 0.7
    min_side: NotNegative = 16.0  # px
    train_before_nms: Count = 12000
    train_after_nms: Count = 2000
    test_before_nms: Count = 6000
    test_after_nms: Count = 300


class HeadSection(Section):
    """Scores and boxes of the regions: Fast R-CNN, with the numbers of end-to-end Faster R-CNN."""

    batch_per_image: Count = 128
    foreground_fraction: Fraction = 0.25
    foreground_iou: Fraction = 0.5
    background_iou: tuple[Fraction, Fraction] = (0.0, 0.5)  # [least, most)
    box_std: tuple[Positive, Positive, Positive, Positive] = (0.1, 0.1, 0.2, 0.2)
    class_agnostic: bool = False
    box_weight: NotNegative = 1.0
    min_score: Fraction = 0.05
    nms_iou: Fraction = 0.3
    max_detections: Count = 100


class Model(Section):
    kind: Literal["faster_rcnn"]
    backbone: ResNet
    pool: Annotated[RoIMaxPoolSection | RoIAlignSection, Field(discriminator="kind")]
    rpn: RPNSection = RPNSection()
    head: HeadSection = HeadSection()


class SGD(Section):
    kind: Literal["sgd"]
    momentum: Fraction = 0.9
    weight_decay: NotNegative = 5e-4
    bias_rate: Positive = 1.0  # factor on the rate of biases; Caffe: 2
    decay_norm_and_bias: bool = True  # Caffe: no decay of biases


class AdamW(Section):
    kind: Literal["adamw"]
    weight_decay: NotNegative = 0.05
    bias_rate: Positive = 1.0
    decay_norm_and_bias: bool = False


class StepSchedule(Section):
    kind: Literal["step"]
    drops: tuple[Count, ...]  # steps at which the rate is multiplied by `factor`
    factor: Fraction = 0.1


class CosineSchedule(Section):
    kind: Literal["cosine"]
    final: Fraction = 0.0  # of the rate, at the last step


class Train(Section):
    seed: Annotated[int, Field(ge=0)] = 0
    steps: Count
    batch_size: Count  # images a step, of all processes and accumulated parts together
    accumulate: Count = 1  # parts a step's batch is computed in, to fit in memory
    lr: Positive
    lr_batch: Count | None = None  # the batch `lr` is for; null: the batch_size of the config file
    optimizer: Annotated[SGD | AdamW, Field(discriminator="kind")]
    schedule: Annotated[StepSchedule | CosineSchedule, Field(discriminator="kind")]
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    warmup_factor: Fraction = 0.1  # the rate starts at this part of itself and rises linearly
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    clip_norm: Positive | None = None
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None  # decay a step of the averaged weights; null: no average
    eval_every: Count | None = None  # steps between scorings of the val split; null: never
    checkpoint_every: Count = 1000
    log_every: Count = 20

    @model_validator(mode="after")
    def _divisible(self) -> "Train":
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of accumulate {self.accumulate}")
        return self


class Config(Section):
    """A whole run: what is learned from, what learns, and how."""

    data: Annotated[VocData | ShapesData, Field(discriminator="kind")]
    model: Model
    train: Train

    def to_yaml(self) -> str:
        return yaml.safe_dump(json.loads(self.model_dump_json()), sort_keys=False, allow_unicode=True)


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read `path`, the files it is based on and the `key=value` overrides, in order.

    Raises ConfigError naming the key, its value, what is allowed and the nearest known key.
    """
    content = _read(path, seen=())
    train = content.get("train")
    if isinstance(train, dict) and train.get("lr_batch") is None:
        train["lr_batch"] = train.get("batch_size")  # so that an override of batch_size scales the rate
    for override in overrides:
        content = merge(content, _parse_override(override))
    return parse_config(content, source=str(path))


def read_config(path: Path) -> Config:
    """The config in `path` as it stands, such as the config.yaml of a run. Raises ConfigError as load_config does."""
    return parse_config(_read(path, seen=()), source=str(path))


def parse_config(content: dict[str, Any], source: str) -> Config:
    """Check plain values, as read from YAML or a checkpoint, into a Config."""
    try:
        return Config.model_validate_json(json.dumps(content))
    except TypeError as error:  # YAML has more kinds of values than JSON: bytes, paths
        raise ConfigError(f"{source}: {error}") from None
    except ValidationError as error:
        problems = "; ".join(_explain(problem) for problem in error.errors())
        raise ConfigError(f"{source}: {problems}") from None


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` over `below`, section by section; a section that names another `kind` replaces the old one whole."""
    merged = dict(below)
    for key, value in above.items():
        old = below.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and value.get("kind", old.get("kind")) == old.get("kind"):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


def differing_keys(one: Config, other: Config) -> list[str]:
    """Dotted keys whose values differ between two configs."""
    first, second = dict(_flatten(one.model_dump())), dict(_flatten(other.model_dump()))
    return sorted(key for key in first.keys() | second.keys() if first.get(key) != second.get(key))


def _read(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in seen:
        raise ConfigError(f"{path}: its `base` files lead back to itself")
    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except FileNotFoundError:
        known = sorted(str(file) for file in path.parent.glob("*.yaml"))
        raise ConfigError(f"{path}: no such config{_nearest(str(path), known)}") from None
    except (OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {error}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected sections such as `data:`, `model:`, `train:`, got {content!r:.80}")
    sections = {str(key): value for key, value in content.items()}
    base = sections.pop("base", None)
    if base is None:
        return sections
    return merge(_read(path.parent / str(base), (*seen, path.resolve())), sections)


def _parse_override(override: str) -> dict[str, Any]:
    key, equals, _ = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"override {override!r}: expected key=value, such as train.lr=0.01")
    try:
        content = OmegaConf.to_container(OmegaConf.from_dotlist([override]))
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError(f"override {override!r}: {error}") from None
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}


def _explain(problem: Any) -> str:
    """One problem that pydantic found, as `key: what is wrong (got value)`, with the nearest key if it is unknown."""
    key, known = _locate([str(part) for part in problem["loc"]])
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown key{_nearest(key.rpartition('.')[2], known)}; known here: {', '.join(known)}"
    got = "" if problem["type"] == "missing" else f" (got {problem['input']!r:.80})"
    return f"{key or 'config'}: {problem['msg']}{got}"


def _locate(names: Sequence[str]) -> tuple[str, list[str]]:
    """The dotted key as a file has it (pydantic names a chosen kind as a step of the path), and the keys beside it."""
    section: Any = Config
    key: list[str] = []
    known: list[str] = []
    for name in names:
        chosen = next((kind for kind in _sections(section) if _kind_of(kind) == name), None)
        if chosen is not None:
            section = chosen
            continue
        key.append(name)
        known = sorted({field for kind in _sections(section) for field in kind.model_fields})
        is_section = isinstance(section, type) and issubclass(section, Section)
        section = section.model_fields[name].annotation if is_section and name in section.model_fields else None
    return ".".join(key), known


def _sections(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    else:
        for part in getattr(annotation, "__args__", ()):
            yield from _sections(part)


def _kind_of(section: type[Section]) -> str | None:
    field = section.model_fields.get("kind")
    return None if field is None else str(field.annotation.__args__[0])  # type: ignore[union-attr]


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f", did you mean {close[0]}?" if close else ""


def _flatten(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
