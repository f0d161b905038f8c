"""A data set of any form written anew in another, images included."""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from detkit.config.data import FormName
from detkit.data.faults import OnWarning
from detkit.data.formats.forms import WHOLE, Form, parse_split
from detkit.data.formats.listed import ListedDataset
from detkit.data.formats.opening import open_form
from detkit.data.formats.writers import (
    AnnotatedImage,
    image_folder,
    in_px,
    losses,
    write_coco_split,
    write_voc_split,
    write_yolo_file,
    write_yolo_split,
)
from detkit.data.ground_truth import GroundTruth
from detkit.data.io.images import SUFFIXES, read_header, read_stored_of_size
from detkit.runtime.console import track
from detkit.structures import Size

MARKER = "conversion.json"  # tells that the folder was written here, and may be replaced

_SUFFIX_OF = {
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "PNG": ".png",
    "BMP": ".bmp",
    "WEBP": ".webp",
    "TIFF": ".tif",
    "GIF": ".gif",
}
_GREY_MODES = frozenset({"1", "L", "LA", "I;16", "I;16B"})
_QUALITY = 95  # of JPEG images that are written anew

_Key = tuple[Path, str]  # an image and its id


@dataclass(frozen=True)
class _Target:
    """How an image is written."""

    name: str
    is_grey: bool
    anew: bool  # its pixels, since viewers turn the file to a frame other than that of its boxes


def convert(
    form: Form, kind: FormName, out: Path, classes: Sequence[str] | None, link: bool, on_warning: OnWarning
) -> tuple[str, ...]:
    """Write all splits of `form` to `out` in the form `kind`; returns lines on what was written, changed and lost.

    Images are copied, or hard-linked; `out` is there in full or not at all. Raises what opening the data set raises,
    and ValueError for an `out` that holds anything but an earlier conversion.
    """
    _check_out(form.root, out)
    names = _folder_names(form.splits)
    datasets = dict(zip(names, _open_all(form, classes, on_warning), strict=True))
    targets = _targets(datasets)
    numbers = _image_numbers(datasets)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=f"{out.name}.partial-") as scratch:
        partial = Path(scratch) / out.name
        partial.mkdir()
        for split, dataset in datasets.items():
            _place_images(dataset, targets, partial / image_folder(kind, split), link, f"converting {split}")
            truth = dataset.ground_truth()
            truth = in_px(truth) if form.kind == "yolo" and kind != "yolo" else truth
            _write_objects(partial, kind, split, truth, dataset, targets, numbers)
        if kind == "yolo":
            write_yolo_file(partial, names, next(iter(datasets.values())).classes)
        _mark(partial, form, kind)
        if out.exists():
            shutil.rmtree(out)
        partial.rename(out)
    return tuple(_told(form, kind, out, datasets, targets))


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


def _mark(folder: Path, form: Form, kind: FormName) -> None:
    content: dict[str, object] = {"from": str(form.root), "form": form.kind, "splits": form.splits, "to": kind}
    content["files"] = _count_files(folder) + 1  # this one too
    (folder / MARKER).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _count_files(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


def _folder_names(splits: Sequence[str]) -> tuple[str, ...]:
    """A name for each split that is fit for a file: VOC2007/test is VOC2007_test, all[:80%] is all_0-80."""
    names = []
    for split in splits:
        name, part = parse_split(split)
        name = _safe(Path(name).stem if name.endswith(".json") else name)
        names.append(name if part == WHOLE else f"{name}_{part.low}-{part.high}")
    if len(set(names)) < len(names):
        raise ValueError(
            f"the splits {', '.join(splits)} would get the names {', '.join(names)}; convert one at a time"
        )
    return tuple(names)


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name).lstrip(".-") or "unnamed"


def _open_all(form: Form, classes: Sequence[str] | None, on_warning: OnWarning) -> list[ListedDataset]:
    """One data set a split, with equal classes. As one they might not open: ids may be equal in two splits."""
    datasets = [open_form(form, [split], classes, on_warning) for split in form.splits]
    found = [dataset.classes for dataset in datasets]
    if all(names == found[0] for names in found):
        return datasets
    every = {name: None for names in found for name in names}
    union = tuple(sorted(every)) if form.kind == "voc" else tuple(every)  # VOC's classes are those that objects have
    return [open_form(form, [split], union, lambda warning: None) for split in form.splits]


def _keys(dataset: ListedDataset) -> Iterator[_Key]:
    return zip(dataset.paths, dataset.image_ids, strict=True)


def _targets(datasets: Mapping[str, ListedDataset]) -> dict[_Key, _Target]:
    """Names are those of the files, made safe and unique: forms know an image by its name without suffix."""
    targets: dict[_Key, _Target] = {}
    taken: set[str] = set()
    for split, dataset in datasets.items():
        for index, key in enumerate(track(list(_keys(dataset)), f"looking at {split}")):
            if key not in targets:
                targets[key] = _target(key[0], dataset.size(index), taken)
    return targets


def _target(path: Path, size: Size, taken: set[str]) -> _Target:
    header = read_header(path)
    anew = size != header.size
    suffix = _SUFFIX_OF[header.format]
    if anew:
        suffix = ".jpg" if suffix == ".jpg" else ".png"
    elif path.suffix.lower() in SUFFIXES:
        suffix = path.suffix
    stem = _safe(path.stem)
    name, number = stem, 1
    while name.casefold() in taken:
        number += 1
        name = f"{stem}_{number}"
    taken.add(name.casefold())
    return _Target(name + suffix, header.mode in _GREY_MODES, anew)


def _image_numbers(datasets: Mapping[str, ListedDataset]) -> dict[_Key, int]:
    """COCO's id of each image: as it was, else counted from 1 where two images of different splits share one."""
    numbers: dict[_Key, int] = {}
    for dataset in datasets.values():
        numbers.update(zip(_keys(dataset), dataset.ground_truth().image_numbers, strict=True))
    if len(set(numbers.values())) < len(numbers):
        return {key: number for number, key in enumerate(numbers, start=1)}
    return numbers


def _place_images(
    dataset: ListedDataset, targets: Mapping[_Key, _Target], folder: Path, link: bool, label: str
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, key in enumerate(track(list(_keys(dataset)), label)):
        source, target = key[0], targets[key]
        path = folder / target.name
        if path.exists():
            continue  # of a split before, which shares the folder
        if target.anew:
            _write_pixels(source, dataset.size(index), path)
        elif link:
            _link(source, path)
        else:
            shutil.copyfile(source, path)


def _write_pixels(source: Path, size: Size, path: Path) -> None:
    pixels = np.ascontiguousarray(read_stored_of_size(source, size)[..., ::-1])  # a deep PNG stays one
    options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY] if path.suffix == ".jpg" else []
    encoded, data = cv2.imencode(path.suffix, pixels, options)
    if not encoded:
        raise OSError(f"{path}: could not be written")
    path.write_bytes(data.tobytes())


def _link(source: Path, path: Path) -> None:
    try:
        path.hardlink_to(source.resolve())
    except OSError as error:
        raise ValueError(f"{source}: cannot be linked to {path} ({error.strerror}); leave out --link") from None


def _write_objects(
    root: Path,
    kind: FormName,
    split: str,
    truth: GroundTruth,
    dataset: ListedDataset,
    targets: Mapping[_Key, _Target],
    numbers: Mapping[_Key, int],
) -> None:
    images = [
        AnnotatedImage(targets[key].name, dataset.size(i), targets[key].is_grey, numbers[key], truth.of_image(i))
        for i, key in enumerate(_keys(dataset))
    ]
    match kind:
        case "voc":
            write_voc_split(root, split, truth.classes, images)
        case "coco":
            write_coco_split(root, split, truth.classes, truth.category_numbers, images, truth.federated)
        case "yolo":
            write_yolo_split(root, split, images)


def _told(
    form: Form, kind: FormName, out: Path, datasets: Mapping[str, ListedDataset], targets: Mapping[_Key, _Target]
) -> Iterator[str]:
    changes: dict[str, int] = {}
    for split, dataset in datasets.items():
        truth = dataset.ground_truth()
        yield f"{split}: {len(dataset):,} images, {len(truth.objects):,} objects"
        for change, count in losses(truth, form.kind, kind):
            changes[change] = changes.get(change, 0) + count
    yield from (f"{count:,} objects {change}" for change, count in changes.items() if count)
    first = next(iter(datasets.values())).ground_truth()
    if kind != "coco" and first.category_numbers != tuple(range(1, len(first.classes) + 1)):
        yield f"the category numbers of {len(first.classes)} classes are lost: {kind.upper()} knows classes by name"
    anew = sum(target.anew for target in targets.values())
    if anew:
        yield (
            f"{anew:,} images are written anew (JPEG of quality {_QUALITY}, others as PNG): their EXIF orientation "
            "turns them out of the frame of their boxes"
        )
    yield f"{out}: {form.root} in {kind.upper()} form"
