"""`model`: the systems of the family, and their parts behind the backbone."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from detkit.config.backbones import AnyBackbone
from detkit.config.base import Count, Fraction, NotNegative, Positive, Section


class RoIMaxPoolConfig(Section):
    kind: Literal["roi_pool"]
    size: Count | None = None  # cells a side; null: what the backbone was published with
    # What of x2, y2 is rounded: the last px inside (the published Caffe code), or the corner (simple-faster-rcnn).
    rounds: Literal["last_px", "corner"] = "last_px"


class RoIAlignConfig(Section):
    kind: Literal["roi_align"]
    size: Count | None = None
    sampling: Annotated[int, Field(ge=0)] = 2  # points along each side of a bin; 0: as many as the bin is wide
    # At half coordinates (Mask R-CNN), or at whole ones, boxes ending with the last px inside (maskrcnn-benchmark).
    pixel_centers: Literal["half", "integer"] = "half"


class RoICropConfig(Section):
    """Bilinear samples from edge to edge of the region: `crop` of faster-rcnn.pytorch."""

    kind: Literal["roi_crop"]
    size: Count | None = None
    max_pool: bool = False  # the largest of 2 x 2 samples a cell, instead of one; its CROP_RESIZE_WITH_MAX_POOL


class CornerAlignConfig(Section):
    """The mean of samples on the corners of each bin: `align` of faster-rcnn.pytorch's master branch."""

    kind: Literal["corner_align"]
    size: Count | None = None


class RPNConfig(Section):
    """Region proposal network; the numbers are those of py-faster-rcnn."""

    channels: Count = 512
    sizes: tuple[Positive, ...] = (128.0, 256.0, 512.0)  # px, square root of the anchor's area
    ratios: tuple[Positive, ...] = (0.5, 1.0, 2.0)  # height / width
    # On the middle of a cell; on its corner (detectron2); on its middle, with rounded sides (py-faster-rcnn).
    anchors: Literal["centered", "corner", "rounded"] = "centered"
    positive_iou: Fraction = 0.7
    negative_iou: Fraction = 0.3
    batch_per_image: Count = 256
    positive_fraction: Fraction = 0.5
    across_border: bool = False  # learn from anchors that leave the image, too
    box_weight: NotNegative = 1.0
    smooth_l1_beta: NotNegative = 1 / 9  # offsets below it count quadratically (sigma = 3 in py-faster-rcnn); 0: L1
    nms_iou: Fraction = 0.7
    min_side: NotNegative = 16.0  # px
    train_before_nms: Count = 12000
    train_after_nms: Count = 2000
    test_before_nms: Count = 6000
    test_after_nms: Count = 300


class HeadConfig(Section):
    """Scores and boxes of the regions: Fast R-CNN, with the numbers of end-to-end Faster R-CNN."""

    batch_per_image: Count = 128
    foreground_fraction: Fraction = 0.25
    foreground_iou: Fraction = 0.5
    background_iou: tuple[Fraction, Fraction] = (0.0, 0.5)  # [least, most)
    box_std: tuple[Positive, Positive, Positive, Positive] = (0.1, 0.1, 0.2, 0.2)
    class_agnostic: bool = False
    box_weight: NotNegative = 1.0
    smooth_l1_beta: NotNegative = 1.0  # Fast R-CNN, equation 3; 0: L1
    min_score: Fraction = 0.05
    nms_iou: Fraction = 0.3
    max_detections: Count = 100


class NoC(Section):
    """Layers of the detector's own after region pooling, counted as the NoC paper does: fcs includes the classifier."""

    convs: Annotated[int, Field(ge=0, le=3)] = 2
    fcs: Annotated[int, Field(ge=2, le=3)] = 3
    conv_channels: Count = 256  # NoC, section 3.2: 256 for ZF, 512 for VGG-16
    fc_dim: Count = 4096
    dropout: Fraction = 0.5


class Scales(Section):
    """The sizes images are looked at in, each region at its own."""

    sides: Annotated[tuple[Count, ...], Field(min_length=1)]  # px, shorter side
    combine: Literal["nearest", "maxout"] = "nearest"  # SPPNet: the best of them; NoC: two neighbours, maxout
    region_side: Positive = 224.0  # px, what a region should measure at its scale


class ProposalsConfig(Section):
    count: Count = 2000  # the best of an image; Fast R-CNN, section 4.1
    folder: str = "data/proposals"  # where they are kept; made when missing


class SelectiveSearchConfig(ProposalsConfig):
    kind: Literal["selective_search"]
    # 32 strategies, four times those of the paper's "Fast"; or the 80 of its "Quality" (proposals/selective_search.py).
    mode: Literal["fast", "quality"] = "fast"


class EdgeBoxesConfig(ProposalsConfig):
    kind: Literal["edge_boxes"]
    forest: str | None = None  # file of a structured-forest edge model; null: edges from colour gradients
    alpha: Fraction = 0.65  # EdgeBoxes, section 4: step of the sliding window, as IoU
    beta: Fraction = 0.75  # IoU at which of two boxes the worse is dropped


class ProposalFilesConfig(Section):
    """Proposals from elsewhere, or from an RPN: the images are looked up in all the files."""

    kind: Literal["files"]
    files: Annotated[tuple[str, ...], Field(min_length=1)]
    count: Count = 2000


# Boxes out of offsets as everywhere in detkit, or as py-faster-rcnn and fast-rcnn do: x2, y2 come out 1 px further.
BoxDecoding = Literal["continuous", "inclusive"]
AnyPool = Annotated[RoIMaxPoolConfig | RoIAlignConfig | RoICropConfig | CornerAlignConfig, Field(discriminator="kind")]
AnyProposals = Annotated[SelectiveSearchConfig | EdgeBoxesConfig | ProposalFilesConfig, Field(discriminator="kind")]


class FasterRCNN(Section):
    kind: Literal["faster_rcnn"]
    backbone: AnyBackbone
    pool: AnyPool
    scales: Scales | None = None  # null: one, of data.short_side
    noc: NoC | None = None  # null: the backbone's own tail (fc6-fc7, conv5)
    rpn: RPNConfig = Field(default_factory=RPNConfig)
    head: HeadConfig = Field(default_factory=HeadConfig)
    box_decoding: BoxDecoding = "continuous"
    global_context: bool = False  # score regions with the whole image in mind; ResNet paper, appendix B


class FastRCNN(Section):
    kind: Literal["fast_rcnn"]
    backbone: AnyBackbone
    pool: AnyPool
    scales: Scales | None = None
    noc: NoC | None = None
    proposals: AnyProposals
    head: HeadConfig = Field(default_factory=HeadConfig)
    box_decoding: BoxDecoding = "continuous"
    global_context: bool = False  # score regions with the whole image in mind; ResNet paper, appendix B


class SVMConfig(Section):
    """One linear SVM a class, with hard negatives; the numbers are those of R-CNN's code."""

    c: Positive = 1e-3
    positive_weight: Positive = 2.0
    bias_multiplier: Positive = 10.0
    feature_norm: Positive = 20.0  # features are scaled to this mean length
    negative_iou: Fraction = 0.3  # R-CNN, section 2.3: below it with every object of the class
    max_negative_overlap: Fraction | None = None  # of two negatives above it one is dropped; SPPNet: 0.7
    retrain_after: Count = 2000  # new hard negatives of a class
    min_score: Fraction = 0.05  # of a detection, as 1 / (1 + exp(-margin))
    nms_iou: Fraction = 0.3
    max_detections: Count = 100


class RegressionConfig(Section):
    """Ridge regression of the boxes (R-CNN, appendix C)."""

    ridge: Positive = 1000.0
    min_iou: Fraction = 0.6  # of a proposal with the object it learns to become
    features: Literal["pool5", "fc7"] = "pool5"  # of these; a network with average pooling has its conv5 in "fc7"


class Staged(Section):
    """What R-CNN and SPPNet share: fine-tuning, then SVMs, then box regression."""

    backbone: AnyBackbone
    proposals: AnyProposals
    head: HeadConfig  # fine-tuning: which regions the softmax learns from
    svm: SVMConfig = Field(default_factory=SVMConfig)
    regression: RegressionConfig = Field(default_factory=RegressionConfig)
    keep_features: bool = False  # leave the feature files in the run folder
    regions_at_once: Count = 256  # regions that go through the network together


class RCNN(Staged):
    kind: Literal["rcnn"]
    crop_side: Count = 224  # px; 227 for AlexNet and ZF
    pool_size: Count | None = None  # cells a side of pool5; null: what the backbone was published with
    context: Annotated[int, Field(ge=0)] = 16  # px of the crop on each side of the box; R-CNN, appendix A

    @model_validator(mode="after")
    def _room(self) -> "RCNN":
        if 2 * self.context >= self.crop_side:
            raise ValueError(f"context {self.context} px on each side leaves nothing of a crop of {self.crop_side} px")
        return self


class SPPNet(Staged):
    kind: Literal["sppnet"]
    levels: Annotated[tuple[Count, ...], Field(min_length=1)] = (6, 3, 2, 1)  # bins a side; 50 in all
    scales: Scales | None = None
    noc: NoC = Field(default_factory=lambda: NoC(convs=0))  # fc6-fc7


Model = Annotated[FasterRCNN | FastRCNN | RCNN | SPPNet, Field(discriminator="kind")]
