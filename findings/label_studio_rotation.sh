#!/usr/bin/env bash
# Label Studio's converter turns a rotated rectangle into three boxes: COCO turns it in percent, VOC and YOLO do not at all.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
    label-studio-sdk==2.1.2 numpy==2.2.6 pillow==12.3.0
"$folder/bin/python" - <<'END'
import json
import logging
import re
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from label_studio_sdk.converter import Converter
from PIL import Image

logging.disable(logging.CRITICAL)
print("label-studio-sdk", version("label-studio-sdk"))
WIDTH, HEIGHT = 400, 100
CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="cat"/></RectangleLabels></View>'
)
LEFT, TOP, LONG, SHORT = 200, 20, 120, 20  # px, before it is turned about its left top corner


def bounds(degrees):
    """x1, y1, x2, y2 in px of the turned rectangle, by hand."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    corners = np.array([[0, 0], [LONG, 0], [LONG, SHORT], [0, SHORT]]) @ turn.T + (LEFT, TOP)
    return [*corners.min(axis=0), *corners.max(axis=0)]


def task(image, degrees):
    value = {
        "x": 100 * LEFT / WIDTH,
        "y": 100 * TOP / HEIGHT,
        "width": 100 * LONG / WIDTH,
        "height": 100 * SHORT / HEIGHT,
        "rotation": degrees,
        "rectanglelabels": ["cat"],
    }
    kind = {"type": "rectanglelabels", "from_name": "label", "to_name": "image"}
    size = {"original_width": WIDTH, "original_height": HEIGHT}
    result = [{"id": "one", **kind, **size, "value": value}]
    return [{"id": 1, "data": {"image": image}, "annotations": [{"id": 1, "result": result}]}]


def converted(degrees):
    """The box in px of COCO, VOC and YOLO."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "a.png")
        (folder / "tasks.json").write_text(json.dumps(task(str(folder / "a.png"), degrees)))
        converter = Converter(CONFIG, name, download_resources=False)
        for form in ("coco", "voc", "yolo"):
            getattr(converter, f"convert_to_{form}")(f"{name}/tasks.json", f"{name}/{form}", is_dir=False)
        x, y, w, h = json.loads((folder / "coco" / "result.json").read_text())["annotations"][0]["bbox"]
        xml = next((folder / "voc").rglob("*.xml")).read_text()
        voc = [float(re.search(f"<{field}>(.+?)</{field}>", xml)[1]) for field in ("xmin", "ymin", "xmax", "ymax")]
        line = next((folder / "yolo" / "labels").glob("*.txt")).read_text().split()
        cx, cy, cw, ch = np.array(line[1:5], float) * (WIDTH, HEIGHT, WIDTH, HEIGHT)
        return {"COCO": [x, y, x + w, y + h], "VOC": voc, "YOLO": [cx - cw / 2, cy - ch / 2, cx + cw / 2, cy + ch / 2]}


for degrees in (0, 30):
    found = {"by hand": bounds(degrees), **converted(degrees)}
    for form, box in found.items():
        print(f"{degrees:2} degrees, {form:8}", np.round(box, 1).tolist())
    far = {form: float(np.abs(np.subtract(box, found["by hand"])).max()) for form, box in found.items()}
    if degrees == 0:
        assert max(far.values()) < 1
    else:
        assert min(far["COCO"], far["VOC"], far["YOLO"]) > 10  # px off
        assert np.allclose(found["VOC"], found["YOLO"], atol=1)  # as if it were not turned
        assert not np.allclose(found["COCO"], found["YOLO"], atol=10)
END
