#!/usr/bin/env bash
# The same VOC file is read as other boxes: supervision counts pixels from 1 as the devkit does, datumaro and globox from 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
    datumaro==1.13.12 globox==2.9.0 supervision==0.31.2 numpy==2.4.6 pillow==12.3.0
"$folder/bin/python" - <<'END'
import warnings
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import datumaro
import numpy as np
import supervision
from globox import AnnotationSet
from PIL import Image

warnings.simplefilter("ignore")
print({tool: version(tool) for tool in ("datumaro", "globox", "supervision")})
PIXELS = np.zeros((50, 60), bool)
PIXELS[19:40, 9:30] = True  # the object: 21 x 21 px, of which the first is column 10, row 20, counted from 1
ROWS, COLUMNS = np.nonzero(PIXELS)
CORNERS = (COLUMNS.min() + 1, ROWS.min() + 1, COLUMNS.max() + 1, ROWS.max() + 1)  # as VOC's devkit defines them
XML = (
    "<annotation><filename>a.jpg</filename><size><width>60</width><height>50</height><depth>3</depth></size>"
    "<object><name>cat</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
    "</annotation>"
)

boxes = {"pixels": [COLUMNS.min(), ROWS.min(), COLUMNS.max() + 1, ROWS.max() + 1]}
with TemporaryDirectory() as name:
    folder = Path(name)
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    Image.fromarray(PIXELS.astype(np.uint8) * 255).convert("RGB").save(folder / "JPEGImages" / "a.jpg")
    (folder / "Annotations" / "a.xml").write_text(XML.format(*CORNERS))
    (folder / "ImageSets" / "Main" / "train.txt").write_text("a\n")
    data = supervision.DetectionDataset.from_pascal_voc(f"{name}/JPEGImages", f"{name}/Annotations")
    boxes["supervision"] = next(iter(data.annotations.values())).xyxy[0]
    (one,) = next(iter(AnnotationSet.from_pascal_voc(folder / "Annotations"))).boxes
    boxes["globox"] = [one.xmin, one.ymin, one.xmax, one.ymax]
    (item,) = datumaro.Dataset.import_from(name, "voc_detection")
    boxes["datumaro"] = item.annotations[0].points

for tool, box in boxes.items():
    x1, y1, x2, y2 = map(float, box)
    print(f"{tool:12} {[x1, y1, x2, y2]}, {x2 - x1:g} x {y2 - y1:g} px")
assert list(map(float, boxes["supervision"])) == list(map(float, boxes["pixels"]))
for tool in ("globox", "datumaro"):
    assert np.array_equal(np.subtract(boxes[tool], boxes["pixels"]), [1, 1, 0, 0])  # a row and a column too few
END
