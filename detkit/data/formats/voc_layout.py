"""Where VOC annotations, their images and the lists of the splits lie, as VOC and labelling tools write them.

In the folder, or in folders below it (VOC2007/, or one a split): a folder of XML files beside one of images, whatever
their names (Annotations/ and JPEGImages/, annots/ and images/, labels/ and data/), or images and XML files together.
Lists of splits are ImageSets/Main/*.txt, ImageSets/*.txt, or *.txt beside the two folders that are named for what
they are for (train.txt). Without lists a folder is one split.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from detkit.data.formats.listing import iterate_files, iterate_images
from detkit.data.formats.split_names import WHOLE, role_of

XML = frozenset({".xml"})
_ANNOTATION_FOLDERS = ("Annotations", "annotations", "annots", "xmls", "xml", "labels")
_IMAGE_FOLDERS = ("JPEGImages", "images", "Images", "imgs", "img", "data")


@dataclass(frozen=True)
class VocPlace:
    """Where a split is."""

    images: Path
    annotations: Path  # may be the same folder
    listing: Path | None = None  # the file that lists its ids; None: all that is there
    writes_empty: bool = True  # whether images without objects have an annotation: Datumaro and CVAT write none


def find_places(root: Path) -> dict[str, VocPlace]:
    """The splits below a folder, by name such as "train" or "VOC2007/train"; empty where it is not in VOC's form."""
    if not root.is_dir():
        return {}
    found = {}
    for folder in [root, *sorted(path.parent for path in root.glob("*/ImageSets"))]:
        above = folder.relative_to(root)
        images, annotations = folders_of(folder)
        for path in _lists(folder):
            found[(above / path.stem).as_posix()] = VocPlace(images, annotations, path, _writes_empty(folder))
    return found or _plain_places(root)


def find_place(root: Path, split: str) -> VocPlace | None:
    """Where a split is; one of the lists of a class, which find_places leaves out, may be named too."""
    folder, _, name = split.rpartition("/")
    listing = root / folder / "ImageSets" / "Main" / f"{name}.txt"
    if listing.is_file():
        return VocPlace(*folders_of(root / folder), listing, _writes_empty(root / folder))
    return find_places(root).get(split)


def _writes_empty(folder: Path) -> bool:
    return not (folder / "labelmap.txt").is_file()  # a file of theirs, that VOC does not have


def folders_of(folder: Path) -> tuple[Path, Path]:
    """Those of the images and annotations of a folder with ImageSets, by VOC's names where there are none."""
    images = _first(folder, _IMAGE_FOLDERS, lambda place: True)
    annotations = _first(folder, _ANNOTATION_FOLDERS, lambda place: True)
    return images or folder / _IMAGE_FOLDERS[0], annotations or folder / _ANNOTATION_FOLDERS[0]


def _plain_places(root: Path) -> dict[str, VocPlace]:
    whole = _plain_place(root)
    if whole is None:
        folders = [folder for folder in sorted(root.iterdir()) if folder.is_dir() and not folder.name.startswith(".")]
        return {folder.name: place for folder in folders if (place := _plain_place(folder) or _deep_place(folder))}
    lists = [path for path in sorted(root.glob("*.txt")) if role_of(path.stem) and path.is_file()]
    if lists:
        return {path.stem: VocPlace(whole.images, whole.annotations, path) for path in lists}
    return _named_folders(whole) or {WHOLE: whole}


def _named_folders(whole: VocPlace) -> dict[str, VocPlace]:
    """The splits of images/train and annotations/train; empty where no such folder is named for a use."""
    if whole.images == whole.annotations or any(iterate_images(whole.images, below=False)):
        return {}
    folders = [folder.name for folder in sorted(whole.images.iterdir()) if folder.is_dir()]
    pairs = {name: VocPlace(whole.images / name, whole.annotations / name) for name in folders}
    splits = {name: place for name, place in pairs.items() if place.annotations.is_dir()}
    return splits if any(map(role_of, splits)) else {}


def _plain_place(folder: Path) -> VocPlace | None:
    """Images and XML files in `folder` itself, or in two folders there; None where it has none."""
    if _has_pairs(folder, below=False):
        return VocPlace(folder, folder)
    annotations = _first(folder, _ANNOTATION_FOLDERS, lambda place: any(iterate_files(place, XML)))
    images = _first(folder, _IMAGE_FOLDERS, lambda place: any(iterate_images(place)))
    return None if annotations is None or images is None else VocPlace(images, annotations)


def _deep_place(folder: Path) -> VocPlace | None:
    """Images and XML files together, all in folders below one that is named for its use."""
    return VocPlace(folder, folder) if role_of(folder.name) and _has_pairs(folder, below=True) else None


def _has_pairs(folder: Path, below: bool) -> bool:
    """Whether an image has its XML file beside it."""
    return any(path.with_suffix(".xml").is_file() for path in iterate_images(folder, below))


def _first(folder: Path, names: Iterable[str], fits: Callable[[Path], bool]) -> Path | None:
    """The first folder of one of the names that fits."""
    return next((place for name in names if (place := folder / name).is_dir() and fits(place)), None)


def _lists(folder: Path) -> list[Path]:
    """Of splits, without the per-class files like aeroplane_train.txt."""
    for place in (folder / "ImageSets" / "Main", folder / "ImageSets"):
        files = sorted(path for path in place.glob("*.txt") if path.is_file())
        if files:
            stems = [path.stem for path in files]
            return [path for path in files if not _is_of_one_class(path, stems)]
    return []


def _is_of_one_class(path: Path, stems: Iterable[str]) -> bool:
    if not any(path.stem.endswith(f"_{stem}") for stem in stems):
        return False
    with path.open("rb") as file:  # "my_train" may be a split of its own: it has one column
        return file.readline(1000).split()[1:][-1:] in ([b"-1"], [b"0"], [b"1"])


def files_by_id(folder: Path, suffixes: frozenset[str]) -> dict[str, list[Path]]:
    """The files of a folder by their path below it without suffix: "cam a/f000"."""
    files: dict[str, list[Path]] = {}
    for path in sorted(iterate_files(folder, suffixes)):
        files.setdefault(path.relative_to(folder).with_suffix("").as_posix(), []).append(path)
    return files
