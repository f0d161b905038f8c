"""detkit: two-stage object detection, from a folder of images to a report."""

from detkit.predictor import Predictor, load
from detkit.results import Result
from detkit.structures import Detections

__all__ = ["Detections", "Predictor", "Result", "load"]
