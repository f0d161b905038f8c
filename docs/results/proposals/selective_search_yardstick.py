"""Our selective search and OpenCV contrib's, side by side: CPU seconds an image and recall of the best 2,000 boxes.

    python docs/results/proposals/selective_search_yardstick.py IMAGES INSTANCES_JSON [IMAGES INSTANCES_JSON ...]

IMAGES is a folder of images, INSTANCES_JSON their annotations in the COCO format. Needs opencv-contrib-python in
place of the OpenCV that detkit brings: run it in an environment of its own. One thread; the systems take turns.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from detkit.proposals.selective_search import Mode, selective_search

LONG_SIDE = 500  # px
NUM_BOXES = 2000
MODES: tuple[Mode, ...] = ("fast", "quality")
System = Callable[[NDArray[np.uint8]], NDArray[np.float64]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="+", type=Path, metavar="IMAGES INSTANCES_JSON")
    parser.add_argument("--every", type=int, default=1, help="take each n-th image only")
    arguments = parser.parse_args()
    if len(arguments.sources) % 2:
        parser.error("each folder of images is followed by its annotation file")
    if not hasattr(cv2, "ximgproc"):
        sys.exit("This OpenCV has no cv2.ximgproc: install opencv-contrib-python in an environment of its own.")
    cv2.setNumThreads(1)
    for folder, annotations in zip(arguments.sources[::2], arguments.sources[1::2], strict=True):
        print(f"\n{folder}\n\n| system | CPU s an image | boxes | recall .5 | recall .7 |")
        print("| --- | --- | --- | --- | --- |", flush=True)
        compare(load(folder, annotations)[:: arguments.every])


def load(folder: Path, annotations: Path) -> list[tuple[NDArray[np.uint8], NDArray[np.float64]]]:
    """Images (H, W, 3) RGB with LONG_SIDE and the boxes (M, 4) of their objects; crowds are left out."""
    content = json.loads(annotations.read_text())
    samples = []
    for entry in content["images"]:
        image = cv2.imread(str(folder / entry["file_name"]))
        scale = LONG_SIDE / max(image.shape[:2])
        size = round(image.shape[1] * scale), round(image.shape[0] * scale)
        resized = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
        objects = [a["bbox"] for a in content["annotations"] if a["image_id"] == entry["id"] and not a["iscrowd"]]
        boxes = np.array(objects, np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        samples.append((np.asarray(resized, np.uint8), boxes * scale))
    return samples


def compare(samples: list[tuple[NDArray[np.uint8], NDArray[np.float64]]]) -> None:
    systems: dict[str, System] = {}
    for mode in MODES:
        systems[f"detkit {mode}"] = lambda image, mode=mode: selective_search(image, mode)[0].astype(np.float64)
        systems[f"OpenCV {mode}"] = lambda image, mode=mode: opencv(image, mode)
    for system in systems.values():  # compiles
        system(samples[0][0])
    seconds = dict.fromkeys(systems, 0.0)
    counts = dict.fromkeys(systems, 0)
    overlaps: dict[str, list[NDArray[np.float64]]] = {name: [] for name in systems}
    for image, objects in samples:
        for name, system in systems.items():
            start = time.process_time()
            boxes = system(image)
            seconds[name] += time.process_time() - start
            counts[name] += len(boxes)
            overlaps[name].append(best_iou(objects, boxes[:NUM_BOXES]))
    for name in systems:
        best = np.concatenate(overlaps[name])
        time_and_boxes = f"{seconds[name] / len(samples):.3f} | {counts[name] / len(samples):,.0f}"
        print(f"| {name} | {time_and_boxes} | {(best >= 0.5).mean():.4f} | {(best >= 0.7).mean():.4f} |", flush=True)


def opencv(image: NDArray[np.uint8], mode: Mode) -> NDArray[np.float64]:
    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    if mode == "fast":
        search.switchToSelectiveSearchFast()
    else:
        search.switchToSelectiveSearchQuality()
    boxes = np.asarray(search.process(), np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def best_iou(objects: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest overlap (M,) of each object (M, 4) with any box (N, 4)."""
    top_left = np.maximum(objects[:, None, :2], boxes[:, :2])
    bottom_right = np.minimum(objects[:, None, 2:], boxes[:, 2:])
    common = (bottom_right - top_left).clip(min=0).prod(-1)
    areas = [(b[:, 2:] - b[:, :2]).prod(-1) for b in (objects, boxes)]
    return np.asarray((common / (areas[0][:, None] + areas[1] - common)).max(axis=1, initial=0))


if __name__ == "__main__":
    main()
