#!/usr/bin/env bash
# datumaro writes a COCO crowd that has no mask as an object, leaves it out of YOLO, and forgets groups of Open Images.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
    datumaro==1.13.12 numpy==2.4.6 pillow==12.3.0
"$folder/bin/python" - <<'END'
import json
import logging
from pathlib import Path
from tempfile import TemporaryDirectory

import datumaro
from PIL import Image

logging.disable(logging.CRITICAL)
print("datumaro", datumaro.__version__)
MASK = {"size": [50, 60], "counts": [0, 1000, 2000]}  # the first 20 columns
CROWDS = [
    {"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 30, 20], "area": 600, "iscrowd": 1, "segmentation": []},
    {"id": 2, "image_id": 1, "category_id": 1, "bbox": [0, 0, 20, 50], "area": 1000, "iscrowd": 1, "segmentation": MASK},
]
CONTENT = {
    "images": [{"id": 1, "file_name": "a.png", "width": 60, "height": 50}],
    "categories": [{"id": 1, "name": "cat"}],
    "annotations": CROWDS,
}
with TemporaryDirectory() as name:
    root = Path(name) / "coco"
    for part in ("annotations", "images/train"):
        (root / part).mkdir(parents=True)
    Image.new("RGB", (60, 50)).save(root / "images" / "train" / "a.png")
    (root / "annotations" / "instances_train.json").write_text(json.dumps(CONTENT))
    for form in ("coco_instances", "yolo", "open_images"):
        data = datumaro.Dataset.import_from(str(root), "coco_instances")
        data.export(f"{name}/{form}", form, save_media=True)
    written = json.loads(Path(name, "coco_instances", "annotations", "instances_train.json").read_text())
    crowds = {one["id"]: one["iscrowd"] for one in written["annotations"]}
    labels = Path(name, "yolo", "obj_train_data", "a.txt").read_text()
    table = Path(name, "open_images", "annotations", "train-annotations-bbox.csv").read_text().splitlines()
    groups = [dict(zip(table[0].split(","), row.split(","), strict=True))["IsGroupOf"] for row in table[1:]]

print("iscrowd of COCO written again:", crowds)
print("YOLO:", repr(labels))
print("IsGroupOf of Open Images:", groups)
assert crowds == {1: 0, 2: 1}  # the box alone is an object now, which detectors have to find
assert labels == ""  # neither is in YOLO; supervision writes both
assert set(groups) == {"-1"}  # unknown
END
