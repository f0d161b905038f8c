#!/usr/bin/env bash
# hotcoco gives pycocotools' twelve numbers to the last bit, with crowds, ties and classes without objects too.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
    hotcoco==1.3.0 pycocotools==2.0.11 faster-coco-eval==1.8.0 numpy==2.4.6
"$folder/bin/python" - <<'END'
import contextlib
import io
import json
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import faster_coco_eval
import hotcoco
import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

TOOLS = {
    "pycocotools": (COCO, COCOeval),
    "faster-coco-eval": (faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster),
    "hotcoco": (hotcoco.COCO, hotcoco.COCOeval),
}
CLASSES = 3
SEEDS = 40


def case(seed, crowds, ties, empty_class):
    """Objects of 6 images, and detections near most of them."""
    random = np.random.default_rng(seed)
    objects, detections = [], []
    for image in range(1, 7):
        for _ in range(random.integers(1, 8)):
            box = [*random.integers(0, 80, 2).tolist(), *random.integers(5, 60, 2).tolist()]
            label = int(random.integers(1, CLASSES + 1 - empty_class))
            crowd = int(random.random() < crowds)
            one = {"image_id": image, "category_id": label, "bbox": box}
            objects.append({**one, "id": len(objects) + 1, "area": box[2] * box[3] * 0.8, "iscrowd": crowd})
            for _ in range(random.integers(1, 3)):
                moved = np.maximum(1, np.add(box, random.integers(-6, 7, 4))).tolist()
                score = float(random.choice([0.5, 0.6, 0.7]) if ties else random.random())
                detections.append({**one, "bbox": moved, "score": score})
    images = [{"id": image, "width": 200, "height": 200, "file_name": f"{image}.jpg"} for image in range(1, 7)]
    categories = [{"id": label, "name": str(label)} for label in range(1, CLASSES + 1)]
    return {"info": {}, "images": images, "categories": categories, "annotations": objects}, detections


def numbers(tool, truth, detections):
    annotations, evaluation = TOOLS[tool]
    with TemporaryDirectory() as name, contextlib.redirect_stdout(io.StringIO()):
        paths = [str(Path(name) / file) for file in ("truth.json", "found.json")]
        for path, content in zip(paths, (truth, detections), strict=True):
            Path(path).write_text(json.dumps(content))
        data = annotations(paths[0])
        run = evaluation(data, data.loadRes(paths[1]), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    return np.array(run.stats[:12], float)


print({tool: version(tool) for tool in TOOLS})
KINDS = {"plain": (0, False, False), "crowds": (0.5, False, False), "ties": (0.1, True, False), "empty": (0.1, True, True)}
for kind, (crowds, ties, empty) in KINDS.items():
    worst = dict.fromkeys(TOOLS, 0.0)
    for seed in range(SEEDS):
        truth, detections = case(seed, crowds, ties, empty)
        expected = numbers("pycocotools", truth, detections)
        for tool in TOOLS:
            worst[tool] = max(worst[tool], float(np.abs(numbers(tool, truth, detections) - expected).max()))
    print(f"{kind:7} largest difference in {SEEDS} cases:", worst)
    assert worst["hotcoco"] == 0
    assert worst["faster-coco-eval"] < 1e-12
END
