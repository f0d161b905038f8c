"""What detkit runs on, and what is known to break it: versions, OpenCV builds, devices, and a self-test."""

import platform
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

LIBRARIES = ("torch", "torchvision", "numpy", "albumentations", "pydantic", "omegaconf", "pycocotools", "timm")
LEAST_SPACE = 2e9  # bytes; a checkpoint of a VGG-16 with its momentum has 1.1 GB
CV2_FUNCTIONS = ("imread", "imwrite", "imdecode", "resize", "cvtColor", "warpAffine", "VideoCapture")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    text: str
    is_well: bool = True


def examine(self_test: bool = True) -> Iterator[Finding]:
    """Look at one thing after the other; with `self_test` also train a small detector for a step and detect with it."""
    yield Finding("detkit", f"{version('detkit')}, Python {platform.python_version()}, {platform.platform()}")
    yield Finding("libraries", ", ".join(f"{name} {_version(name)}" for name in LIBRARIES))
    yield opencv_builds(_installed("opencv-"))
    yield _attempt("OpenCV's functions", _opencv_functions)
    yield _attempt("torch with torchvision", _compiled_operators)
    yield _attempt("devices", _devices)
    yield _attempt("processor", _processor)
    yield disk_space(Path.cwd(), shutil.disk_usage(Path.cwd()).free)
    if self_test:
        yield _attempt("self-test", learn_and_detect)


def opencv_builds(names: Sequence[str]) -> Finding:
    """All builds of OpenCV write into one folder: of two the last wins, and removing one breaks the other."""
    if len(names) == 1:
        return Finding("OpenCV", f"{names[0]} {_version(names[0])}")
    remedy = "uninstall all of them, then install opencv-python-headless again"
    return Finding("OpenCV", f"{', '.join(names) or 'none'} installed, of which one is needed; {remedy}", False)


def disk_space(folder: Path, free: float) -> Finding:
    """`free` bytes where runs are written by default."""
    text = f"{free / 1e9:.1f} GB free in {folder}"
    return Finding("disk", text) if free >= LEAST_SPACE else Finding("disk", f"{text}: a run may not fit", False)


def _installed(prefix: str) -> list[str]:
    names = (str(one.metadata["Name"]).lower().replace("_", "-") for one in distributions())
    return sorted({name for name in names if name.startswith(prefix)})


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _attempt(subject: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, look())
    except Exception as error:  # whatever a broken installation raises is what is to be told
        reason = (str(error).splitlines() or [""])[0]
        return Finding(subject, f"{type(error).__name__}: {reason}", is_well=False)


def _opencv_functions() -> str:
    import cv2

    missing = [name for name in CV2_FUNCTIONS if not callable(getattr(cv2, name, None))]
    if missing:
        raise ImportError(f"cv2 has no {', '.join(missing)}; install opencv-python-headless again")
    return f"all {len(CV2_FUNCTIONS)} that are used are there"


def _compiled_operators() -> str:
    """A pair that was not built for each other imports, and fails at the first compiled operator."""
    import torch
    import torchvision

    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 3.0], [8.0, 8.0, 9.0, 9.0]])
    kept = torchvision.ops.nms(boxes, torch.tensor([0.5, 0.9, 0.1]), iou_threshold=0.5).tolist()
    if kept != [1, 2]:
        raise RuntimeError(f"NMS of three boxes gave {kept}, expected [1, 2]")
    return f"{torch.__version__} and {torchvision.__version__} work together"


def _devices() -> str:
    import torch

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    built = torch.version.cuda
    if gpus:
        return f"{', '.join(gpus)} (CUDA {built})"
    return "no GPU; training on the CPU takes small configs (own_data_cpu)" + (
        f"; torch has CUDA {built}" if built else ""
    )


def _processor() -> str:
    import torch

    from detkit.runtime.cores import usable_cores

    return f"{usable_cores()} cores, {torch.backends.cpu.get_cpu_capability()}"


def learn_and_detect() -> str:
    """One step of a small Faster R-CNN on an image of its own, and its detections there."""
    import torch

    from detkit.build.detector import build_detector
    from detkit.config.loading import load_config
    from detkit.config.packaged import find_config
    from detkit.structures import Batch, Target

    torch.manual_seed(0)
    detector = build_detector(load_config(find_config("demo")), num_classes=2)
    size = torch.tensor([[96.0, 128.0]])
    target = Target(torch.tensor([[16.0, 16.0, 80.0, 80.0]]), torch.tensor([1]), torch.tensor([False]))
    batch = Batch(torch.zeros(1, 3, 96, 128, dtype=torch.uint8), size, size, ("self-test",), (target,))
    loss = torch.stack(list(detector(batch).values())).sum()
    torch.autograd.backward(loss)
    if not bool(loss.isfinite()):
        raise RuntimeError(f"the loss is {loss.item()}")
    with torch.no_grad():
        found = detector.eval().detect(batch)
    return f"a step of training (loss {loss.item():.2f}) and detecting ({len(found[0])} boxes) work"
