"""How many files a reader opens to follow an image from `predict` to its boxes.

Counted is each file of detkit/ in which a function runs between the call, with an image in memory, and its result. Not
counted are the values that are passed on (structures.py, results.py), files that built the detector before the call,
and torch's own.
"""

import sys
from pathlib import Path
from types import FrameType

import numpy as np
import torch

import detkit
from detkit.build.detector import build_detector
from detkit.config.loading import load_config
from detkit.engine.inference import prepare
from detkit.predictor import Predictor

ROOT = Path(detkit.__file__).parent
MOST = 9
VALUES = {"structures.py"}


def test_from_predict_to_boxes_a_reader_opens_few_files() -> None:
    config = load_config(ROOT.parent / "configs" / "demo.yaml")  # a Faster R-CNN on a ResNet
    detector = build_detector(config, num_classes=2)
    prepare(detector, torch.device("cpu"))
    predictor = Predictor(detector, ("bar", "block"), config, torch.device("cpu"))
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3)).astype(np.uint8)
    opened: set[str] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and frame.f_code.co_name != "<module>" and path.is_relative_to(ROOT):
            opened.add(str(path.relative_to(ROOT)))

    sys.setprofile(note)
    try:
        found = predictor.predict(image, min_score=0)
    finally:
        sys.setprofile(None)
    assert len(found) > 0
    assert {"predictor.py", "detectors/two_stage.py", "heads/rpn.py", "heads/roi_head.py", "ops/boxes.py"} <= opened
    assert len(opened - VALUES) <= MOST, sorted(opened)
