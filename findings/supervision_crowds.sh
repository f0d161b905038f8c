#!/usr/bin/env bash
# supervision writes COCO's crowds into YOLO labels as ordinary objects, and numbers COCO's categories anew.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
    supervision==0.31.2 numpy==2.4.6 opencv-python-headless==5.0.0.93
"$folder/bin/python" - <<'END'
import json
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import supervision

warnings.simplefilter("ignore")
print("supervision", supervision.__version__)
CROWD = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 60, 40], "area": 2400, "iscrowd": 1}
OBJECT = {"id": 2, "image_id": 1, "category_id": 18, "bbox": [6, 8, 12, 24], "area": 288, "iscrowd": 0}
with TemporaryDirectory() as name:
    folder = Path(name)
    (folder / "images").mkdir()
    cv2.imwrite(str(folder / "images" / "a.png"), np.zeros((40, 60, 3), np.uint8))
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 60, "height": 40}],
        "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
        "annotations": [
            {**CROWD, "segmentation": {"size": [40, 60], "counts": [0, 2400]}},
            {**OBJECT, "segmentation": [[6, 8, 18, 8, 18, 32, 6, 32]]},
        ],
    }
    (folder / "coco.json").write_text(json.dumps(content))
    data = supervision.DetectionDataset.from_coco(str(folder / "images"), str(folder / "coco.json"))
    data.as_yolo(annotations_directory_path=str(folder / "labels"))
    lines = (folder / "labels" / "a.txt").read_text().splitlines()
    data.as_coco(annotations_path=str(folder / "again.json"))
    again = json.loads((folder / "again.json").read_text())

for line in lines:
    print("YOLO:", line)
categories = {category["name"]: category["id"] for category in again["categories"]}
print("COCO, written again:", categories, [annotation["iscrowd"] for annotation in again["annotations"]])
assert [line.split()[0] for line in lines] == ["0", "1"]  # the crowd is a person like any other
corners = np.array(lines[0].split()[1:], float).reshape(-1, 2) * (60, 40)
assert np.allclose(corners.max(axis=0), [59, 39], atol=0.001)  # of a crowd that covers all 60 x 40 px
assert categories == {"person": 1, "dog": 2}  # dog was 18
assert [annotation["iscrowd"] for annotation in again["annotations"]] == [1, 0]
END
