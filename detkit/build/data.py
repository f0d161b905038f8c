"""From the configuration to data sets; with the other build_*.py the only place that matches on `kind`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from detkit.config.data import Folder, FolderData, ShapesData
from detkit.config.schema import Config
from detkit.data.formats.forms import Form, open_form, roles
from detkit.data.formats.joined import join, relabelled
from detkit.data.formats.listed import ListedDataset
from detkit.data.formats.voc import VocDataset
from detkit.data.io.deep_images import DeepRange
from detkit.data.pipeline.prepare import Resize
from detkit.data.synthetic.shapes import write_shapes
from detkit.data.synthetic.shapes_render import CLASSES as SHAPE_CLASSES

SplitKind = Literal["train", "val", "test"]


def build_dataset(data: FolderData | ShapesData, splits: Sequence[str]) -> ListedDataset:
    """The images of the named splits; the built-in set is written first where it is missing."""
    return _open(data, splits).with_deep_range(data.known_deep_range)


def _open(data: FolderData | ShapesData, splits: Sequence[str]) -> ListedDataset:
    match data:
        case FolderData():
            return _open_folder(data, splits, data.classes)
        case ShapesData():
            counts = {"train": data.num_train, "val": data.num_val, "test": data.num_test}
            write_shapes(Path(data.root), data.seed, counts, data.long_sides, data.object_sizes)
            return VocDataset(Path(data.root), splits, SHAPE_CLASSES)  # a small split may not show them all


def build_training_set(data: FolderData | ShapesData) -> ListedDataset:
    """The images of the training splits and of the further data sets, under the classes of the first."""
    first = build_dataset(data, split_names(data, "train"))
    if isinstance(data, ShapesData) or not data.also:
        return first
    parts = {Path(data.root).name: first}
    for number, source in enumerate(data.also, start=1):
        name = Path(source.root).name
        parts[name if name not in parts else f"{name}_{number}"] = _open_folder(source, source.splits, first.classes)
    return join(parts).with_deep_range(data.known_deep_range)


def _open_folder(folder: Folder, splits: Sequence[str], classes: Sequence[str] | None) -> ListedDataset:
    form = Form(folder.kind, Path(folder.root), ())
    if not folder.rename and folder.other_classes == "error":
        return open_form(form, splits, classes)
    dataset = open_form(form, splits, None)
    names = classes or tuple(dict.fromkeys(folder.rename.get(name, name) for name in dataset.classes))
    return relabelled(dataset, names, folder.rename, drop_others=folder.other_classes == "drop")


def split_names(data: FolderData | ShapesData, kind: SplitKind) -> tuple[str, ...]:
    match data:
        case FolderData():
            return {"train": data.train, "val": data.val, "test": data.test}[kind]
        case ShapesData():
            return (kind,)


def with_classes(config: Config, classes: tuple[str, ...]) -> Config:
    """The config with the classes its data set turned out to have, so that the run keeps them."""
    match config.data:
        case FolderData():
            return config.model_copy(update={"data": config.data.model_copy(update={"classes": classes})})
        case ShapesData():
            return config


def with_deep_range(config: Config, deep_range: DeepRange | None) -> Config:
    """The config with the range that was found in its training images, so that the run keeps it; None: there is none.

    As classes are, it is written into the run's config.yaml and model.pt.
    """
    if deep_range is None:
        return config
    return config.model_copy(update={"data": config.data.model_copy(update={"deep_range": deep_range})})


def to_train_on(form: Form) -> FolderData:
    """The section of a data set that was found, for training. Raises ValueError where no split is for that."""
    if not roles(form).train:
        raise ValueError(
            f"{form.root}: of the splits {', '.join(form.splits)} none is for training; rename one, or name it in a "
            "config: data.train"
        )
    return as_folder(form, None)


def as_folder(form: Form, classes: Sequence[str] | None) -> FolderData:
    """The section of a data set that was found, its splits used for what their names say."""
    parts = roles(form)
    names = None if classes is None else tuple(classes)
    return FolderData(
        kind=form.kind,
        root=str(form.root),
        classes=names,
        train=parts.train or form.splits,  # a data set to test on alone: the section must name some
        val=parts.val,
        test=parts.test,
    )


def usual_metric(data: FolderData | ShapesData) -> Literal["voc07", "coco"]:
    """What data sets of this form are scored by where nobody says otherwise."""
    return "coco" if data.kind in ("coco", "yolo") else "voc07"


def build_resize(config: Config) -> Resize:
    """The size images are brought to before anything else; R-CNN cuts its regions from the stored image."""
    as_stored = config.model.kind == "rcnn"
    return Resize(None if as_stored else config.data.short_side, config.data.long_side)
