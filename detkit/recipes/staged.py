"""The staged pipelines of R-CNN and SPPNet: fine-tuning, features on disk, one SVM a class, box regression.

Each stage leaves one output, whole or not there, so that the same command goes on after a kill: the steps of the
fine-tuning, the features image by image, the SVMs, the regressors. Features are removed when no stage needs them.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from detkit.build.data import build_resize
from detkit.build.detector import (
    build_detector,
    build_staged_detector,
    build_svm_rule,
    map_shape,
    region_dims,
    region_network,
    scale_factors,
)
from detkit.config.models import RCNN, SPPNet
from detkit.config.schema import Config
from detkit.data.pipeline.proposal_file import WithProposals
from detkit.engine import checkpoint
from detkit.recipes.session import Session
from detkit.runtime.console import track
from detkit.staged.bbox_regressor import BoxRegressors, Pairs, fit_regressors
from detkit.staged.candidates import CandidateRule
from detkit.staged.feature_store import require_room
from detkit.staged.region_network import RegionNetwork
from detkit.staged.svm import NORM_IMAGES, Examples, LinearSVMs, mean_norm, train_svms
from detkit.staged.vectors import CropVectors, ImageSource, MapVectors, Vectors

FINETUNE = "finetune"
SVMS, REGRESSORS = "svms.pt", "regressors.pt"
FEATURES = "features"  # folder
SAFETY = 1.05  # networks that round sizes up, as Caffe's do, make maps a row larger than counted


def train_staged(session: Session) -> None:
    """All stages, or what is left of them, and model.pt."""
    config, folder = session.config, session.folder
    if (folder / "model.pt").is_file():
        return
    if session.world.size > 1:
        raise ValueError("R-CNN and SPPNet are trained by one process; start detkit train without torchrun")
    torch.manual_seed(config.train.seed)
    detector = build_detector(config, len(session.dataset.classes))
    session.fit(detector, config.train, session.dataset, FINETUNE)
    network = region_network(detector, _staged(config))
    source = _source(session)
    if not ((folder / SVMS).is_file() and (folder / REGRESSORS).is_file()):
        _fit_stages(session, source, _vectors(config, source, network, folder))
    svms = LinearSVMs.from_tensors(checkpoint.load(folder / SVMS))
    regressors = BoxRegressors.from_tensors(checkpoint.load(folder / REGRESSORS))
    whole = build_staged_detector(config, len(session.dataset.classes))
    whole.network.load_state_dict(network.state_dict())
    whole.load_fitted(svms, regressors)
    session.finish(whole, config.train.steps, [FINETUNE])
    if not _staged(config).keep_features:
        shutil.rmtree(folder / FEATURES, ignore_errors=True)


def _fit_stages(session: Session, source: ImageSource, vectors: Vectors) -> None:
    """The features, then svms.pt and regressors.pt, each unless it is there."""
    folder, model = session.folder, _staged(session.config)
    features = folder / FEATURES
    needed = vectors.needed_bytes()
    if needed:
        require_room(features, round(needed * SAFETY), f"features of {len(source)} images")
        with session.times(FEATURES):
            for index in track(range(len(source)), "features"):
                vectors.prepare(index)
    session.times.add(FEATURES, 0.0, sum(file.stat().st_size for file in features.rglob("*") if file.is_file()))
    if not (folder / SVMS).is_file():
        with session.times("svms"):
            checkpoint.save(_train_svms(session, source, vectors).tensors(), folder / SVMS)
    if not model.keep_features:
        shutil.rmtree(features / "fc7", ignore_errors=True)  # R-CNN's, by far the largest
    with session.times("regressors"):
        checkpoint.save(_fit_regressors(session, source, vectors).tensors(), folder / REGRESSORS)


def _train_svms(session: Session, source: ImageSource, vectors: Vectors) -> LinearSVMs:
    def read(index: int) -> Examples:
        found = source.candidates(index)
        return Examples(vectors.fc7(index, slice(None)), found.positive_of, found.negative_for)

    def read_objects(index: int) -> Examples:
        found = source.candidates(index)
        objects = slice(int((found.positive_of >= 0).sum()))  # they come first
        return Examples(vectors.fc7(index, objects), found.positive_of[objects], found.negative_for[objects])

    seed = session.config.train.seed
    order = torch.randperm(len(source), generator=torch.Generator().manual_seed(seed)).tolist()
    rule = build_svm_rule(_staged(session.config).svm, seed)
    return train_svms(read, read_objects, order, len(session.dataset.classes), rule, track)


def _fit_regressors(session: Session, source: ImageSource, vectors: Vectors) -> BoxRegressors:
    def pairs_of(label: int) -> Iterator[Pairs]:
        for index in range(len(source)):
            found = candidates_of[index]
            mine = found.labels == label
            if bool(mine.any()):
                yield Pairs(vectors.regressed(index)[mine], found.offsets[mine])

    candidates_of = [source.candidates(index) for index in range(len(source))]
    some = [index for index, found in enumerate(candidates_of) if len(found.labels)]
    step = -(-len(some) // NORM_IMAGES) or 1
    model = _staged(session.config)
    scale = model.svm.feature_norm / mean_norm(vectors.regressed(index) for index in some[::step])
    return fit_regressors(pairs_of, len(session.dataset.classes), scale, model.regression.ridge)


def _source(session: Session) -> ImageSource:
    model = _staged(session.config)
    rule = CandidateRule(model.svm.negative_iou, model.svm.max_negative_overlap, model.regression.min_iou)
    assert isinstance(session.dataset, WithProposals)
    return ImageSource(session.dataset, build_resize(session.config), rule, session.world.device)


def _vectors(config: Config, source: ImageSource, network: RegionNetwork, folder: Path) -> Vectors:
    model = _staged(config)
    from_pool5 = model.regression.features == "pool5"
    if isinstance(model, RCNN):
        needed = {"fc7": SVMS, "regressed": REGRESSORS}
        wanted = [name for name, output in needed.items() if not (folder / output).is_file()]
        return CropVectors(source, network, folder / FEATURES, from_pool5, region_dims(config), wanted)
    return MapVectors(source, network, folder / FEATURES, from_pool5, scale_factors(config), *map_shape(config))


def _staged(config: Config) -> RCNN | SPPNet:
    assert isinstance(config.model, RCNN | SPPNet)
    return config.model
