"""What was written is read again before it is called written, by nothing but its files: as its user will read it."""

from pathlib import Path

import numpy as np

from detkit.config.data import FormName
from detkit.data.faults import raise_first_error
from detkit.data.formats.forms import find_form
from detkit.data.formats.opening import SplitReader
from detkit.data.formats.writers.fitting import BY_OBJECTS
from detkit.data.formats.writers.writing import names_read
from detkit.data.formats.writers.written import WrittenSet
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
    for written, read in zip(data.splits, splits, strict=True):
        labels = [image.objects.labels for image in written.images]
        counts = np.bincount(np.concatenate(labels), minlength=len(data.classes)).tolist()
        expected = {name: count for name, count in zip(data.classes, counts, strict=True) if count}
        found = np.bincount(read.truth.objects.labels, minlength=len(read.truth.classes)).tolist()
        objects = {name: count for name, count in zip(read.truth.classes, found, strict=True) if count}
        if len(read.truth) != len(written.images) or objects != expected:
            raise ValueError(
                f"{root}: {written.name} would be read as {len(read.truth):,} images for {len(written.images):,}, and "
                f"{sum(found):,} objects for {sum(counts):,}"
            )
        if target not in BY_OBJECTS and set(read.truth.classes) != set(data.classes):
            raise ValueError(f"{root}: {written.name} would have {len(read.truth.classes)} classes")
