"""What was written is read again before it is called written, by nothing but its files: as its user will read it."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from detkit.config.data import FormName
from detkit.data.faults import raise_first_error
from detkit.data.formats.forms import find_form
from detkit.data.formats.opening import SplitReader
from detkit.data.formats.read_split import ReadSplit
from detkit.data.formats.writers.fitting import BY_OBJECTS
from detkit.data.formats.writers.writing import names_read
from detkit.data.formats.writers.written import WrittenSet, WrittenSplit
from detkit.data.formats.written_forms import WrittenForm


def read_as(target: WrittenForm) -> FormName:
    """The form that files of `target` are found to have."""
    return "yolo" if target == "darknet" else target


def check_written(root: Path, target: WrittenForm, data: WrittenSet) -> None:
    """Raises ValueError where the files at `root` are not found to be of the form, with the same splits, classes,
    images and objects of each class."""
    form = find_form(root)
    if form.kind != read_as(target):
        raise ValueError(f"{root}: would be taken for {form.title} form")
    names = names_read(target, [split.name for split in data.splits])
    if set(form.splits) != set(names.values()):
        raise ValueError(f"{root}: would have the splits {', '.join(form.splits)} for {', '.join(names.values())}")
    reader = SplitReader(form)
    splits = reader.read([names[split.name] for split in data.splits])
    raise_first_error([*form.faults, *reader.faults], root)
    for written, split in zip(data.splits, splits, strict=True):
        difference = next(_differences(data.classes, written, split), None)
        if difference is not None:
            raise ValueError(f"{root}: {written.name} would be read with {difference}")
        if target not in BY_OBJECTS and set(split.truth.classes) != set(data.classes):
            shown = ", ".join(split.truth.classes[:3])
            raise ValueError(f"{root}: {written.name} would have {len(split.truth.classes)} classes, such as {shown}")


def _differences(classes: Sequence[str], written: WrittenSplit, read: ReadSplit) -> Iterator[str]:
    """What there is another number of than was written."""
    if len(read.truth) != len(written.images):
        yield f"{len(read.truth):,} images for {len(written.images):,}"
    labels = np.concatenate([image.objects.labels for image in written.images])
    expected = dict(zip(classes, np.bincount(labels, minlength=len(classes)).tolist(), strict=True))
    counts = np.bincount(read.truth.objects.labels, minlength=len(read.truth.classes)).tolist()
    found = dict(zip(read.truth.classes, counts, strict=True))
    for name in {**expected, **found}:
        if expected.get(name, 0) != found.get(name, 0):
            yield f"{found.get(name, 0):,} objects of {name!r} for {expected.get(name, 0):,}"
