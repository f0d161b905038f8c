"""detkit: two-stage object detection, from a folder of images to a report.

What is offered here is imported when it is first asked for: `import detkit` itself costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detkit.predictor import Predictor, load
    from detkit.results import Result
    from detkit.run import Run, open_run, train
    from detkit.structures import Detections

__all__ = ["Detections", "Predictor", "Result", "Run", "load", "open_run", "train"]


_HOMES = {
    "Detections": "detkit.structures",
    "Predictor": "detkit.predictor",
    "Result": "detkit.results",
    "Run": "detkit.run",
    "load": "detkit.predictor",
    "open_run": "detkit.run",
    "train": "detkit.run",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(_HOMES[name]).__dict__[name]


def __dir__() -> list[str]:
    return __all__
