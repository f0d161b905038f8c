"""VOC annotations in folders without ImageSets, as labelling tools export them.

Known shapes, at the root (one split, "all") or in folders below it (each a split by its name):
    Annotations/ and JPEGImages/ side by side (also annotations/ and images/)
    images and XML files in the same folder
"""

from collections.abc import Iterable
from pathlib import Path

from detkit.data.faults import Fault, Severity
from detkit.data.formats.listing import ListedImage, image_id_of, list_images

WHOLE = "all"  # the split of a set that has none

NOT_ANNOTATED = "images have no annotation and are left out"
NO_IMAGE = "annotations have no image and are left out"

_Folders = tuple[Path, Path]  # of the images and of the annotations


def find_plain_splits(root: Path) -> dict[str, _Folders]:
    """The splits of a VOC folder without ImageSets, by name; empty where it is none."""
    if not root.is_dir():
        return {}
    whole = _folders(root)
    if whole is not None:
        return {WHOLE: whole}
    below = {folder.name: _folders(folder) for folder in sorted(root.iterdir()) if folder.is_dir()}
    return {name: folders for name, folders in below.items() if folders is not None}


def list_plain_split(folder: Path, annotations: Path) -> tuple[list[ListedImage], list[Fault]]:
    """The images that have an annotation, and what is wrong with the rest."""
    files: dict[str, Path] = {}
    faults = []
    for path in list_images(folder, below=False):
        first = files.setdefault(path.stem, path)
        if first is not path:
            faults.append(Fault(path, f"has the name of {first.name} but for the suffix; keep one"))
    annotated = {path.stem: path for path in sorted(annotations.glob("*.xml"))}
    faults += _left_out((files[stem] for stem in files if stem not in annotated), NOT_ANNOTATED, "no XML file")
    faults += _left_out((annotated[stem] for stem in annotated if stem not in files), NO_IMAGE, "no image")
    images: dict[str, ListedImage] = {}
    for stem in sorted(files.keys() & annotated.keys()):
        image = ListedImage(image_id_of(Path(f"{stem}.xml")), files[stem], annotated[stem])
        first_image = images.setdefault(image.image_id, image)
        if first_image is not image:
            message = f"differs from {first_image.image.name} by white space only, which no id may have; rename one"
            faults.append(Fault(image.image, message))
    return list(images.values()), faults


def _folders(folder: Path) -> _Folders | None:
    for annotations in (folder / "Annotations", folder / "annotations"):
        for images in (folder / "JPEGImages", folder / "images", folder / "Images"):
            if images.is_dir() and any(annotations.glob("*.xml")):
                return images, annotations
    names = {path.stem for path in folder.glob("*.xml")}
    beside = bool(names) and any(path.stem in names for path in list_images(folder, below=False))
    return (folder, folder) if beside else None


def _left_out(paths: Iterable[Path], summary: str, has: str) -> list[Fault]:
    return [Fault(path, f"has {has} of its name", Severity.WARNING, summary=summary) for path in paths]
