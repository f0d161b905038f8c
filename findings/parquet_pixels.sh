#!/usr/bin/env bash
# A datasets.Dataset saved as parquet holds no pixels, saved to disk it does.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
    datasets==5.2.0 pillow==12.3.0
"$folder/bin/python" - <<'END'
from pathlib import Path
from tempfile import TemporaryDirectory

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

datasets.disable_progress_bars()
print("datasets", datasets.__version__)


def embedded(table):
    """Bytes of each image in a table."""
    return [len(image["bytes"] or b"") for image in table["image"].to_pylist()]


with TemporaryDirectory() as name:
    Image.new("RGB", (60, 50), (200, 30, 30)).save(f"{name}/a.png")
    size = Path(name, "a.png").stat().st_size
    features = datasets.Features({"image": datasets.Image()})
    data = datasets.Dataset.from_list([{"image": f"{name}/a.png"}], features=features)
    data.to_parquet(f"{name}/train.parquet")
    data.save_to_disk(f"{name}/disk")
    parquet = embedded(pq.read_table(f"{name}/train.parquet"))
    (file,) = Path(name, "disk").glob("*.arrow")
    disk = embedded(pa.ipc.open_stream(file.read_bytes()).read_all())

print(f"bytes of an image of {size}: to_parquet {parquet}, save_to_disk {disk}")
assert parquet == [0]
assert disk == [size]
END
