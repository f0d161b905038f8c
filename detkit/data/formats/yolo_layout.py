"""Where a data set in YOLO form keeps its images, labels and class names.

Known shapes, tried in this order:
    data.yaml (or another YAML file) with names and train, val, test: folders, or text files that list images
    obj.data of darknet (or another .data file) with names and train, valid: text files that list images
    train.txt, valid.txt, test.txt that list images, with a file of names
    images/SPLIT and labels/SPLIT, or SPLIT/images and SPLIT/labels
    SPLIT/ with images and labels in the same folder
    images/ and labels/, or all in one folder: one split, "all"
Without a YAML file the class names stand in classes.txt, obj.names or _darknet.labels, one a line.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from reprlib import repr as short_repr  # at most 30 characters, control codes escaped: these texts are not trusted

import yaml

from detkit.data.faults import DatasetMissing, Fault, Severity
from detkit.data.formats.class_names import fault_of_name
from detkit.data.formats.listing import iterate_images
from detkit.data.formats.split_names import WHOLE, role_of
from detkit.data.formats.yolo_places import bases_of, label_path, listed_images, outside, read_text, resolve
from detkit.data.io.images import SUFFIXES

KEYS = ("train", "val", "test")
NAME_FILES = ("classes.txt", "obj.names", "_darknet.labels")
NOT_THERE = "splits are named and cannot be read"
OUTSIDE = "splits are read from outside of the data set's folder"

_PREFERRED = ("data", "dataset")
MAX_YAML_BYTES = 256 << 10  # PyYAML takes a second for it; 1,203 names of LVIS have 40 kB


@dataclass(frozen=True)
class YoloLayout:
    root: Path
    names: tuple[str, ...]  # class i is names[i]; empty: no file says them
    places: dict[str, tuple[Path, ...]]  # of each split that has labels: folders, or files that list images
    absent: dict[str, str] = field(default_factory=dict)  # splits that files name, and why they cannot be opened
    unlabelled: frozenset[str] = frozenset()  # those of `absent` that are there without labels
    file: Path | None = None  # that names the splits
    bases: tuple[Path, ...] = ()  # folders that a relative path may start from


def find_layout(root: Path) -> YoloLayout:
    """What is at `root`, without places where it is not in YOLO form. Raises ValueError for a file that is broken."""
    if not root.is_dir():
        return YoloLayout(root, (), {})
    file = _find_yaml(root)
    if file is not None:
        return _layout_of_file(root, *file)
    darknet = _find_darknet(root)
    if darknet is not None:
        return _layout_of_file(root, *darknet)
    return _listed_layout(root) or _plain_layout(root)


def find_yolo_splits(root: Path) -> tuple[str, ...]:
    """The splits that are there and have labels. Raises ValueError for a data.yaml that is broken."""
    return tuple(find_layout(root).places)


def yolo_layout_faults(root: Path) -> Iterator[Fault]:
    """The splits that a file names and that cannot be read: an error for images to learn from without any labels."""
    layout = find_layout(root)
    for split, places in layout.places.items():
        for place in outside(root, places):
            yield Fault(layout.file or root, f"{split!r} is read from {place}", Severity.WARNING, summary=OUTSIDE)
    for split, why in layout.absent.items():
        is_needed = split in layout.unlabelled and role_of(split) in ("train", "val", "trainval")
        severity = Severity.ERROR if is_needed else Severity.WARNING
        message = f"{split!r} {why}; put it there, or take it out of the file"
        yield Fault(layout.file or root, message, severity, summary=NOT_THERE)


def missing_split(layout: YoloLayout, split: str) -> DatasetMissing:
    """The error for a split that is not in `layout.places`."""
    there = ", ".join(layout.places) or "none"
    why = layout.absent.get(split, "is neither in a data.yaml nor a folder with images and labels")
    return DatasetMissing(f"{layout.root}: split {split!r} {why}; splits that are there: {there}")


def _find_yaml(root: Path) -> tuple[Path, dict[object, object]] | None:
    found = []
    for path in sorted([*root.glob("*.yaml"), *root.glob("*.yml")]):
        try:
            content = _read_yaml(path)
        except ValueError:
            if path.stem in _PREFERRED:
                raise
            continue  # it may have nothing to do with the data set
        if _names_splits(root, content) and ("names" in content or "nc" in content):
            found.append((path, content))
    found = [(path, content) for path, content in found if path.stem in _PREFERRED] or found
    if len(found) > 1:
        files = ", ".join(path.name for path, _ in found)
        raise ValueError(f"{root}: has {len(found)} YAML files that describe a data set ({files}); keep one")
    return found[0] if found else None


def _names_splits(root: Path, content: dict[object, object]) -> bool:
    """Whether any key is that of a split: by its name, or as it names a folder or file that is there."""
    keys = [key for key in content if isinstance(key, str) and key not in ("names", "path")]
    bases = bases_of(root, content.get("path"))
    places = [content[key] for key in keys]
    return any(map(role_of, keys)) or any(
        isinstance(place, str) and place != "" and resolve(place, bases) is not None for place in places
    )


def _find_darknet(root: Path) -> tuple[Path, dict[object, object]] | None:
    """A .data file that has lines key = value, of which names and train are two."""
    found = []
    for path in sorted(root.glob("*.data")):
        try:
            pairs = [line.partition("=") for line in read_text(path).split("\n") if "=" in line]
        except ValueError:
            continue  # numbers, say: it has nothing to do with the data set
        content: dict[object, object] = {key.strip(): value.strip() for key, _, value in pairs}
        if "names" in content and any(isinstance(key, str) and role_of(key) for key in content):
            found.append((path, content))
    if len(found) > 1:
        files = ", ".join(path.name for path, _ in found)
        raise ValueError(f"{root}: has {len(found)} files that describe a data set ({files}); keep one")
    return found[0] if found else None


def _listed_layout(root: Path) -> YoloLayout | None:
    """Of text files that are named for what they are for and list images; None where there are none."""
    names = _names_of_files(root)
    places: dict[str, tuple[Path, ...]] = {}
    absent = {}
    for path in _lists(root) if names else ():
        if not any(image is not None and image.is_file() for _, _, image in listed_images(path, (root,))):
            absent[path.stem] = f"is {path.name}, of which no image is there"
        elif not _has_labels(path, root, (root,)):
            absent[path.stem] = f"is {path.name}, of which no image has a label file"
        else:
            places[path.stem] = (path,)
    if not absent and not places:
        return None
    if not places:  # the lists are of no use: what is there is read, and they are told of
        places = _plain_layout(root).places
    return YoloLayout(root, names, places, absent, frozenset(absent), None, (root,))


def _lists(root: Path) -> Iterator[Path]:
    """The text files named for what they are for that list images, or nothing."""
    for path in sorted(root.glob("*.txt")):
        if role_of(path.stem) and path.name not in NAME_FILES and path.is_file():
            lines = [line.strip() for line in read_text(path).split("\n") if line.strip()]
            if not lines or any(PurePosixPath(line.replace("\\", "/")).suffix.lower() in SUFFIXES for line in lines):
                yield path


def _read_yaml(path: Path) -> dict[object, object]:
    text = read_text(path)
    if len(text) > MAX_YAML_BYTES:
        raise ValueError(f"{path}: has {len(text):,} characters, at most {MAX_YAML_BYTES:,} are read; is it data.yaml?")
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date such as 2020-99-99
        message = " ".join(str(error).split())
        raise ValueError(f"{path}: is not valid YAML ({message}); mend it") from None
    return content if isinstance(content, dict) else {}


def _layout_of_file(root: Path, file: Path, content: dict[object, object]) -> YoloLayout:
    """Of the keys of a YAML file, or of the lines of a .data file."""
    if "kpt_shape" in content:
        raise ValueError(f"{file}: kpt_shape: labels of poses are not read; remove the key points and kpt_shape")
    bases = bases_of(root, content.get("path"))
    names = _names(file, content, bases)
    places, absent, unlabelled = {}, {}, set()
    for key, entries in _entries(file, content, bases):
        found = [resolve(entry, bases) for entry in entries]
        there = tuple(place for place in found if place is not None)
        if len(there) < len(found):
            absent[key] = f"is {entries[found.index(None)]!r} in {file.name}, which is not there"
        elif there and not any(_has_labels(place, root, bases) for place in there):
            absent[key] = f"is {entries[0]!r} in {file.name}, of which no image has a label file"
            unlabelled.add(key)
        elif there:
            places[key] = there
    return YoloLayout(root, names, places, absent, frozenset(unlabelled), file, bases)


def _entries(file: Path, content: dict[object, object], bases: Sequence[Path]) -> Iterator[tuple[str, list[str]]]:
    """Each split and its folders or text files: train, val, test, and any other key that names a place."""
    for key, value in content.items():
        values = value if isinstance(value, list) else [value] if value else []
        entries = [entry for entry in values if isinstance(entry, str) and entry]
        if key in KEYS and len(entries) < len(values):
            raise ValueError(f"{file}: {key}: is {short_repr(value)}, expected a folder, a list of them or a text file")
        is_place = bool(entries) and all(resolve(entry, bases) is not None for entry in entries)
        if isinstance(key, str) and (role_of(key) or (key not in ("names", "path", "backup") and is_place)):
            yield key, entries


def _names(file: Path, content: dict[object, object], bases: Sequence[Path]) -> tuple[str, ...]:
    value = content.get("names")
    if isinstance(value, str):  # of darknet: a file
        listed = resolve(value, bases)
        if listed is None or not listed.is_file():
            raise ValueError(f"{file}: names: {short_repr(value)} is not there; put the file of class names there")
        return _checked_names(listed, _lines(listed))
    if isinstance(value, dict):
        if sorted(value, key=str) != sorted(range(len(value)), key=str):
            raise ValueError(f"{file}: names: has the numbers {short_repr(list(value))}, expected 0, 1, 2, ...")
        value = [value[number] for number in range(len(value))]
    if not isinstance(value, list) or not value:
        raise ValueError(f"{file}: names: is {short_repr(value)}, expected a list of class names")
    number = content.get("nc", len(value))
    if number != len(value):
        raise ValueError(f"{file}: nc: is {short_repr(number)}, but names has {len(value)}; mend either")
    odd = next((name for name in value if isinstance(name, bool) or not isinstance(name, str | int | float)), None)
    if odd is not None or None in value:
        raise ValueError(f"{file}: names: {short_repr(odd)} is no text; put it in quotes (YAML takes no for false)")
    return _checked_names(file, [str(name).strip() for name in value])


def _checked_names(file: Path, names: list[str]) -> tuple[str, ...]:
    for index, name in enumerate(names):
        fault = fault_of_name(name)
        if fault is None and name in names[:index]:
            fault = f"is also that of class {names.index(name)}; rename one"
        if fault is not None:
            raise ValueError(f"{file}: class {index}: {short_repr(name)} {fault}")
    return tuple(names)


def _plain_layout(root: Path) -> YoloLayout:
    names = _names_of_files(root) or _names_alone(root)
    folders = [folder for folder in sorted(root.iterdir()) if folder.is_dir() and not folder.name.startswith(".")]
    images = root / "images"
    below_images = sorted(folder for folder in images.iterdir() if folder.is_dir()) if images.is_dir() else []
    shapes: list[tuple[dict[str, Path], bool]] = [  # and whether images in folders below count
        ({folder.name: folder for folder in below_images}, True),
        ({folder.name: folder / "images" for folder in folders if (folder / "images").is_dir()}, True),
        ({folder.name: folder / "data" for folder in folders if (folder / "data").is_dir()}, True),
        ({WHOLE: images} if images.is_dir() else {}, True),
    ]
    if names:  # without them, a text file beside an image says little
        beside = {folder.name: folder for folder in folders if folder.name not in ("images", "labels")}
        shapes += [(beside, False), ({WHOLE: root}, False)]
    for folders_of, below in shapes:
        labelled = {name: (folder,) for name, folder in folders_of.items() if _has_labels(folder, root, (), below)}
        if labelled:
            return YoloLayout(root, names, {**labelled})
    return YoloLayout(root, names, {})


def _names_alone(root: Path) -> tuple[str, ...]:
    """Of a data.yaml that names no splits, as supervision writes it."""
    for stem in _PREFERRED:
        for path in (root / f"{stem}.yaml", root / f"{stem}.yml"):
            content = _read_yaml(path) if path.is_file() else {}
            if "names" in content and not _names_splits(root, content):
                return _names(path, content, (root,))
    return ()


def _names_of_files(root: Path) -> tuple[str, ...]:
    files = [path for name in NAME_FILES for path in (root / name, *sorted(root.glob(f"*/{name}"))) if path.is_file()]
    if not files:
        return ()
    names = [_lines(path) for path in files]
    for path, others in zip(files, names, strict=True):
        if others != names[0]:
            raise ValueError(f"{path}: has other classes than {files[0]}; keep one of the files")
    return _checked_names(files[0], names[0])


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in read_text(path).strip().split("\n")]


def _has_labels(place: Path, root: Path, bases: Sequence[Path], below: bool = True) -> bool:
    """Whether any image has a label file; the first that does ends the search."""
    if place.is_dir():
        images: Iterator[Path] = iterate_images(place, below)
    else:
        images = (image for _, _, image in listed_images(place, bases) if image is not None)
    return any(label_path(image, root).is_file() for image in images)
