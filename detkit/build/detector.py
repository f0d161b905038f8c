"""From the configuration to the detector; with the other build_*.py the only place that matches on `kind`."""

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from torch import nn

from detkit.backbones.backbone import Backbone
from detkit.backbones.multi_scale import Frozen, MultiScale
from detkit.build.backbone import build_backbone, check_tail, shape_of
from detkit.config.base import Section
from detkit.config.models import (
    RCNN,
    AnyPool,
    CornerAlignConfig,
    EdgeBoxesConfig,
    FasterRCNN,
    FastRCNN,
    HeadConfig,
    NoC,
    RoIAlignConfig,
    RoICropConfig,
    RoIMaxPoolConfig,
    RPNConfig,
    Scales,
    SelectiveSearchConfig,
    SPPNet,
    SVMConfig,
)
from detkit.config.schema import Config, TestTime
from detkit.data.pipeline.prepare import Resize
from detkit.detectors.test_time import Merging, TestTimeDetector
from detkit.detectors.two_stage import TwoStageDetector
from detkit.detectors.views import View
from detkit.heads.noc import noc
from detkit.heads.proposals import FileProposals
from detkit.heads.roi_head import DetectionRule, HeadTraining, RoIHead
from detkit.heads.rpn import RPN, Anchors, RPNTraining, Selection
from detkit.ops.pooling import PyramidLevels, PyramidPool, RegionPool, RoIAlign, RoIMaxPool, WarpedCrop
from detkit.ops.sampled_pooling import CornerAlign, RoICrop
from detkit.ops.suppression import Decay, gaussian_decay, linear_decay
from detkit.proposals.make import Proposer
from detkit.staged.detector import StagedDetector
from detkit.staged.region_network import RegionNetwork, RegionTail
from detkit.staged.svm import SVMRule

Numbers = TypeVar("Numbers", RPNTraining, HeadTraining, DetectionRule)  # values whose fields a section declares


def build_detector(config: Config, num_classes: int) -> TwoStageDetector:
    """The network that is trained; for R-CNN and SPPNet the one that is fine-tuned before the SVMs."""
    model = config.model
    backbone = build_backbone(model.backbone)
    match model:
        case RCNN():
            if model.pool_size is not None:
                check_tail(model.backbone, model.pool_size)
            return TwoStageDetector(
                replace(backbone, features=nn.Identity()), FileProposals(), _crop_head(model, backbone, num_classes)
            )
        case SPPNet():
            pool = _at_scales(PyramidPool(model.levels, backbone.stride, backbone.offset), model.scales)
            fc = RegionTail(nn.Identity(), _noc(model.noc, backbone.channels, pool.cells))
            head = _head(model.head, pool, fc, model.noc.fc_dim, num_classes, model.regions_at_once)
            return TwoStageDetector(_frozen(_multi_scale(backbone, scale_factors(config))), FileProposals(), head)
        case FastRCNN() | FasterRCNN():
            pool = _at_scales(build_pool(model.pool, backbone), model.scales)
            noc = model.noc
            if noc is None and model.pool.size is not None:
                check_tail(model.backbone, model.pool.size)
            tail = backbone.tail if noc is None else _noc(noc, backbone.channels, pool.cells)
            tail_dim = backbone.tail_dim if noc is None else noc.fc_dim
            inclusive = model.box_decoding == "inclusive"
            proposals = _rpn(model.rpn, backbone, inclusive) if isinstance(model, FasterRCNN) else FileProposals()
            head = _head(
                model.head, pool, tail, tail_dim, num_classes, None, inclusive, global_context=model.global_context
            )
            return TwoStageDetector(_multi_scale(backbone, scale_factors(config)), proposals, head)


def build_staged_detector(config: Config, num_classes: int) -> StagedDetector:
    """An R-CNN or SPPNet with SVMs and box regressors, their numbers still to be loaded."""
    model = config.model
    assert isinstance(model, RCNN | SPPNet)
    network = region_network(build_detector(config, num_classes), model)
    rule = _numbers(DetectionRule, model.svm)
    pool5_dim, fc7_dim = region_dims(config)
    regressed = pool5_dim if model.regression.features == "pool5" else fc7_dim
    return StagedDetector(network, num_classes, fc7_dim, regressed, model.regression.features, rule)


def build_test_time(
    options: TestTime, members: Sequence[tuple[TwoStageDetector, Config, tuple[int, ...]]]
) -> TestTimeDetector:
    """The detectors, each with its config and its classes' labels, as one that detects with the options.

    The first one's rule decides. Raises ValueError where `scales` meet a detector that has several of its own, and for
    `shared_regions` of a single look.
    """
    views = []
    for detector, config, labels in members:
        model, short, long = config.model, config.data.short_side, config.data.long_side
        assert isinstance(model, FastRCNN | FasterRCNN)
        if options.scales and model.scales is not None:
            raise ValueError(
                f"test-time option scales {list(options.scales)}: the detector looks at several sizes already "
                f"(model.scales.sides {list(model.scales.sides)}); leave one of them out"
            )
        for side in options.scales or (short,):
            resize = Resize(side, round(long * side / short))
            views += [View(detector, resize, mirrored, labels) for mirrored in (False, True)[: 1 + options.flip]]
    if options.shared_regions and len(views) == 1:
        raise ValueError("test-time option shared_regions: there is one look only; add flip, scales or an ensemble")
    merging = Merging(_decay(options.soft_nms, members[0][1].model.head.nms_iou), options.box_voting)
    return TestTimeDetector(views, merging, options.refine, options.shared_regions)


def _decay(kind: Literal["linear", "gaussian"] | None, nms_iou: float) -> Decay | None:
    match kind:
        case None:
            return None
        case "linear":
            return partial(linear_decay, min_iou=nms_iou)
        case "gaussian":
            return gaussian_decay


def region_network(detector: TwoStageDetector, model: RCNN | SPPNet) -> RegionNetwork:
    """The parts of the fine-tuned `detector` that features are taken from."""
    tail = detector.head.tail
    assert isinstance(tail, RegionTail)
    return RegionNetwork(detector.preprocess, detector.features, detector.head.pool, tail, model.regions_at_once)


def region_dims(config: Config) -> tuple[int, int]:
    """Lengths of pool5 and fc7 of a region."""
    backbone = shape_of(config.model.backbone)
    match config.model:
        case RCNN(pool_size=size):
            return backbone.channels * (size or backbone.pool_size) ** 2, backbone.tail_dim
        case SPPNet(levels=levels, noc=noc):
            return backbone.channels * sum(level * level for level in levels), noc.fc_dim
        case _:
            raise AssertionError(config.model.kind)


def map_shape(config: Config) -> tuple[int, int]:
    """Channels and stride of the feature maps."""
    backbone = shape_of(config.model.backbone)
    return backbone.channels, backbone.stride


def build_svm_rule(svm: SVMConfig, seed: int) -> SVMRule:
    return SVMRule(
        C=svm.c,
        positive_weight=svm.positive_weight,
        bias_multiplier=svm.bias_multiplier,
        feature_norm=svm.feature_norm,
        retrain_after=svm.retrain_after,
        seed=seed,
    )


def scale_factors(config: Config) -> tuple[float, ...]:
    """Sizes of the images the convolutions are applied to, as factors on the batch's; (1,) without scales."""
    scales = None if isinstance(config.model, RCNN) else config.model.scales
    return (1.0,) if scales is None else tuple(sorted(side / config.data.short_side for side in scales.sides))


def build_proposer(section: SelectiveSearchConfig | EdgeBoxesConfig) -> tuple[str, Proposer]:
    """The method's name, as it stands in files of its proposals, and the method."""
    match section:
        case SelectiveSearchConfig(mode=mode):
            from detkit.proposals.selective_search import selective_search  # numba takes a second to import

            return f"selective_search_{mode}", partial(selective_search, mode=mode)
        case EdgeBoxesConfig(forest=forest):
            from detkit.proposals.edge_boxes import EdgeBoxesRule, edge_boxes
            from detkit.proposals.edge_map import GradientEdges
            from detkit.proposals.structured_forest import StructuredForest

            edges = GradientEdges() if forest is None else StructuredForest.load(Path(forest))
            rule = EdgeBoxesRule(alpha=section.alpha, beta=section.beta)
            return f"edge_boxes_{edges.name.replace(chr(32), chr(95))}", partial(edge_boxes, detector=edges, rule=rule)


def build_pool(section: AnyPool, backbone: Backbone) -> RegionPool:
    size = section.size or backbone.pool_size
    match section:
        case RoIMaxPoolConfig():
            return RoIMaxPool(size, backbone.stride, backbone.offset, section.rounds)
        case RoIAlignConfig():
            return RoIAlign(size, backbone.stride, section.sampling, backbone.offset, section.pixel_centers)
        case RoICropConfig():
            return RoICrop(size, backbone.stride, section.max_pool, backbone.offset)
        case CornerAlignConfig():
            return CornerAlign(size, backbone.stride, backbone.offset)


def _multi_scale(backbone: Backbone, factors: Sequence[float]) -> Backbone:
    return backbone if tuple(factors) == (1.0,) else replace(backbone, features=MultiScale(backbone.features, factors))


def _at_scales(pool: RegionPool, scales: Scales | None) -> RegionPool:
    if scales is None or len(scales.sides) == 1:
        return pool
    return PyramidLevels(pool, scales.combine, scales.region_side)


def _frozen(backbone: Backbone) -> Backbone:
    return replace(backbone, features=Frozen(backbone.features))  # SPPNet, section 4.2: only the fc layers are trained


def _noc(section: NoC, channels: int, cells: int) -> nn.Sequential:
    return noc(channels, cells, section.convs, section.conv_channels, section.fcs, section.fc_dim, section.dropout)


def _rpn(rpn: RPNConfig, backbone: Backbone, inclusive: bool) -> RPN:
    return RPN(
        backbone.channels,
        rpn.channels,
        Anchors(
            sizes=rpn.sizes, ratios=rpn.ratios, stride=backbone.stride, offset=backbone.offset, placing=rpn.anchors
        ),
        _numbers(RPNTraining, rpn),
        train=Selection(
            before_nms=rpn.train_before_nms,
            after_nms=rpn.train_after_nms,
            nms_iou=rpn.nms_iou,
            min_side=rpn.min_side,
        ),
        test=Selection(
            before_nms=rpn.test_before_nms,
            after_nms=rpn.test_after_nms,
            nms_iou=rpn.nms_iou,
            min_side=rpn.min_side,
        ),
        inclusive=inclusive,
    )


def _crop_head(model: RCNN, backbone: Backbone, num_classes: int) -> RoIHead:
    to_pool5 = nn.Sequential(backbone.features, nn.AdaptiveMaxPool2d(model.pool_size or backbone.pool_size))
    pool = WarpedCrop(model.crop_side, model.context)
    tail = RegionTail(to_pool5, backbone.tail)
    return _head(model.head, pool, tail, backbone.tail_dim, num_classes, model.regions_at_once)


def _head(
    head: HeadConfig,
    pool: RegionPool,
    tail: nn.Module,
    tail_dim: int,
    num_classes: int,
    regions_at_once: int | None = None,
    inclusive: bool = False,
    global_context: bool = False,
) -> RoIHead:
    return RoIHead(
        pool,
        tail,
        tail_dim,
        num_classes,
        class_agnostic=head.class_agnostic,
        box_std=head.box_std,
        training=_numbers(HeadTraining, head),
        rule=_numbers(DetectionRule, head),
        regions_at_once=regions_at_once,
        inclusive=inclusive,
        global_context=global_context,
    )


def _numbers(kind: type[Numbers], section: Section) -> Numbers:
    """The fields of a section that the value has, too, as that value: their names are the same."""
    names = {field.name for field in fields(kind)}
    return kind(**section.model_dump(include=names))
