"""What the exports in this folder hold, and a comparison of a data set as detkit reads it with that."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detkit.data.formats.listed import ListedDataset
from detkit.data.ground_truth import GroundTruth

FOLDER = Path(__file__).parent
EXACT = 0.01  # px
FLAGS = ("difficult", "crowd", "truncated")  # as detkit knows them; "occluded" is in the files of some, too
_KEY = re.compile(r"(?:^|[^a-z0-9])([tv][0-5])(?=$|[._])")  # tools add hashes, suffixes and folders to "t4"


@dataclass(frozen=True)
class Kept:
    """What a tool kept of the data set in one of its forms."""

    tolerance: float = EXACT  # px; the form or the tool rounds
    flags: tuple[str, ...] = ()  # stated in a field that the form has for it
    dropped: tuple[str, ...] = ()  # objects with such a flag are not in the files
    has_empty: bool = True  # images without objects are listed
    has_names: bool = True  # of the classes; without, they are numbers
    spare: int = 0  # objects that the tool made up


# Numbers of VOC from 0 (globox, datumaro) are 1 px off for who reads the form as its devkit does, from 1; what is also
# cut to whole pixels (fiftyone, Label Studio, pylabel) is up to 2 px off.
KEPT: dict[str, Kept] = {
    "labelme_rectangles": Kept(),
    "labelme_imagedata": Kept(),
    "labelme_polygons": Kept(),
    "datumaro": Kept(flags=FLAGS),
    "datumaro_voc": Kept(1.01, flags=("difficult", "truncated")),
    "datumaro_coco_instances": Kept(),
    "datumaro_yolo": Kept(dropped=("crowd",)),
    "datumaro_yolo_ultralytics": Kept(dropped=("crowd",)),
    "datumaro_open_images": Kept(flags=("truncated",)),
    "datumaro_cvat": Kept(),
    "supervision_coco": Kept(flags=("crowd",)),
    "supervision_voc": Kept(0.51),
    "supervision_yolo": Kept(),
    "supervision_labelme": Kept(),
    "globox_voc": Kept(1.01),
    "globox_coco": Kept(),
    "globox_yolo_v5": Kept(has_names=False),
    "globox_labelme": Kept(),
    "globox_cvat": Kept(),
    "globox_openimage": Kept(has_empty=False),
    "fiftyone_voc": Kept(2.01, flags=("difficult", "truncated")),
    "fiftyone_coco": Kept(flags=("crowd",)),
    "fiftyone_coco_folders": Kept(flags=("crowd",)),
    "fiftyone_yolov4": Kept(),
    "fiftyone_yolov5": Kept(),
    "fiftyone_cvat": Kept(0.51),
    "fiftyone": Kept(),
    "label_studio_coco": Kept(),
    "label_studio_coco_uploads": Kept(),
    "label_studio_voc": Kept(2.01, has_empty=False),  # without XML they are left out, and told of
    "label_studio_yolo": Kept(),
    "label_studio_json": Kept(),
    "sahi_coco": Kept(),
    "sahi_yolo": Kept(),
    "pylabel_coco": Kept(flags=("crowd",), spare=1),
    "pylabel_voc": Kept(2.01),
    "pylabel_yolov5": Kept(0.02),
    "lvis_v1": Kept(),
    "datasets_imagefolder_jsonl": Kept(has_names=False),
    "datasets_imagefolder_names": Kept(),
    "datasets_imagefolder_cppe5": Kept(has_names=False),
    "datasets_imagefolder_csv": Kept(has_names=False),
    "datasets_imagefolder_columns": Kept(),
    "datasets_saved_dict": Kept(),
    "roboflow_coco": Kept(),
    "roboflow_voc": Kept(0.51),
    "roboflow_yolov8": Kept(),
    "roboflow_darknet": Kept(),
}


@dataclass(frozen=True)
class Object:
    name: str
    box: tuple[float, float, float, float]  # x1, y1, x2, y2 in px, continuous, 0-based
    flags: frozenset[str]


Images = dict[str, list[Object]]  # by key: "t4" for "night/t4_png.rf.0123.png"


def truth(form: str) -> dict[str, Images]:
    """What a reader should find in `form`, by split: train and val. Without class names they are "0", "1", "2"."""
    kept = KEPT[form]
    content = json.loads((FOLDER / "truth.json").read_text())
    splits: dict[str, Images] = {}
    for split, files in content["splits"].items():
        splits[split] = {}
        for file, rows in files.items():
            objects = [
                Object(name if kept.has_names else str(content["classes"].index(name)), tuple(box), frozenset(flags))
                for name, *box, flags in rows
                if not set(flags) & set(kept.dropped)
            ]
            if rows or kept.has_empty:
                splits[split][key_of(file)] = objects
    return splits


def key_of(path: str | Path) -> str:
    """The image of the data set that a tool's file name stands for."""
    found = _KEY.findall(str(path))
    assert found, f"{path}: none of the images"
    return str(found[-1])


def found_in(dataset: ListedDataset) -> Images:
    truth = dataset.ground_truth()
    return {key_of(path): _objects(truth, row) for row, path in enumerate(dataset.paths)}


def _objects(truth: GroundTruth, row: int) -> list[Object]:
    objects = truth.of_image(row)
    flags = np.stack([objects.ignore & ~objects.crowd, objects.crowd, objects.truncated], axis=1)  # (M, 3) of FLAGS
    return [
        Object(truth.classes[label], tuple(box), frozenset(np.array(FLAGS)[its_flags].tolist()))
        for label, box, its_flags in zip(objects.labels.tolist(), objects.boxes.tolist(), flags, strict=True)
    ]


def assert_as_written(form: str, found: Mapping[str, Images]) -> None:
    """That `found`, by split (a validation split may be called val, valid or validation), is all that `form` holds."""
    expected = truth(form)
    named = {"val" if split.startswith("val") else split: images for split, images in found.items()}
    assert {split: sorted(images) for split, images in named.items()} == {
        split: sorted(images) for split, images in expected.items()
    }
    spare = 0
    for split, images in expected.items():
        for key, objects in images.items():
            rest = list(named[split][key])
            for one in objects:
                rest.remove(_find(one, rest, KEPT[form], f"{form}: {split}: {key}"))
            spare += len(rest)
    assert spare == KEPT[form].spare, f"{form}: {spare} objects too many"


def _find(one: Object, candidates: list[Object], kept: Kept, place: str) -> Object:
    """The object that is meant: of its class, at its place, with the flags that were kept and none that is not its."""
    distances = [
        float(np.abs(np.subtract(one.box, other.box)).max()) if _same_name(one.name, other.name) else np.inf
        for other in candidates
    ]
    assert distances and min(distances) <= kept.tolerance, f"{place}: {one} is not among {candidates}"
    best = candidates[int(np.argmin(distances))]
    assert best.flags <= one.flags, f"{place}: {best} has a flag that {one} has not"
    assert one.flags & set(kept.flags) <= best.flags, f"{place}: {best} lost a flag of {one}"
    return best


def _same_name(one: str, other: str) -> bool:
    return one == other.replace("_", " ")  # LVIS has no spaces in names
