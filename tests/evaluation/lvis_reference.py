"""Random federated cases and what LVIS's published code scores them: writes lvis_cases.json.

    uv run --no-project --with lvis==0.5.3 --with pycocotools==2.0.11 python tests/evaluation/lvis_reference.py

lvis is no dependency of detkit: it asks for the full build of OpenCV, and for names that numpy has no more.
"""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

CASES = Path(__file__).with_name("lvis_cases.json")
NUM_CASES = 50
MANY = 2  # the last cases have images with more than 300 detections


def random_case(seed: int) -> dict[str, Any]:
    """Few images and classes, boxes in tenths of a pixel near one another and of all sizes, many equal scores."""
    rng = np.random.default_rng(seed)
    is_many = seed >= NUM_CASES - MANY
    num_images, num_classes = (2, 3) if is_many else (int(rng.integers(1, 7)), int(rng.integers(1, 8)))
    numbers = rng.permutation(50)[:num_images].tolist()
    categories = sorted(rng.permutation(20)[:num_classes].tolist())
    images, annotations, results = [], [], []
    for number in numbers:
        looked_for = [c for c in categories if rng.random() < 0.7]
        there = [c for c in looked_for if rng.random() < 0.6]
        absent = [c for c in looked_for if c not in there]
        images.append(
            {
                "id": number,
                "height": 400,
                "width": 400,
                "neg_category_ids": absent,
                "not_exhaustive_category_ids": [c for c in there if rng.random() < 0.3],
            }
        )
        boxes = []
        for category in there:
            for _ in range(int(rng.integers(1, 4))):
                boxes.append(_box(rng))
                area = round(float(np.prod(boxes[-1][2:]) * rng.choice([1.0, 0.7])), 2)
                number_of_it = len(annotations) + 1
                annotations.append(
                    {
                        "id": number_of_it,
                        "image_id": number,
                        "category_id": category,
                        "bbox": boxes[-1],
                        "area": area,
                        "ignore": int(rng.random() < 0.1),
                    }
                )
        for _ in range(330 if is_many else int(rng.integers(0, 25))):
            near = boxes[int(rng.integers(len(boxes)))] if boxes and rng.random() < 0.7 else _box(rng)
            moved = np.round(np.array(near) * (1 + rng.choice([0, 0.03, 0.1, 0.3]) * rng.uniform(-1, 1, 4)), 1)
            score = round(float(rng.random()), int(rng.choice([1, 2])))
            results.append([number, int(rng.choice(categories)), *moved.tolist(), score])
    frequencies = rng.choice(["r", "c", "f"], num_classes).tolist()
    return {
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": number, "name": f"class {number}", "frequency": frequency}
            for number, frequency in zip(categories, frequencies, strict=True)
        ],
        # Image, category, left, top, width, height, score. The published code cannot score nothing.
        "results": [results[row] for row in rng.permutation(len(results))]
        or [[numbers[0], categories[0], 0, 0, 9, 9, 0.5]],
    }


def _box(rng: np.random.Generator) -> list[float]:
    side = float(rng.choice([20, 60, 150]))
    return np.round([*rng.uniform(0, 200, 2), *(side * rng.uniform(0.6, 1.6, 2))], 1).tolist()


def published_scores(case: dict[str, Any], folder: Path) -> dict[str, float]:
    from lvis import LVIS, LVISEval, LVISResults

    np.float = float  # lvis 0.5.3 asks for it; numpy has it no more
    truth = folder / "truth.json"
    truth.write_text(json.dumps({name: case[name] for name in ("images", "annotations", "categories")}))
    annotations = LVIS(str(truth))
    results = [
        {"image_id": image, "category_id": category, "bbox": box, "score": score}
        for image, category, *box, score in case["results"]
    ]
    evaluation = LVISEval(annotations, LVISResults(annotations, results), "bbox")
    evaluation.run()
    return {name: float(value) for name, value in evaluation.get_results().items()}


def main() -> None:
    cases = []
    with TemporaryDirectory() as folder:
        for seed in range(NUM_CASES):
            case = random_case(seed)
            cases.append(case | {"scores": published_scores(case, Path(folder))})
    CASES.write_text("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]\n")


if __name__ == "__main__":
    main()
