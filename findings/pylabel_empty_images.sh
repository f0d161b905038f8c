#!/usr/bin/env bash
# pylabel gives an image without objects the last object of the image before it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
    pylabel==0.1.55 pandas==2.3.3 numpy==2.4.6 pillow==12.3.0
"$folder/bin/python" - <<'END'
import json
import warnings
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from pylabel import importer

warnings.simplefilter("ignore")
print({tool: version(tool) for tool in ("pylabel", "pandas")})
OBJECTS = {1: [[10.0, 10.0, 20.0, 30.0], [40.0, 10.0, 15.0, 15.0]], 2: [], 3: [[5.0, 5.0, 50.0, 40.0]]}  # of images
ANNOTATIONS = [(image, box) for image, boxes in OBJECTS.items() for box in boxes]
CONTENT = {
    "images": [{"id": image, "file_name": f"{image}.jpg", "width": 60, "height": 50} for image in OBJECTS],
    "categories": [{"id": 1, "name": "cat", "supercategory": ""}],
    "annotations": [
        {"id": number, "image_id": image, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for number, (image, box) in enumerate(ANNOTATIONS, 1)
    ],
}
with TemporaryDirectory() as name:
    given, written = Path(name) / "given.json", Path(name) / "written.json"
    given.write_text(json.dumps(CONTENT))
    data = importer.ImportCoco(str(given))
    data.export.ExportToCoco(str(written))
    content = json.loads(written.read_text())

found = [(one["id"], one["bbox"]) for one in content["annotations"]]
print(len(ANNOTATIONS), "objects given,", len(found), "written:", found)
assert len(content["images"]) == len(OBJECTS)
assert len(found) == len(ANNOTATIONS) + 1
assert found[1] == found[2]  # image 2 has no object: that of image 1 is there twice
END
