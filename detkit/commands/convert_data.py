"""A data set of any form written anew in another, images included."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from detkit.data.faults import OnWarning, raise_first_error, tell_warnings
from detkit.data.formats.class_names import checked_classes
from detkit.data.formats.forms import WHOLE, Form, parse_split
from detkit.data.formats.joined import category_numbers
from detkit.data.formats.opening import SplitReader, open_splits
from detkit.data.formats.writers.fitting import BY_OBJECTS, OF_FRACTIONS, SORTED, fitted, in_px, losses
from detkit.data.formats.writers.placing import (
    QUALITY,
    ImageKey,
    Target,
    keys_of,
    place_images,
    safe_name,
    targets_of,
)
from detkit.data.formats.writers.reading_back import check_written
from detkit.data.formats.writers.refusals import refuse_unfit
from detkit.data.formats.writers.writing import image_folders, names_read, write_objects
from detkit.data.formats.writers.written import AnnotatedImage, WrittenSet, WrittenSplit
from detkit.data.formats.written_forms import TITLES, WrittenForm
from detkit.data.ground_truth import GroundTruth
from detkit.runtime.console import track

MARKER = "conversion.json"  # tells that the folder was written here, and may be replaced


@dataclass(frozen=True, eq=False)
class _Source:
    """A split of the data set that is read."""

    name: str  # fit for a file
    truth: GroundTruth  # all splits have the same classes
    keys: Sequence[ImageKey]  # of each image


def convert(
    form: Form, target: WrittenForm, out: Path, classes: Sequence[str] | None, link: bool, on_warning: OnWarning
) -> tuple[str, ...]:
    """Write all splits of `form` to `out` in another form; returns lines on what was written, changed and lost.

    Images are copied, or hard-linked; `out` is there in full or not at all, and can be read again. Raises what opening
    the data set raises, and ValueError for an `out` that holds anything but an earlier conversion and for what the
    other form cannot hold and cannot do without.
    """
    _check_out(form.root, out)
    sources = _read(form, target, classes, on_warning)
    targets = targets_of(track([key for source in sources for key in source.keys], "looking at images"))
    data = _to_write(target, sources, targets)
    refuse_unfit(data, target)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=f"{out.name}.partial-") as scratch:
        partial = Path(scratch) / out.name
        partial.mkdir()
        folders = image_folders(target, [source.name for source in sources])
        for source in sources:
            place_images(source.keys, targets, partial / folders[source.name], link, f"converting {source.name}")
        write_objects(partial, target, data)
        _mark(partial, form, target)
        try:
            check_written(partial, target, data)
        except ValueError as error:
            reason = str(error).replace(str(partial), str(out))
            raise ValueError(f"not written in {TITLES[target]} form, as it could not be read again: {reason}") from None
        if out.exists():
            shutil.rmtree(out)
        partial.rename(out)
    return tuple(_told(form, target, out, sources, data, targets))


def _check_out(root: Path, out: Path) -> None:
    source, target = root.resolve(), out.resolve()
    if source == target or source in target.parents or target in source.parents:
        raise ValueError(f"{out}: is in the data set {root}, or holds it; choose another folder")
    if not out.exists() or (out.is_dir() and not out.is_symlink() and not any(out.iterdir())):
        return
    try:
        files = json.loads((out / MARKER).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(f"{out}: is there and is no earlier conversion; choose another folder") from None
    if files != _count_files(out):
        raise ValueError(f"{out}: files were added to this conversion or taken away; delete it or choose another")


def _mark(folder: Path, form: Form, target: WrittenForm) -> None:
    content = {"from": form.describe(), "to": target, "files": _count_files(folder) + 1}  # this one too
    (folder / MARKER).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _count_files(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


def _folder_names(splits: Sequence[str]) -> tuple[str, ...]:
    """A name for each split that is fit for a file: VOC2007/test is VOC2007_test, all[:80%] is all_0-80."""
    names = []
    for split in splits:
        name, part = parse_split(split)
        name = safe_name(Path(name).stem if name.endswith(".json") else name)
        names.append(name if part == WHOLE else f"{name}_{part.low}-{part.high}")
    if len({name.casefold() for name in names}) < len(names):
        raise ValueError(
            f"the splits {', '.join(splits)} would get the names {', '.join(names)}; convert one at a time"
        )
    return tuple(names)


def _read(form: Form, target: WrittenForm, classes: Sequence[str] | None, on_warning: OnWarning) -> tuple[_Source, ...]:
    """Each split by itself, since an image may be in two; under the classes and category numbers of all."""
    raise_first_error(form.faults, form.root)
    tell_warnings(form.faults, form.root, on_warning)
    names = _folder_names(form.splits)
    reader = SplitReader(form)
    whole = reader.read([parse_split(split)[0] for split in form.splits])
    raise_first_error(reader.faults, form.root)
    known = dict(zip(whole[0].truth.classes, whole[0].truth.category_numbers, strict=True))
    chosen = checked_classes(tuple(known) if classes is None else classes)
    if not chosen:
        raise ValueError(f"{form.root}: has no objects, so no classes; name the classes")
    numbers = category_numbers(chosen, known)
    sources = []
    for name, split in zip(names, form.splits, strict=True):
        dataset = open_splits(reader, [split], chosen, on_warning)
        truth = replace(dataset.ground_truth(), category_numbers=numbers)
        truth = in_px(truth) if form.kind in OF_FRACTIONS and target not in OF_FRACTIONS else truth
        sources.append(_Source(name, truth, keys_of(dataset)))
    return tuple(sources)


def _to_write(target: WrittenForm, sources: Sequence[_Source], targets: Mapping[ImageKey, Target]) -> WrittenSet:
    classes, category_numbers = sources[0].truth.classes, sources[0].truth.category_numbers
    if not _ascend(category_numbers):
        category_numbers = tuple(range(1, len(classes) + 1))  # classes come back in the order of their numbers
    numbers = _image_numbers(sources)
    splits = []
    for source in sources:
        truth = fitted(source.truth, target)
        parts = [truth.objects.rows(slice(start, end)) for start, end in zip(truth.starts, np.cumsum(truth.counts))]
        images = (
            AnnotatedImage(targets[key].name, key.size, targets[key].is_grey, numbers[key], objects)
            for key, objects in zip(source.keys, parts, strict=True)
        )
        splits.append(WrittenSplit(source.name, tuple(images), source.truth.federated))
    return WrittenSet(classes, category_numbers, tuple(splits))


def _ascend(numbers: Sequence[int]) -> bool:
    return list(numbers) == sorted(numbers)


def _image_numbers(sources: Sequence[_Source]) -> dict[ImageKey, int]:
    """COCO's id of each image: as it was, else counted from 1 where two images of different splits share one."""
    numbers: dict[ImageKey, int] = {}
    for source in sources:
        for key, number in zip(source.keys, source.truth.image_numbers, strict=True):
            numbers.setdefault(key, number)
    if len(set(numbers.values())) < len(numbers):
        return {key: number for number, key in enumerate(numbers, start=1)}
    return numbers


def _told(
    form: Form,
    target: WrittenForm,
    out: Path,
    sources: Sequence[_Source],
    data: WrittenSet,
    targets: Mapping[ImageKey, Target],
) -> Iterator[str]:
    title = TITLES[target]
    names = names_read(target, [source.name for source in sources])
    changes: dict[str, int] = {}
    for source in sources:
        is_called = "" if names[source.name] == source.name else f", called {names[source.name]}"
        yield f"{source.name}: {len(source.truth):,} images, {len(source.truth.objects):,} objects{is_called}"
        for change, count in losses(source.truth, form.kind, target):
            changes[change] = changes.get(change, 0) + count
    yield from (f"{count:,} objects {change}" for change, count in changes.items() if count)
    yield from _told_of_classes(target, sources[0].truth, data)
    empty = [split.name for split in data.splits if not split.num_objects]
    if target == "huggingface" and empty:
        yield f"no object is in {', '.join(empty)}: detkit reads it, the library `datasets` wants one in each split"
    renamed = sum(image.renamed for image in targets.values())
    if renamed:
        yield f"{renamed:,} images get another name, which is safe and unique without its suffix"
    anew = sum(image.anew for image in targets.values())
    if anew:
        yield (
            f"{anew:,} images are written anew (JPEG of quality {QUALITY}, others as PNG): their EXIF orientation "
            "turns them out of the frame of their boxes"
        )
    yield f"{out}: {form.root} in {title} form"


def _told_of_classes(target: WrittenForm, truth: GroundTruth, data: WrittenSet) -> Iterator[str]:
    title, count = TITLES[target], len(data.classes)
    if target != "coco" and truth.category_numbers != tuple(range(1, count + 1)):
        yield f"the category numbers of {count} classes are lost: {title} knows classes by name"
    if target == "coco" and not _ascend(truth.category_numbers):
        yield f"the category numbers of {count} classes are new, as COCO's classes have the order of their numbers"
    if target in SORTED and list(data.classes) != sorted(data.classes):
        yield f"the order of {count} classes is lost: in {title} form they are sorted by name"
    used = {int(label) for split in data.splits for image in split.images for label in image.objects.labels}
    unused = [name for label, name in enumerate(data.classes) if label not in used]
    if target in BY_OBJECTS and unused:
        yield f"{len(unused):,} classes have no objects and are lost, such as {unused[0]}: {title} knows others alone"
