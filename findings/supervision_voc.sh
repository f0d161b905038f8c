#!/usr/bin/env bash
# supervision reads VOC's difficult objects as ordinary ones and rounds the boxes that it writes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
    supervision==0.31.2 numpy==2.4.6 opencv-python-headless==5.0.0.93
"$folder/bin/python" - <<'END'
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import supervision

print("supervision", supervision.__version__)
ANNOTATION = """<annotation><filename>a.png</filename>
<size><width>60</width><height>40</height><depth>3</depth></size>
<object><name>dog</name><difficult>1</difficult>
<bndbox><xmin>6.5</xmin><ymin>7.9</ymin><xmax>20.7</xmax><ymax>30.9</ymax></bndbox></object>
</annotation>"""
with TemporaryDirectory() as name:
    folder = Path(name)
    for child in ("images", "xml"):
        (folder / child).mkdir()
    cv2.imwrite(str(folder / "images" / "a.png"), np.zeros((40, 60, 3), np.uint8))
    (folder / "xml" / "a.xml").write_text(ANNOTATION)
    data = supervision.DetectionDataset.from_pascal_voc(str(folder / "images"), str(folder / "xml"))
    [objects] = data.annotations.values()
    data.as_pascal_voc(annotations_directory_path=str(folder / "again"))
    again = (folder / "again" / "a.xml").read_text()

print("read:", objects.xyxy.round(4).tolist(), "with", sorted(objects.data))
written = {tag: re.search(f"<{tag}>(.*)</{tag}>", again)[1] for tag in ("xmin", "ymin", "xmax", "ymax")}
print("written again:", written, "difficult" in again)
assert np.allclose(objects.xyxy, [[5.5, 6.9, 20.7, 30.9]])  # 1-based, both corners inside, as the format has it
assert sorted(objects.data) == ["class_name"]  # nothing says that it was difficult
assert "difficult" not in again
assert list(written.values()) == ["6", "8", "21", "31"]  # of 6.5, 7.9, 20.7, 30.9
END
