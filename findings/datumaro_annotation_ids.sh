#!/usr/bin/env bash
# datumaro numbers a VOC set's objects anew in each image, so the COCO file it makes of it scores perfect detections wrong.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
    datumaro==1.13.12 numpy==2.4.6 pycocotools==2.0.11 pillow==12.3.0
"$folder/bin/python" - <<'END'
import contextlib
import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import datumaro
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

print("datumaro", datumaro.__version__)
BOXES = {"a": [(11, 21, 40, 60)], "b": [(5, 5, 24, 34), (50, 40, 80, 90)], "c": [(30, 10, 70, 45)]}
OBJECT = (
    "<object><name>cat</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)
SIZE = "<size><width>100</width><height>100</height><depth>3</depth></size>"


def average_precision(content, folder):
    """Of detections that are exactly the objects."""
    (folder / "truth.json").write_text(json.dumps(content))
    fields = ("image_id", "category_id", "bbox")
    found = [{**{field: one[field] for field in fields}, "score": 1.0} for one in content["annotations"]]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(folder / "truth.json"))
        run = COCOeval(truth, truth.loadRes(found), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return float(run.stats[0])


with TemporaryDirectory() as name:
    voc, coco = Path(name) / "voc", Path(name) / "coco"
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (voc / part).mkdir(parents=True)
    for image, boxes in BOXES.items():
        Image.new("RGB", (100, 100)).save(voc / "JPEGImages" / f"{image}.jpg")
        objects = "".join(OBJECT.format(*box) for box in boxes)
        (voc / "Annotations" / f"{image}.xml").write_text(
            f"<annotation><filename>{image}.jpg</filename>{SIZE}{objects}</annotation>"
        )
    (voc / "ImageSets" / "Main" / "train.txt").write_text("".join(f"{image}\n" for image in BOXES))
    datumaro.Dataset.import_from(str(voc), "voc_detection").export(str(coco), "coco_instances", save_media=True)
    content = json.loads((coco / "annotations" / "instances_train.json").read_text())
    ids = [(one["image_id"], one["id"]) for one in content["annotations"]]
    as_written = average_precision(content, Path(name))
    for number, one in enumerate(content["annotations"], 1):
        one["id"] = number
    numbered = average_precision(content, Path(name))

print("(image, annotation) ids:", ids)
print(f"AP of the objects themselves: {as_written:.3f} as written, {numbered:.3f} once the ids are numbered")
assert len({annotation for _, annotation in ids}) < len(ids)
assert numbered == 1
assert as_written < 0.9  # pycocotools looks annotations up by id, and finds those of another image
END
