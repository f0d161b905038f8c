"""A trained detector in use: `detkit.load(path).predict(images)`."""

from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TypeVar, overload

import torch

from detkit.build.data import build_resize
from detkit.build.detector import build_detector, build_proposer, build_staged_detector, build_test_time
from detkit.config.loading import parse_config
from detkit.config.models import RCNN, FasterRCNN, ProposalFilesConfig, SPPNet
from detkit.config.schema import Config, TestTime
from detkit.data.io.image_sources import ImageSource, OpenImage, is_one, listed, open_image
from detkit.data.pipeline.prepare import Resize, as_tensor, collate
from detkit.detectors.two_stage import TwoStageDetector
from detkit.engine.checkpoint import load_model
from detkit.engine.inference import Detector, prepare
from detkit.heads.compression import compress_tail
from detkit.results import Result
from detkit.runtime.console import track
from detkit.staged.detector import StagedDetector
from detkit.structures import Batch, Clock, Sample, no_clock

T = TypeVar("T")

BATCH = 4  # images at once
MIN_SCORE = 0.05
NOTHING_MORE = TestTime()


class Predictor:
    """A detector, its class names and the size it wants images in."""

    def __init__(
        self,
        detector: Detector,
        classes: tuple[str, ...],
        config: Config,
        device: torch.device,
        resize: Resize | None = None,
    ) -> None:
        """`resize`: to what the detector wants; None: what the config says."""
        self.detector, self.classes, self.config, self.device = detector, classes, config, device
        self.resize: Resize = resize or build_resize(config)
        self.deep_range = config.data.known_deep_range

    def __repr__(self) -> str:
        """Such as "Predictor(faster_rcnn, resnet 50, 3 classes: RBC, WBC, Platelets, images of 600 px, on cpu)"."""
        backbone, names = self.config.model.backbone, ", ".join(self.classes[:3])
        size = getattr(backbone, "depth", None) or getattr(backbone, "name", "")  # of those kinds that have it
        more = ", ..." if len(self.classes) > 3 else ""
        side = "as stored" if self.resize.short_side is None else f"of {self.resize.short_side} px"
        return (
            f"Predictor({self.config.model.kind}, {backbone.kind} {size}".rstrip()
            + f", {len(self.classes)} classes: {names}{more}, images {side}, on {self.device})"
        )

    @overload
    def predict(  # type: ignore[overload-overlap]  # a str is also Iterable[str]
        self, images: ImageSource, min_score: float = ..., batch_size: int = ..., progress: bool = ...
    ) -> Result: ...

    @overload
    def predict(
        self, images: Iterable[ImageSource], min_score: float = ..., batch_size: int = ..., progress: bool = ...
    ) -> list[Result]: ...

    def predict(
        self,
        images: ImageSource | Iterable[ImageSource],
        min_score: float = MIN_SCORE,
        batch_size: int = BATCH,
        progress: bool = False,
    ) -> Result | list[Result]:
        """Detections of at least `min_score` in one image, or a list of them for a folder, a list or a generator.

        An image is a path, an http(s) URL, the bytes of a file, a PIL image, an array (H, W, 3) or grey (H, W), or a
        tensor (3, H, W), of uint8 RGB; an array may be uint16. Boxes are in its own pixels. More than 8 bits a channel
        are scaled by the range that training found (data.deep_range); where it met none, by each image's own, with a
        warning. `min_score` holds whatever the detector's configuration says. `progress` shows a bar. Raises
        ValueError for what is no image: the message names it. Threads can share a predictor.

        A type checker cannot tell the path of a folder from that of an image and expects a Result of either; of
        `[folder]`, which finds the same, it expects the list.
        """
        sources = listed(images)
        total = len(sources) if isinstance(sources, Sized) else None
        found = self.stream(sources, min_score, batch_size)
        results = list(track(found, "detecting", total) if progress else found)
        return results[0] if is_one(images) else results

    def stream(
        self, images: ImageSource | Iterable[ImageSource], min_score: float = MIN_SCORE, batch_size: int = BATCH
    ) -> Iterator[Result]:
        """As `predict`, one by one as they are found: for more images than memory holds, such as those of a video."""
        if not 0 <= min_score <= 1 or batch_size < 1:
            raise ValueError(f"min_score {min_score:g}, batch_size {batch_size}: expected 0 to 1, and at least 1")
        for group in in_groups(map(self.open, listed(images)), batch_size):
            yield from self.detect(group, min_score)

    def open(self, image: ImageSource) -> OpenImage:
        """Decode an image; deep ones by the range of values that the detector was trained with."""
        return open_image(image, self.deep_range)

    def detect(self, images: Sequence[OpenImage], min_score: float = MIN_SCORE) -> list[Result]:
        """As `predict`, in images that are open already: one batch."""
        batch = self.batch([self.sample(image) for image in images])
        return [
            Result(
                found.boxes,
                found.scores,
                found.labels,
                self.classes,
                image.name,
                image.size,
                image.origin,
                image.deep_range,
            )
            for image, found in zip(images, self.detector.detect(batch, min_score=min_score), strict=True)
        ]

    def batch(self, samples: Sequence[Sample]) -> Batch:
        """Samples that `sample` made, as the detector takes them."""
        return collate([self.resize(sample) for sample in samples]).to(self.device)

    def sample(self, image: OpenImage, clock: Clock = no_clock) -> Sample:
        """The image with what the detector starts from; an RPN starts from the image alone."""
        sample = Sample(image.name, as_tensor(image.pixels), image.size)
        model = self.config.model
        if isinstance(model, FasterRCNN):
            return sample
        if isinstance(model.proposals, ProposalFilesConfig):
            raise ValueError(
                f"{image.name}: this detector takes its proposals from files, which have none for other images; "
                "use one that was trained on selective_search or edge_boxes"
            )
        with clock("proposals"):
            _, propose = build_proposer(model.proposals)
            boxes, _ = propose(image.pixels)
        return replace(sample, proposals=torch.from_numpy(boxes[: model.proposals.count]))


def in_groups(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of `size`, the last one shorter."""
    rest = iter(items)
    while group := list(islice(rest, size)):
        yield group


def load(
    path: str | Path,
    device: str | torch.device | None = None,
    svd: Sequence[int] = (),
    test_time: TestTime = NOTHING_MORE,
    ensemble: Sequence[str | Path] = (),
) -> Predictor:
    """The detector in `path`, a model.pt or the folder of a run, on `device` (default: a GPU where there is one).

    `svd`: ranks that fc6 and fc7 are cut to, for speed (Fast R-CNN, section 3.1: 1024 and 256). `test_time`: what is
    done on top; `ensemble`: further runs that detect together with the first (both: detectors/test_time.py).
    Raises ValueError when a file cannot be read, its detector has no such layers, or there is no such device; and for
    runs that take no test-time options or do not go together.
    """
    where = _device(device)
    first = _load_one(path, where, svd)
    if test_time == NOTHING_MORE and not ensemble:
        return first
    others = [(one, _load_one(one, where, svd)) for one in ensemble]
    members = [_member(one, predictor, first) for one, predictor in [(path, first), *others]]
    as_stored = Resize(None, first.config.data.long_side)  # each view resizes for itself
    return Predictor(build_test_time(test_time, members), first.classes, first.config, where, as_stored)


def _member(path: str | Path, one: Predictor, first: Predictor) -> tuple[TwoStageDetector, Config, tuple[int, ...]]:
    """A detector, its config, and the labels of its classes in `first`. Raises ValueError where they do not fit."""
    model = one.config.model
    if not isinstance(one.detector, TwoStageDetector) or isinstance(model, RCNN | SPPNet):
        raise ValueError(
            f"{path}: test-time options and ensembles are for fast_rcnn and faster_rcnn, this is {model.kind}: "
            "its boxes are regressed after NMS; leave them out"
        )
    if set(one.classes) != set(first.classes):
        differing = sorted(set(one.classes) ^ set(first.classes))
        raise ValueError(f"{path}: its classes are not those of the first run of the ensemble: {', '.join(differing)}")
    takes = None if isinstance(model, FasterRCNN) else model.proposals
    given = None if isinstance(first.config.model, FasterRCNN) else first.config.model.proposals
    if takes not in (None, given):
        raise ValueError(f"{path}: its proposals are not those of the first run of the ensemble; name it first")
    return one.detector, one.config, tuple(first.classes.index(name) for name in one.classes)


def _load_one(path: str | Path, where: torch.device, svd: Sequence[int]) -> Predictor:
    saved = load_model(Path(path))
    config = parse_config(saved.config, source=str(path))
    # The weights are in the file: where training started from is of no concern any more.
    backbone = config.model.backbone.model_copy(update={"weights": None})
    config = config.model_copy(update={"model": config.model.model_copy(update={"backbone": backbone})})
    build = build_staged_detector if isinstance(config.model, RCNN | SPPNet) else build_detector
    detector = build(config, len(saved.classes))
    try:
        detector.load_state_dict(saved.weights)
    except RuntimeError as error:
        raise ValueError(f"{path}: its weights do not fit its config: {error}") from error
    if svd:
        _compress(detector, svd)
    prepare(detector, where)
    return Predictor(detector, saved.classes, config, where)


def _device(name: str | torch.device | None) -> torch.device:
    """Raises ValueError for a device that this machine does not have."""
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.zeros(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch asserts that it was built for the device
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {str(name)!r}: cannot be used ({reason}); use 'cpu', or leave it out") from None
    return device


def _compress(detector: TwoStageDetector | StagedDetector, ranks: Sequence[int]) -> None:
    if isinstance(detector, TwoStageDetector):
        compress_tail(detector.head.tail, ranks)
    else:
        compress_tail(detector.network.tail.tail, ranks)
