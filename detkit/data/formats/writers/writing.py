"""The files of a data set in any form: where its images go, and what is written of its objects."""

from collections.abc import Sequence
from pathlib import Path

from detkit.data.formats.writers.coco import write_coco
from detkit.data.formats.writers.cvat import write_cvat
from detkit.data.formats.writers.hf_folder import write_hf_folder
from detkit.data.formats.writers.labelme import write_labelme
from detkit.data.formats.writers.open_images import write_open_images
from detkit.data.formats.writers.voc import write_voc
from detkit.data.formats.writers.written import WrittenSet
from detkit.data.formats.writers.yolo import darknet_folder, darknet_keys, write_darknet, write_yolo, yolo_keys
from detkit.data.formats.written_forms import WrittenForm


def image_folders(target: WrittenForm, splits: Sequence[str]) -> dict[str, Path]:
    """Where the images of each split are, below the root."""
    match target:
        case "voc":
            return {split: Path("JPEGImages") for split in splits}
        case "labelme" | "huggingface":
            return {split: Path(split) for split in splits}
        case "darknet":
            return {split: Path(darknet_folder(key)) for split, key in darknet_keys(splits).items()}
        case _:
            return {split: Path("images", split) for split in splits}


def names_read(target: WrittenForm, splits: Sequence[str]) -> dict[str, str]:
    """What each split is called when it is read again."""
    match target:
        case "yolo":
            return yolo_keys(splits)
        case "darknet":
            return darknet_keys(splits)
        case _:
            return {split: split for split in splits}


def write_objects(root: Path, target: WrittenForm, data: WrittenSet) -> None:
    """All files but the images, below a folder that is there."""
    match target:
        case "voc":
            write_voc(root, data)
        case "coco":
            write_coco(root, data)
        case "yolo":
            write_yolo(root, data)
        case "darknet":
            write_darknet(root, data)
        case "labelme":
            write_labelme(root, data)
        case "cvat":
            write_cvat(root, data)
        case "openimages":
            write_open_images(root, data)
        case "huggingface":
            write_hf_folder(root, data)
