#!/usr/bin/env bash
# imagefolder leaves out images that metadata.jsonl does not list, and whole-number boxes of one split stop the other.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
    datasets==5.2.0 pillow==12.3.0
"$folder/bin/python" - <<'END'
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import datasets
from PIL import Image

datasets.disable_progress_bars()
print("datasets", datasets.__version__)


def write(folder, images, boxes):
    """Metadata with a line for each of `boxes`, which are those of the first of `images`."""
    folder.mkdir(parents=True)
    for number in range(images):
        Image.new("RGB", (60, 50)).save(folder / f"{number}.png")
    lines = [
        {"file_name": f"{number}.png", "objects": {"bbox": [box], "categories": [0]}} for number, box in enumerate(boxes)
    ]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def load(folder, name):
    return datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=f"{name}/cache")


with TemporaryDirectory() as name:
    background = Path(name) / "background"
    write(background / "train", 5, [[10.5, 10, 20, 20], [5, 5, 30, 30]])
    kept = len(load(background, name)["train"])
    print("5 images, of which 2 have a line:", kept, "loaded")
    mixed = Path(name) / "mixed"
    write(mixed / "train", 1, [[10.5, 10, 20, 20]])
    write(mixed / "test", 1, [[10, 10, 20, 20]])
    message = ""
    try:
        load(mixed, name)
    except ValueError as error:
        message = str(error)
    print("fractions in train, whole numbers in test:", message.replace(name, "")[:60], "...")
assert kept == 2  # the three images of background are gone, without a word
assert "have different features" in message
END
