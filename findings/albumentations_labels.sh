#!/usr/bin/env bash
# albumentations carries label fields through 32-bit floats: ids of annotations come back changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
    albumentations==2.0.8 numpy==2.4.6 opencv-python-headless==5.0.0.93
"$folder/bin/python" - <<'END'
import os

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import albumentations
import numpy as np

IMAGE = np.zeros((50, 100, 3), np.uint8)
print("albumentations", albumentations.__version__)


def unchanged(values):
    """What a transform that does nothing makes of a label field."""
    parameters = albumentations.BboxParams(format="coco", label_fields=["values"])
    same = albumentations.Compose([albumentations.NoOp()], bbox_params=parameters)
    found = same(image=IMAGE, bboxes=[[0, 0, 10, 10]] * len(values), values=values)["values"]
    print(f"{values!r:42} -> {found!r}")
    return found


assert unchanged(["dog", "cat"]) == ["dog", "cat"]
labels = unchanged([1, 2])
assert labels == [1.0, 2.0] and all(type(label) is float for label in labels)
flags = unchanged([True, False])
assert flags == [1.0, 0.0] and all(type(flag) is float for flag in flags)
# 2**24 + 1, and an id as COCO gives them to crowds: neither is a number of float32.
assert unchanged([16777217]) == [16777216.0]
ids = unchanged(np.array([900100018419], np.int64))
assert ids.dtype == np.int64 and ids.tolist() == [900099997696]
END
