"""The yardstick of docs/results/proposals: detkit's EdgeBoxes beside OpenCV contrib's, on the same edge maps.

Needs opencv-contrib-python in place of opencv-python-headless, best in an environment of its own. Systems take turns
image by image, on one thread; a time is CPU seconds of the edge map and the boxes. Recall counts every object that is
no crowd, of the best 2,000 boxes, in images resized to a long side of 500 px. Example:
  python docs/results/proposals/edge_boxes_yardstick.py data/coco/val2017 data/coco/annotations/instances_val2017.json
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from detkit.proposals.edge_boxes import EdgeBoxesRule, boxes_of_edges
from detkit.proposals.edge_map import FloatMap, GradientEdges, half_turn, thin

LONG_SIDE, COUNT = 500, 2_000

Image = NDArray[np.uint8]
Boxes = NDArray[np.float32]
Maps = tuple[FloatMap, FloatMap]


def plain_gradient(image: Image) -> Maps:
    """Sobel of the RGB channel that changes most after a Gaussian of 1 px, over the image's maximum."""
    smooth = cv2.GaussianBlur(image, (0, 0), 1.0).astype(np.float32)
    dx, dy = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    strongest = (dx * dx + dy * dy).argmax(axis=2)[..., None]
    dx, dy = (np.take_along_axis(part, strongest, 2)[..., 0] for part in (dx, dy))
    magnitude = np.sqrt(dx * dx + dy * dy)
    orientation = half_turn(np.arctan2(dy, dx))
    return thin(magnitude / max(float(magnitude.max()), 1e-9), orientation), orientation


def opencv_boxes(edges: FloatMap, orientation: FloatMap) -> Boxes:
    # A new object for every image: an old one keeps lists of the image before.
    rows, _ = cv2.ximgproc.createEdgeBoxes(maxBoxes=10_000).getBoundingBoxes(edges, orientation)
    boxes = np.array(rows, np.float32).reshape(-1, 4)  # x, y, width, height
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def our_boxes(edges: FloatMap, orientation: FloatMap) -> Boxes:
    return boxes_of_edges(edges, orientation)[0]


def paper_boxes(edges: FloatMap, orientation: FloatMap) -> Boxes:
    return boxes_of_edges(edges, orientation, EdgeBoxesRule(crowding=()))[0]


SYSTEMS: dict[str, tuple[Callable[[Image], Maps], Callable[[FloatMap, FloatMap], Boxes]]] = {
    "OpenCV, plain gradient": (plain_gradient, opencv_boxes),
    "detkit in the paper's order, plain gradient": (plain_gradient, paper_boxes),
    "detkit, plain gradient": (plain_gradient, our_boxes),
    "OpenCV, GradientEdges": (GradientEdges(), opencv_boxes),
    "detkit in the paper's order, GradientEdges": (GradientEdges(), paper_boxes),
    "detkit, GradientEdges": (GradientEdges(), our_boxes),
}


def load(folder: Path, annotations: Path, num_images: int) -> list[tuple[Image, Boxes]]:
    """Images at the long side of LONG_SIDE px with their objects (M, 4)."""
    content = json.loads(annotations.read_text())
    images = []
    for entry in content["images"][:num_images]:
        image = cv2.cvtColor(cv2.imread(str(folder / entry["file_name"])), cv2.COLOR_BGR2RGB)
        scale = LONG_SIDE / max(image.shape[:2])
        size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        found = [a["bbox"] for a in content["annotations"] if a["image_id"] == entry["id"] and not a["iscrowd"]]
        boxes = np.array(found, np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        factors = np.array(size, np.float32) / image.shape[1::-1]
        resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        images.append((resized, boxes * np.tile(factors, 2).astype(np.float32)))
    return images


def best_overlaps(objects: Boxes, boxes: Boxes) -> NDArray[np.float32]:
    """Each object's (M,) largest IoU with a box."""
    if not len(boxes):
        return np.zeros(len(objects), np.float32)
    top_left = np.maximum(objects[:, None, :2], boxes[:, :2])
    common = (np.minimum(objects[:, None, 2:], boxes[:, 2:]) - top_left).clip(0).prod(axis=2)
    areas = [(rows[:, 2:] - rows[:, :2]).prod(axis=1) for rows in (objects, boxes)]
    best: NDArray[np.float32] = (common / (areas[0][:, None] + areas[1] - common)).max(axis=1)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("annotations", type=Path, help="COCO instances json")
    parser.add_argument("--count", type=int, default=40, help="of images")
    arguments = parser.parse_args()
    if not hasattr(cv2, "ximgproc"):
        parser.error("this cv2 has no ximgproc: install opencv-contrib-python in an environment of its own")
    cv2.setNumThreads(1)
    images = load(arguments.images, arguments.annotations, arguments.count)
    our_boxes(*GradientEdges()(images[0][0]))  # compile, untimed
    seconds = dict.fromkeys(SYSTEMS, 0.0)
    counts = dict.fromkeys(SYSTEMS, 0)
    overlaps: dict[str, list[NDArray[np.float32]]] = {name: [] for name in SYSTEMS}
    for image, objects in images:
        for name, (detector, search) in SYSTEMS.items():
            start = time.process_time()
            boxes = search(*detector(image))
            seconds[name] += time.process_time() - start
            counts[name] += len(boxes)
            overlaps[name].append(best_overlaps(objects, boxes[:COUNT]))
    print(f"| {len(images)} images | s an image | boxes | recall at IoU .5 | .7 | mean of .5 ... .95 |")
    print("|---|---|---|---|---|---|")
    for name in SYSTEMS:
        best = np.concatenate(overlaps[name])
        mean = np.mean([(best >= iou).mean() for iou in np.arange(0.5, 0.99, 0.05)])
        row = f"{seconds[name] / len(images):.2f} | {counts[name] / len(images):.0f}"
        print(f"| {name} | {row} | {(best >= 0.5).mean():.3f} | {(best >= 0.7).mean():.3f} | {mean:.3f} |")


if __name__ == "__main__":
    main()
