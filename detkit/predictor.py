"""A trained detector in use: `detkit.load(path).predict(images)`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detkit.build import build_detector, build_proposer, build_resize, build_staged_detector
from detkit.config import parse_config
from detkit.data.images import read_image
from detkit.data.loader import collate
from detkit.data.transforms import Resize
from detkit.detectors.two_stage import TwoStageDetector
from detkit.engine.checkpoint import load_model
from detkit.engine.inference import Detector, prepare
from detkit.heads.compression import compress_tail
from detkit.sections import RCNN, Config, FasterRCNN, ProposalFilesSection, SPPNet
from detkit.staged.detector import StagedDetector
from detkit.structures import Detections, Sample

Picture = str | Path | NDArray[np.uint8] | Tensor  # a file; (H, W, 3) uint8 RGB; (3, H, W) uint8 RGB
BATCH = 4  # images at once


class Predictor:
    """A detector, its class names and the size it wants pictures in."""

    def __init__(self, detector: Detector, classes: tuple[str, ...], config: Config, device: torch.device) -> None:
        self.detector, self.classes, self.config, self.device = detector, classes, config, device
        self.resize: Resize = build_resize(config)

    def predict(self, images: Picture | Sequence[Picture], min_score: float = 0.05) -> Detections | list[Detections]:
        """Detections in one picture, or a list of them for several, best first, in pixels of each picture.

        Raises ValueError for what is no picture: the message names it.
        """
        if isinstance(images, Sequence) and not isinstance(images, str):
            return self.predict_all(images, min_score)
        return self.predict_all([images], min_score)[0]

    def predict_all(self, images: Sequence[Picture], min_score: float = 0.05) -> list[Detections]:
        """Detections in each of several pictures."""
        found: list[Detections] = []
        for start in range(0, len(images), BATCH):
            samples = [self._with_proposals(_as_sample(image)) for image in images[start : start + BATCH]]
            batch = collate([self.resize(sample) for sample in samples]).to(self.device)
            found += self.detector.detect(batch)
        return [_at_least(one, min_score) for one in found]

    def _with_proposals(self, sample: Sample) -> Sample:
        """The sample with what the detector starts from; an RPN starts from the picture alone."""
        model = self.config.model
        if isinstance(model, FasterRCNN):
            return sample
        if isinstance(model.proposals, ProposalFilesSection):
            raise ValueError(
                f"{sample.image_id}: this detector takes its proposals from files, which have none for other pictures; "
                "use one that was trained on selective_search or edge_boxes"
            )
        _, propose = build_proposer(model.proposals)
        boxes, _ = propose(np.ascontiguousarray(sample.image.permute(1, 2, 0).numpy()))
        return replace(sample, proposals=torch.from_numpy(boxes[: model.proposals.count]))


def load(path: str | Path, device: str | torch.device | None = None, svd: Sequence[int] = ()) -> Predictor:
    """The detector in `path`, a model.pt or the folder of a run, on `device` (default: a GPU where there is one).

    `svd`: ranks that fc6 and fc7 are cut to, for speed (Fast R-CNN, section 3.1: 1024 and 256). Raises ValueError when
    the file cannot be read, or its detector has no such layers.
    """
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
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    prepare(detector, where)
    return Predictor(detector, saved.classes, config, where)


def _compress(detector: TwoStageDetector | StagedDetector, ranks: Sequence[int]) -> None:
    if isinstance(detector, TwoStageDetector):
        compress_tail(detector.head.tail, ranks)
    else:
        compress_tail(detector.network.tail.tail, ranks)


def _as_sample(picture: Picture) -> Sample:
    match picture:
        case str() | Path():
            return _sample(torch.from_numpy(read_image(Path(picture))).permute(2, 0, 1), name=str(picture))
        case np.ndarray():
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
                raise ValueError(f"array {picture.shape} {picture.dtype}: expected (H, W, 3) uint8, RGB")
            return _sample(torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1), name="array")
        case Tensor():
            if picture.dtype != torch.uint8 or picture.ndim != 3 or picture.shape[0] != 3:
                raise ValueError(f"tensor {tuple(picture.shape)} {picture.dtype}: expected (3, H, W) uint8, RGB")
            return _sample(picture.cpu(), name="tensor")
        case _:
            raise ValueError(f"{type(picture).__name__}: expected a path, an (H, W, 3) array or a (3, H, W) tensor")


def _sample(image: Tensor, name: str) -> Sample:
    height, width = image.shape[1:]
    if not height or not width:
        raise ValueError(f"{name}: a picture of {height} x {width} px")
    return Sample(name, image, (height, width))


def _at_least(found: Detections, min_score: float) -> Detections:
    count = int((found.scores >= min_score).sum())  # best first
    return Detections(found.boxes[:count], found.scores[:count], found.labels[:count])
