"""A data set in the forms of YOLO: with data.yaml, as Ultralytics reads it, or with obj.data, as darknet does."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from detkit.data.formats.split_names import role_of
from detkit.data.formats.writers.written import AnnotatedImage, WrittenSet, WrittenSplit
from detkit.data.ground_truth import Floats, Ints


def write_yolo(root: Path, data: WrittenSet) -> None:
    """data.yaml, and a file an image in labels/SPLIT, also where it has no objects."""
    for split in data.splits:
        _write_labels(root / "labels" / split.name, split)
    splits = [split.name for split in data.splits]
    (root / "data.yaml").write_text(yolo_yaml(splits, data.classes), encoding="utf-8")


def write_darknet(root: Path, data: WrittenSet) -> None:
    """obj.data, obj.names and a list of images a split, whose labels are beside them.

    Paths start from the folder: darknet is run there. CVAT and Datumaro write data/ before them, and read both.
    """
    keys = darknet_keys([split.name for split in data.splits])
    places = [f"{key} = {key}.txt" for key in keys.values()]
    content = [f"classes = {len(data.classes)}", *places, "names = obj.names", "backup = backup/"]
    (root / "obj.data").write_text(_lines(content), encoding="utf-8")
    (root / "obj.names").write_text(_lines(data.classes), encoding="utf-8")
    for split in data.splits:
        key = keys[split.name]
        folder = darknet_folder(key)
        _write_labels(root / folder, split)
        images = [f"{folder}/{image.name}" for image in split.images]
        (root / f"{key}.txt").write_text(_lines(images), encoding="utf-8")


def darknet_folder(key: str) -> str:
    return f"obj_{key}_data"


def yolo_yaml(splits: Sequence[str], classes: Sequence[str]) -> str:
    """The text of data.yaml."""
    content: dict[str, object] = {"path": "."}
    content |= {key: f"images/{split}" for split, key in yolo_keys(splits).items()}
    content["names"] = dict(enumerate(classes))
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return text


def yolo_keys(splits: Sequence[str]) -> dict[str, str]:
    """The key of each split in data.yaml.

    The only split of a role gets its key, which other tools look for: train2017 is `train`, and so is trainval where
    neither train nor val is beside it.
    """
    return _keys(splits, {"train": "train", "val": "val", "test": "test"})


def darknet_keys(splits: Sequence[str]) -> dict[str, str]:
    """The key of each split in obj.data, as yolo_keys; an only split is to learn from."""
    if len(splits) == 1:
        return {splits[0]: "train"}
    return _keys(splits, {"train": "train", "val": "valid", "test": "test"})


def _keys(splits: Sequence[str], key_of: dict[str, str]) -> dict[str, str]:
    roles = [str(role_of(split)) for split in splits]
    if "train" not in roles and "val" not in roles:
        roles = ["train" if role == "trainval" else role for role in roles]
    return {
        split: key_of[role] if role in key_of and roles.count(role) == 1 else split
        for split, role in zip(splits, roles, strict=True)
    }


def yolo_lines(labels: Ints, boxes: Floats, limits: Floats) -> list[str]:
    """The line of each object, of boxes (M, 4) in px in images of `limits`, (M, 4) or (4,).

    Ten digits bring a corner back to 1e-5 px in an image of 10,000.
    """
    fractions = boxes / limits
    centres, sides = (fractions[:, :2] + fractions[:, 2:]) / 2, fractions[:, 2:] - fractions[:, :2]
    return [
        f"{label} " + " ".join(f"{value:.10g}" for value in (*centre, *side))
        for label, centre, side in zip(labels.tolist(), centres.tolist(), sides.tolist(), strict=True)
    ]


def _write_labels(folder: Path, split: WrittenSplit) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for image in split.images:
        (folder / f"{image.stem}.txt").write_text(_lines(_image_lines(image)), encoding="utf-8")


def _image_lines(image: AnnotatedImage) -> list[str]:
    return yolo_lines(image.objects.labels, image.objects.boxes, image.limits)


def _lines(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
