"""What the installed packages must be like, however detkit was installed."""

import subprocess
import sys
from importlib.metadata import distributions

import numpy as np


def opencv_distributions() -> set[str]:
    names = (distribution.metadata["Name"].lower().replace("_", "-") for distribution in distributions())
    return {name for name in names if name.startswith("opencv-")}


def test_there_is_one_opencv_and_it_needs_no_display():
    """All builds of OpenCV write into one folder: of two, the last wins, and removing one breaks the other."""
    assert opencv_distributions() == {"opencv-python-headless"}


def test_opencv_has_the_functions_we_use():
    """The folder cv2 can be there and empty: ask for the functions."""
    import cv2

    for name in ("imread", "imwrite", "imdecode", "resize", "cvtColor", "warpAffine", "VideoCapture"):
        assert callable(getattr(cv2, name, None)), f"cv2.{name} is missing: install opencv-python-headless again"
    ramp = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(8, 6, 3)
    encoded = cv2.imencode(".png", ramp)[1]
    np.testing.assert_array_equal(cv2.imdecode(encoded, cv2.IMREAD_COLOR), ramp)


def test_torch_and_torchvision_were_built_for_each_other():
    """A mismatched pair imports, and fails at the first compiled operator."""
    import torch
    import torchvision

    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 3.0], [8.0, 8.0, 9.0, 9.0]])
    keep = torchvision.ops.nms(boxes, torch.tensor([0.5, 0.9, 0.1]), iou_threshold=0.5)
    assert keep.tolist() == [1, 2]


def test_importing_the_public_api_needs_neither_display_nor_home():
    bare = {"PATH": "", "MPLCONFIGDIR": "/nonexistent"}
    subprocess.run([sys.executable, "-c", "import detkit"], check=True, env=bare)
