"""The forms a data set may have in its folder, which of them one has, and what its splits are for.

A split may be divided: "all[:80%]" and "all[80%:]" are the images whose id has a hash below 80 of 100, and the others.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

from detkit.config.data import FormName
from detkit.data.faults import DatasetMissing, Fault, Severity, check_folder
from detkit.data.formats.coco import ALONE, coco_annotation_file, coco_layout_faults, find_coco_splits
from detkit.data.formats.cvat_xml import find_cvat_splits
from detkit.data.formats.huggingface import find_huggingface_splits
from detkit.data.formats.labelme import find_labelme_splits
from detkit.data.formats.listing import iterate_images
from detkit.data.formats.open_images import find_open_images_splits
from detkit.data.formats.split_names import role_of
from detkit.data.formats.voc import find_splits
from detkit.data.formats.voc_layout import find_places
from detkit.data.formats.written_forms import TITLES
from detkit.data.formats.yolo_layout import find_layout, find_yolo_splits, yolo_layout_faults

TRAIN_PERCENT = 80  # of a set that comes without division
UNREAD = "folders are named as those of a split, have images, and are in no split"
OF_OTHER_FORM = "files of another form are broken and are not read"


_FINDERS: dict[FormName, Callable[[Path], tuple[str, ...]]] = {
    "voc": find_splits,
    "coco": find_coco_splits,
    "yolo": find_yolo_splits,
    "labelme": find_labelme_splits,
    "cvat": find_cvat_splits,
    "openimages": find_open_images_splits,
    "huggingface": find_huggingface_splits,
}
_LOOKED_FOR: dict[FormName, str] = {
    "voc": "ImageSets/Main/*.txt, Annotations/*.xml, or XML files beside the images (voc)",
    "coco": "annotations/instances_*.json, SPLIT/_annotations.coco.json (coco)",
    "yolo": "data.yaml with names and train, obj.data, or images/ and labels/ (yolo)",
    "labelme": "JSON files with shapes beside the images (labelme)",
    "cvat": "annotations.xml of CVAT for images (cvat)",
    "openimages": "SPLIT-annotations-bbox.csv (openimages)",
    "huggingface": "metadata.jsonl or .csv with objects, or what save_to_disk writes (huggingface)",
}
_PART = re.compile(r"(?P<name>.+)\[(?:(?P<low>\d{1,3})%)?:(?:(?P<high>\d{1,3})%)?\]")


@dataclass(frozen=True)
class Form:
    """A data set as it was found."""

    kind: FormName
    root: Path
    splits: tuple[str, ...]
    faults: tuple[Fault, ...] = ()  # of what is named as a split and is not read

    @property
    def title(self) -> str:
        """What people call it."""
        return TITLES[self.kind]

    def describe(self) -> str:
        """One line, such as "data/mine: COCO form, splits train (instances_train.json), val (instances_val.json)"."""
        word = "split" if len(self.splits) == 1 else "splits"
        return f"{self.root}: {self.title} form, {word} {', '.join(map(self._describe_split, self.splits))}"

    def _describe_split(self, split: str) -> str:
        if self.kind != "coco":
            return split
        return f"{split} ({coco_annotation_file(self.root, split).name})"


@dataclass(frozen=True)
class Roles:
    """The splits to train on, to choose weights on, and to test on; empty where there is none."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True)
class SplitPart:
    """Images of a split, by the hash of their id modulo 100."""

    low: int = 0
    high: int = 100  # exclusive

    def __contains__(self, image_id: str) -> bool:
        digest = blake2b(image_id.encode("utf-8", "surrogateescape"), digest_size=8).digest()
        return self.low <= int.from_bytes(digest, "big") % 100 < self.high


WHOLE = SplitPart()


def find_form(root: Path, kind: FormName | None = None) -> Form:
    """The form of the data set at `root`, or its splits in the form that is given.

    Raises DatasetMissing where nothing fits, ValueError where two forms do, or where a data.yaml is broken and no other
    form fits.
    """
    check_folder(root)
    kinds = tuple(_FINDERS) if kind is None else (kind,)
    found, broken = [], []
    for tried in kinds:
        try:
            splits = _FINDERS[tried](root)
        except ValueError as error:
            broken.append(error)
        else:
            found += [Form(tried, root, splits)] if splits else []
    if broken and not found:
        raise broken[0]
    if not found:
        named = next((fault for kind in kinds for fault in _layout_faults(kind, root)), None)
        if named is not None:
            raise DatasetMissing(f"{named}; nothing else there is a data set")
        looked = "; ".join(_LOOKED_FOR[kind] for kind in kinds)
        raise DatasetMissing(f"{root}: no data set is there; looked for {looked}")
    if len(found) > 1:
        forms = " and ".join(f"{form.kind} ({', '.join(form.splits)})" for form in found)
        raise ValueError(f"{root}: fits {len(found)} forms, {forms}; say which with --form")
    faults = tuple(Fault(root, str(error), Severity.WARNING, summary=OF_OTHER_FORM) for error in broken)
    faults += tuple(_layout_faults(found[0].kind, root))
    return replace(found[0], faults=(*faults, *_unread_folders(found[0], faults)))


def _layout_faults(kind: FormName, root: Path) -> Iterator[Fault]:
    match kind:
        case "yolo":
            yield from yolo_layout_faults(root)
        case "coco":
            yield from coco_layout_faults(root)


def _unread_folders(form: Form, told: Sequence[Fault]) -> Iterator[Fault]:
    """Warnings of folders that are named for a use, have images, and are no split's.

    Where files list the images of all splits, the names of folders say nothing. `told` may name some already.
    """
    used = _folders_of_splits(form)
    for folder in sorted([*form.root.glob("*/"), *form.root.glob("images/*/"), *form.root.glob("JPEGImages/*/")]):
        is_used = any(place.is_relative_to(folder) or folder.is_relative_to(place) for place in used)
        role = role_of(folder.name)
        if form.kind not in ("voc", "yolo"):  # whose files need not lie beside their images
            is_used = is_used or role in {role_of(split) for split in form.splits}
        is_told = any(fault.file == folder / ALONE or f"{folder.name}'" in fault.message for fault in told)
        if role and not is_used and not is_told and any(iterate_images(folder)):
            message = "has images that are in no split; annotate them, or name them where the splits are named"
            yield Fault(folder, message, Severity.WARNING, summary=UNREAD)


def _folders_of_splits(form: Form) -> list[Path]:
    """Where images of splits may be; of one whose images a file lists, all that is below the root."""
    match form.kind:
        case "voc":
            places = find_places(form.root).values()
            return [place.images if place.listing is None else form.root for place in places]
        case "yolo":
            parts = find_layout(form.root).places.values()
            return [form.root if place.is_file() else place for part in parts for place in part]
        case "coco":
            return [coco_annotation_file(form.root, split).parent for split in form.splits]
        case _:
            return [place for split in form.splits if (place := form.root / split).is_dir()]


def parse_split(split: str) -> tuple[str, SplitPart]:
    """The name and the part of it, such as ("train", SplitPart(0, 80)) of "train[:80%]". Raises ValueError."""
    found = _PART.fullmatch(split)
    if found is None:
        if split.endswith(("%]", ":]")):
            raise ValueError(f"split {split!r}: expected NAME, NAME[:80%], NAME[80%:] or NAME[10%:90%]")
        return split, WHOLE
    part = SplitPart(int(found["low"] or 0), int(found["high"] or 100))
    if not part.low < part.high <= 100:
        raise ValueError(f"split {split!r}: the part must begin before it ends, at 100% the latest")
    return found["name"], part


def roles(form: Form) -> Roles:
    """Which splits are for what, by their names.

    Without a test split that of validation is the test, and nothing is chosen on it. Without either, and where names
    say nothing, each split is divided. A trainval is used where train or val is missing beside it.
    """
    words = {split: role_of(split) for split in form.splits}
    train = tuple(split for split in form.splits if words[split] == "train")
    val = tuple(split for split in form.splits if words[split] == "val")
    test = tuple(split for split in form.splits if words[split] == "test")
    for union in (split for split in form.splits if words[split] == "trainval"):
        folder = _folder(union)
        if not any(_folder(split) == folder for split in train) or not any(_folder(split) == folder for split in val):
            train = (*(split for split in train if _folder(split) != folder), union)
            val = tuple(split for split in val if _folder(split) != folder)
    if len(form.splits) == 1 or not any((train, val, test)):
        return _divided(form.splits)
    if train and not val and not test:
        return _divided(train)
    return Roles(train, val, test) if test else Roles(train, (), val)


def unused(form: Form) -> tuple[str, ...]:
    """The splits that are for nothing by their names, beside others that are, and a trainval beside train and val."""
    used = roles(form)
    names = {parse_split(split)[0] for split in (*used.train, *used.val, *used.test)}
    return tuple(split for split in form.splits if split not in names)


def describe_use(form: Form) -> str:
    """One line, such as "training on train; testing on test; weights are chosen on val"."""
    used, left_out = roles(form), unused(form)
    parts = [
        f"training on {', '.join(used.train) or 'nothing'}",
        f"testing on {', '.join(used.test) or 'nothing'}",
        *([f"weights are chosen on {', '.join(used.val)}"] if used.val else []),
        *([f"not used: {', '.join(left_out)}"] if left_out else []),
    ]
    return "; ".join(parts)


def _divided(splits: Sequence[str]) -> Roles:
    train = tuple(f"{split}[:{TRAIN_PERCENT}%]" for split in splits)
    return Roles(train, (), tuple(f"{split}[{TRAIN_PERCENT}%:]" for split in splits))


def _folder(split: str) -> str:
    return split.rpartition("/")[0]
