"""From the configuration to data sets; with the other build_*.py the only place that matches on `kind`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from detkit.config.data import Folder, FolderData, ShapesData
from detkit.config.loading import ConfigError
from detkit.config.schema import Config
from detkit.data.faults import Fault, FaultError, OnWarning, log_warning, raise_first_error
from detkit.data.formats.forms import Form, roles
from detkit.data.formats.joined import join, relabelled
from detkit.data.formats.listed import ListedDataset
from detkit.data.formats.opening import SplitReader, open_form, open_splits
from detkit.data.io.deep_images import DeepRange
from detkit.data.io.files import real_path
from detkit.data.pipeline.prepare import Resize
from detkit.data.synthetic.shapes import write_shapes
from detkit.data.synthetic.shapes_render import CLASSES as SHAPE_CLASSES

SplitKind = Literal["train", "val", "test"]


@dataclass(frozen=True, eq=False)
class TrainingData:
    train: ListedDataset
    val: ListedDataset | None  # weights are chosen on it; deep images by the range that training then has
    warnings: tuple[str, ...] = ()  # what scoring will find wrong, though it does not stop training


Unreadable = Callable[[Sequence[ListedDataset]], Iterator[Fault]]  # errors of images that cannot be read


def open_training_data(
    data: FolderData | ShapesData,
    chooses: bool,
    unreadable: Unreadable,
    on_warning: OnWarning = log_warning,
    reader: SplitReader | None = None,
) -> TrainingData:
    """Open what a run learns from and chooses on, or raise ValueError for the first thing that it cannot live with.

    What detkit check-data says of a data set is what this says. Files of the test split are read too, for what is
    wrong with them alone: a run of days should not end at its test. `chooses`: whether weights are chosen on val.
    `reader`: of the data set's splits, where they were read before.
    """
    if isinstance(data, ShapesData):
        train = build_training_set(data)
        return TrainingData(train, build_dataset(data, ["val"]) if chooses else None)
    reader = reader or SplitReader(_form(data))
    train = build_training_set(data, on_warning, reader)
    if not train.num_learned:
        raise ValueError(
            f"{data.root}: the splits {list(data.train)} have no objects to learn from in {len(train):,} images; "
            "annotate some, or name another split"
        )
    val = _open_folder(data, data.val, train.classes, on_warning, reader) if data.val else None
    if val is not None and chooses:
        _check_apart(data, train, val)
    test, why_no_test = _open_test(data, train.classes, on_warning, reader)
    datasets = [dataset for dataset in (train, val, test) if dataset is not None]
    raise_first_error(unreadable(datasets), Path(data.root))
    scored = (("data.val", val if chooses else None), ("data.test", test))
    empty = [
        f"{name} has no objects, so it has no AP" for name, one in scored if one is not None and not one.num_learned
    ]
    return TrainingData(train, val if chooses else None, tuple(filter(None, [why_no_test, *empty])))


def _check_apart(data: FolderData, train: ListedDataset, val: ListedDataset) -> None:
    """Raises ConfigError where an image is in both."""
    learned = {real_path(path) for path in train.paths}
    shared = [path for path in val.paths if real_path(path) in learned]
    if shared:
        raise ConfigError(
            f"data.val {list(data.val)} shares {len(shared)} images with data.train, such as {min(shared)}: weights "
            "chosen by images they were trained on say nothing; take another split, or none: data.val=[]"
        )


def _open_test(
    data: FolderData, classes: Sequence[str], on_warning: OnWarning, reader: SplitReader
) -> tuple[ListedDataset | None, str]:
    """The test split where it is there, and why scoring it would stop although its files are well."""
    if not data.test:
        return None, ""
    try:
        return _open_folder(data, data.test, classes, on_warning, reader), ""
    except FaultError as error:
        if error.fault in reader.faults:
            raise
        # Objects are of classes that are not learned.
        images = open_splits(reader, data.test, None, lambda warning: None)
        return images, f"data.test {list(data.test)} cannot be scored: {error}"
    except ValueError as error:  # it is not there, or a part without images
        return None, f"data.test {list(data.test)} cannot be scored: {error}"


def build_dataset(
    data: FolderData | ShapesData,
    splits: Sequence[str],
    on_warning: OnWarning = log_warning,
    reader: SplitReader | None = None,
) -> ListedDataset:
    """The images of the named splits; the built-in set is written first where it is missing."""
    return _open(data, splits, on_warning, reader).with_deep_range(data.known_deep_range)


def _open(
    data: FolderData | ShapesData, splits: Sequence[str], on_warning: OnWarning, reader: SplitReader | None
) -> ListedDataset:
    match data:
        case FolderData():
            return _open_folder(data, splits, data.classes, on_warning, reader or SplitReader(_form(data)))
        case ShapesData():
            counts = {"train": data.num_train, "val": data.num_val, "test": data.num_test}
            write_shapes(Path(data.root), data.seed, counts, data.long_sides, data.object_sizes)
            form = Form("voc", Path(data.root), ())
            return open_form(form, splits, SHAPE_CLASSES, on_warning)  # a small split may not show them all


def build_training_set(
    data: FolderData | ShapesData, on_warning: OnWarning = log_warning, reader: SplitReader | None = None
) -> ListedDataset:
    """The images of the training splits and of the further data sets, under the classes of the first."""
    first = build_dataset(data, split_names(data, "train"), on_warning, reader)
    if isinstance(data, ShapesData) or not data.also:
        return first
    parts = {Path(data.root).name: first}
    for number, source in enumerate(data.also, start=1):
        name = Path(source.root).name
        found = _open_folder(source, source.splits, first.classes, on_warning, SplitReader(_form(source)))
        parts[name if name not in parts else f"{name}_{number}"] = found
    return join(parts).with_deep_range(data.known_deep_range)


def _form(folder: Folder) -> Form:
    return Form(folder.kind, Path(folder.root), ())


def _open_folder(
    folder: Folder, splits: Sequence[str], classes: Sequence[str] | None, on_warning: OnWarning, reader: SplitReader
) -> ListedDataset:
    if not folder.rename and folder.other_classes == "error":
        return open_splits(reader, splits, classes, on_warning)
    dataset = open_splits(reader, splits, None, on_warning)
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


def to_train_on(form: Form, classes: Sequence[str] | None = None) -> FolderData:
    """The section of a data set that was found, for training.

    Raises ValueError where no split is for that, and FaultError for a split that is named and cannot be read.
    """
    raise_first_error(form.faults, form.root)
    if not roles(form).train:
        raise ValueError(
            f"{form.root}: of the splits {', '.join(form.splits)} none is for training; rename one, or name it in a "
            "config: data.train"
        )
    return as_folder(form, classes)


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
    return "voc07" if data.kind in ("voc", "shapes") else "coco"


def build_resize(config: Config) -> Resize:
    """The size images are brought to before anything else; R-CNN cuts its regions from the stored image."""
    as_stored = config.model.kind == "rcnn"
    return Resize(None if as_stored else config.data.short_side, config.data.long_side)
