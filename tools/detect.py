"""Detect in pictures: draws the detections and writes them as JSON."""

import argparse
import json
from pathlib import Path

import cv2

from detkit import Detections, Predictor, load
from detkit.console import run_tool, track
from detkit.data.images import SUFFIXES, read_image
from detkit.reports.overview import draw_detections

EXAMPLE = """example:
  python tools/detect.py runs/demo pictures/ street.jpg --out found --min-score 0.5"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path, help="a model.pt or a run folder")
    parser.add_argument("pictures", nargs="+", type=Path, help="files, or folders of them")
    parser.add_argument("--out", type=Path, required=True, help="folder for the drawn pictures and detections.json")
    parser.add_argument("--min-score", type=float, default=0.5, help="least score of a detection (default 0.5)")
    arguments = parser.parse_args()
    pictures = find_pictures(arguments.pictures)
    predictor = load(arguments.weights)
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = [detect_one(predictor, path, arguments.out, arguments.min_score) for path in track(pictures, "detecting")]
    (arguments.out / "detections.json").write_text(json.dumps(rows, indent=1) + "\n")
    print(f"{sum(len(row['detections']) for row in rows)} detections in {len(rows)} pictures: {arguments.out}")
    return 0


def find_pictures(paths: list[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise ValueError(f"{path}: no such file or folder")
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        if not inside:
            raise ValueError(f"{path}: no pictures in this folder ({', '.join(sorted(SUFFIXES))})")
        found += inside
    return found


def detect_one(predictor: Predictor, path: Path, out: Path, min_score: float) -> dict:
    image = read_image(path)
    [found] = predictor.predict_all([image], min_score)
    drawn = draw_detections(image, found, predictor.classes, min_score)
    target = unused(out / f"{path.stem}.jpg")
    if not cv2.imwrite(str(target), drawn[:, :, ::-1]):
        raise OSError(f"{target}: could not be written")
    return {"file": str(path), "drawn": target.name, "detections": as_json(found, predictor.classes)}


def unused(path: Path) -> Path:
    """`path`, or with a number where another picture of this name was written before."""
    number, candidate = 1, path
    while candidate.exists():
        number, candidate = number + 1, path.with_stem(f"{path.stem}_{number + 1}")
    return candidate


def as_json(found: Detections, classes: tuple[str, ...]) -> list[dict]:
    """Boxes are x1, y1, x2, y2 in pixels of the picture, 0-based, x2 and y2 just outside."""
    rows = zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True)
    return [
        {"class": classes[label], "score": round(score, 5), "box": [round(side, 2) for side in box]}
        for box, score, label in rows
    ]


if __name__ == "__main__":
    run_tool(main)
