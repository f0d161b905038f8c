"""AP at IoU 0.5 by pycocotools, from values in memory: what the breakdowns are held against. Ignored are crowds."""

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detkit.data.ground_truth import GroundTruth
from detkit.structures import Detections


def precision_at_50(truth: GroundTruth, detections: dict[str, Detections]) -> np.ndarray:
    """(R, C, 4): precision at each recall of each class, for all areas, small, medium and large ones."""
    objects, known = truth.objects, COCO()
    known.dataset = {
        "images": [{"id": number} for number in truth.image_numbers],
        "categories": [{"id": number} for number in truth.category_numbers],
        "annotations": [
            {
                "id": row + 1,
                "image_id": truth.image_numbers[image],
                "category_id": truth.category_numbers[objects.labels[row]],
                "bbox": objects.xywh[row].tolist(),
                "area": float(objects.area[row]),
                "iscrowd": int(objects.ignore[row]),
            }
            for row, image in enumerate(truth.image_index)
        ],
    }
    known.createIndex()
    results = [
        [number, x1, y1, x2 - x1, y2 - y1, score, truth.category_numbers[label]]
        for number, one in zip(truth.image_numbers, detections.values(), strict=True)
        for (x1, y1, x2, y2), score, label in zip(
            one.boxes.double().tolist(), one.scores.tolist(), one.labels.tolist(), strict=True
        )
    ]
    scorer = COCOeval(known, known.loadRes(np.array(results)), "bbox")
    scorer.params.iouThrs = np.array([0.5])
    scorer.evaluate()
    scorer.accumulate()
    return np.asarray(scorer.eval["precision"][0, :, :, :, 2])
