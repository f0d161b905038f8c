#!/usr/bin/env bash
# OpenCV's selective search orders its boxes by libc's rand(): no seed of OpenCV or numpy repeats it, srand() does.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
    opencv-contrib-python-headless==5.0.0.93 numpy==2.4.6
"$folder/bin/python" - <<'END'
import ctypes

import cv2
import numpy as np

print("OpenCV", cv2.__version__)
small = np.random.default_rng(0).integers(0, 255, (12, 16, 3)).astype(np.uint8)
image = cv2.resize(small, (160, 120), interpolation=cv2.INTER_CUBIC)


def search():
    method = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    method.setBaseImage(image)
    method.switchToSelectiveSearchFast()
    return method.process()


def twice(seed):
    """Two searches, each after `seed`."""
    results = []
    for _ in range(2):
        seed()
        results.append(search())
    return results


def opencv_and_numpy():
    cv2.setRNGSeed(1)
    np.random.seed(1)


first, second = twice(opencv_and_numpy)
print("after cv2.setRNGSeed: same boxes", sorted(map(tuple, first)) == sorted(map(tuple, second)), end=", ")
print("same order", np.array_equal(first, second))
assert sorted(map(tuple, first)) == sorted(map(tuple, second)) and not np.array_equal(first, second)
libc = ctypes.CDLL(None)
first, second = twice(lambda: libc.srand(1))
print("after srand of libc: same order", np.array_equal(first, second))
assert np.array_equal(first, second)
END
