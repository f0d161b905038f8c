"""The sections of a configuration: every key, its type, its range and its default, with where the default is from.

Only detkit/build.py reads the sections; everything else takes plain arguments. config.py reads the files.
"""

import json
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Augment(Section):
    """What training changes at random in a picture; the papers flip and do nothing else."""

    horizontal_flip: Fraction = 0.5
    vertical_flip: Fraction = 0.0
    quarter_turns: Fraction = 0.0  # turn by 90, 180 or 270 degrees: for pictures without an up, such as microscopy
    scale_jitter: tuple[Positive, Positive] | None = None  # factor on the short side, drawn log-uniformly
    photometric: Fraction = 0.0  # brightness, contrast, saturation, hue
    safe_crop: Fraction = 0.0  # a random crop that loses no object

    @model_validator(mode="after")
    def _ordered(self) -> "Augment":
        if self.scale_jitter and self.scale_jitter[0] > self.scale_jitter[1]:
            raise ValueError(f"scale_jitter is (least, most), got {list(self.scale_jitter)}")
        return self


class Pictures(Section):
    """What every kind of data set has: the size pictures are brought to, and how training reads them."""

    short_side: Count = 600  # px; Fast R-CNN, section 4.1
    long_side: Count = 1000  # px, at most
    augment: Augment = Augment()
    group_by_aspect: bool = True  # wide and tall pictures in separate batches: less padding
    workers: Annotated[int, Field(ge=0)] = 2  # processes that decode, for each training process


FormName = Literal["voc", "coco", "yolo"]


class Folder(Section):
    """A folder in the form of PASCAL VOC, COCO or YOLO, and what its classes are called here."""

    kind: FormName
    root: str
    rename: dict[str, str] = {}  # name in the files: name here
    other_classes: Literal["error", "drop"] = "error"  # objects that are of none of `classes`


class Source(Folder):
    """Another data set to learn from, brought to the classes of the first by name."""

    splits: Annotated[tuple[str, ...], Field(min_length=1)]
    other_classes: Literal["error", "drop"] = "drop"


class FolderData(Pictures, Folder):
    """What is learned from and tested on.

    A split is "trainval", "VOC2007/trainval" in a sub-folder of root, or "train2017" for instances_train2017.json;
    "all[:80%]" is four fifths of one, chosen by the ids.
    """

    kind: FormName  # again: what tells sections apart must be their own
    classes: tuple[str, ...] | None = None  # null: those of the training splits
    train: Annotated[tuple[str, ...], Field(min_length=1)]
    val: tuple[str, ...] = ()  # the best weights are chosen here, never on test
    test: tuple[str, ...]
    also: tuple[Source, ...] = ()  # further data sets to train on


class ShapesData(Pictures):
    """The built-in set of rendered scenes, written to root when it is not there yet."""

    kind: Literal["shapes"]
    root: str = "data/shapes"
    seed: Annotated[int, Field(ge=0)] = 0
    long_sides: tuple[Count, Count] = (220, 300)  # px, of pictures
    object_sizes: tuple[Count, Count] = (20, 180)  # px, longer side of an object
    num_train: Count = 400
    num_val: Count = 60
    num_test: Count = 120


class Pixels(Section):
    """What a network's pixels were brought to, where that is not what its layout says (backbones/preprocess.py)."""

    mean: tuple[float, float, float]  # red, green, blue, of 0..255
    std: tuple[Positive, Positive, Positive] = (1.0, 1.0, 1.0)
    order: Literal["rgb", "bgr"] = "rgb"  # of the channels that the network reads


class ResNet(Section):
    kind: Literal["resnet"]
    depth: Literal[18, 34, 50, 101, 152] = 101
    layout: Literal["torchvision", "msra"] = "torchvision"  # stride of a bottleneck in its 3x3, or in its first 1x1
    # The pooling behind conv1: with a cell of padding all round (torchvision), or none and sizes rounded up (Caffe).
    first_pool: Literal["padded", "ceil"] = "padded"
    norm: Literal["frozen", "batch", "group"] = "frozen"  # ResNet paper, appendix A: batch norm fixed
    frozen_stages: Annotated[int, Field(ge=0, le=4)] = 2  # 1: conv1; 2: conv1 and conv2_x; ... 4: through conv4_x
    pixels: Pixels | None = None  # null: those of the layout
    weights: str | None = "imagenet"  # imagenet | a file with a state dict | null: from scratch


class VGG(Section):
    kind: Literal["vgg"]
    depth: Literal[11, 13, 16, 19] = 16
    layout: Literal["torchvision", "caffe"] = "torchvision"  # whose weights: RGB scaled, or BGR minus the mean
    norm: Literal["none", "batch"] = "none"
    frozen_stages: Annotated[int, Field(ge=0, le=5)] = 2  # conv1 and conv2; Fast R-CNN, section 4.5
    width: Fraction = 1.0  # part of the published number of channels
    fc_dim: Count = 4096
    pixels: Pixels | None = None
    weights: str | None = "imagenet"


class ZFNet(Section):
    kind: Literal["zfnet"]
    frozen_stages: Annotated[int, Field(ge=0, le=5)] = 0  # the published ZF models train every layer
    width: Fraction = 1.0
    fc_dim: Count = 4096
    pixels: Pixels | None = None
    weights: str | None


class VGGM(Section):
    """VGG_CNN_M_1024, "M" of the Fast R-CNN paper (Chatfield et al. 2014)."""

    kind: Literal["vgg_m"]
    frozen_stages: Annotated[int, Field(ge=0, le=5)] = 1  # Fast R-CNN, section 4.5: conv1 is fixed
    width: Fraction = 1.0
    fc_dim: Count = 4096  # of fc6
    fc7_dim: Count = 1024
    weights: str | None


class PreResNet(Section):
    """Pre-activation ResNet (He et al. 2016b)."""

    kind: Literal["preresnet"]
    depth: Literal[18, 34, 50, 101, 152, 200] = 101
    norm: Literal["frozen", "batch", "group"] = "frozen"
    frozen_stages: Annotated[int, Field(ge=0, le=4)] = 2
    weights: str | None


class TimmBackbone(Section):
    """Any network of timm with a stage at stride 16."""

    kind: Literal["timm"]
    name: str
    norm: Literal["frozen", "batch"] = "frozen"
    frozen_stages: Annotated[int, Field(ge=0, le=4)] = 2  # what works at stride 2 (1), and up to 4 (2), 8 (3), 16 (4)
    fc_dim: Count = 1024  # of the tail of a network that has none of its own
    weights: str | None = "imagenet"


class TorchvisionBackbone(Section):
    kind: Literal["torchvision"]
    name: Literal["alexnet", "googlenet"]
    norm: Literal["frozen", "batch"] = "frozen"
    frozen_stages: Annotated[int, Field(ge=0, le=4)] = 2
    weights: str | None = "imagenet"


class RoIMaxPoolSection(Section):
    kind: Literal["roi_pool"]
    size: Count | None = None  # cells a side; null: what the backbone was published with
    # What of x2, y2 is rounded: the last px inside (the published Caffe code), or the corner (simple-faster-rcnn).
    rounds: Literal["last_px", "corner"] = "last_px"


class RoIAlignSection(Section):
    kind: Literal["roi_align"]
    size: Count | None = None
    sampling: Annotated[int, Field(ge=0)] = 2  # points along each side of a bin; 0: as many as the bin is wide
    # At half coordinates (Mask R-CNN), or at whole ones, boxes ending with the last px inside (maskrcnn-benchmark).
    pixel_centers: Literal["half", "integer"] = "half"


class RoICropSection(Section):
    """Bilinear samples from edge to edge of the region: `crop` of faster-rcnn.pytorch."""

    kind: Literal["roi_crop"]
    size: Count | None = None
    max_pool: bool = False  # the largest of 2 x 2 samples a cell, instead of one; its CROP_RESIZE_WITH_MAX_POOL


class CornerAlignSection(Section):
    """The mean of samples on the corners of each bin: `align` of faster-rcnn.pytorch's master branch."""

    kind: Literal["corner_align"]
    size: Count | None = None


class RPNSection(Section):
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
    across_border: bool = False  # learn from anchors that leave the picture, too
    box_weight: NotNegative = 1.0
    smooth_l1_beta: NotNegative = 1 / 9  # offsets below it count quadratically; 0: L1
    nms_iou: Fraction = 0.7
    min_side: NotNegative = 16.0  # px
    train_before_nms: Count = 12000
    train_after_nms: Count = 2000
    test_before_nms: Count = 6000
    test_after_nms: Count = 300


class HeadSection(Section):
    """Scores and boxes of the regions: Fast R-CNN, with the numbers of end-to-end Faster R-CNN."""

    batch_per_image: Count = 128
    foreground_fraction: Fraction = 0.25
    foreground_iou: Fraction = 0.5
    background_iou: tuple[Fraction, Fraction] = (0.0, 0.5)  # [least, most)
    box_std: tuple[Positive, Positive, Positive, Positive] = (0.1, 0.1, 0.2, 0.2)
    class_agnostic: bool = False
    box_weight: NotNegative = 1.0
    smooth_l1_beta: NotNegative = 1.0
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
    """The sizes pictures are looked at in, each region at its own."""

    sides: Annotated[tuple[Count, ...], Field(min_length=1)]  # px, shorter side
    combine: Literal["nearest", "maxout"] = "nearest"  # SPPNet: the best of them; NoC: two neighbours, maxout
    region_side: Positive = 224.0  # px, what a region should measure at its scale


class ProposalsSection(Section):
    count: Count = 2000  # the best of an image; Fast R-CNN, section 4.1
    folder: str = "data/proposals"  # where they are kept; made when missing


class SelectiveSearchSection(ProposalsSection):
    kind: Literal["selective_search"]
    mode: Literal["fast", "quality"] = "fast"


class EdgeBoxesSection(ProposalsSection):
    kind: Literal["edge_boxes"]
    forest: str | None = None  # file of a structured-forest edge model; null: edges from colour gradients
    alpha: Fraction = 0.65  # EdgeBoxes, section 4: step of the sliding window, as IoU
    beta: Fraction = 0.75  # IoU at which of two boxes the worse is dropped


class ProposalFilesSection(Section):
    """Proposals from elsewhere, or from an RPN: the images are looked up in all the files."""

    kind: Literal["files"]
    files: Annotated[tuple[str, ...], Field(min_length=1)]
    count: Count = 2000


AnyBackbone = Annotated[
    ResNet | VGG | ZFNet | VGGM | PreResNet | TimmBackbone | TorchvisionBackbone, Field(discriminator="kind")
]
# Boxes out of offsets as everywhere in detkit, or as py-faster-rcnn and fast-rcnn do: x2, y2 come out 1 px further.
BoxDecoding = Literal["continuous", "inclusive"]
AnyPool = Annotated[
    RoIMaxPoolSection | RoIAlignSection | RoICropSection | CornerAlignSection, Field(discriminator="kind")
]
AnyProposals = Annotated[SelectiveSearchSection | EdgeBoxesSection | ProposalFilesSection, Field(discriminator="kind")]


class FasterRCNN(Section):
    kind: Literal["faster_rcnn"]
    backbone: AnyBackbone
    pool: AnyPool
    scales: Scales | None = None  # null: one, of data.short_side
    noc: NoC | None = None  # null: the backbone's own tail (fc6-fc7, conv5)
    rpn: RPNSection = RPNSection()
    head: HeadSection = HeadSection()
    box_decoding: BoxDecoding = "continuous"
    global_context: bool = False  # score regions with the whole picture in mind; ResNet paper, appendix B


class FastRCNN(Section):
    kind: Literal["fast_rcnn"]
    backbone: AnyBackbone
    pool: AnyPool
    scales: Scales | None = None
    noc: NoC | None = None
    proposals: AnyProposals
    head: HeadSection = HeadSection()
    box_decoding: BoxDecoding = "continuous"
    global_context: bool = False  # score regions with the whole picture in mind; ResNet paper, appendix B


class SVMSection(Section):
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


class RegressionSection(Section):
    """Ridge regression of the boxes (R-CNN, appendix C)."""

    ridge: Positive = 1000.0
    min_iou: Fraction = 0.6  # of a proposal with the object it learns to become
    features: Literal["pool5", "fc7"] = "pool5"  # of these; a network with average pooling has its conv5 in "fc7"


class Staged(Section):
    """What R-CNN and SPPNet share: fine-tuning, then SVMs, then box regression."""

    backbone: AnyBackbone
    proposals: AnyProposals
    head: HeadSection  # fine-tuning: which regions the softmax learns from
    svm: SVMSection = SVMSection()
    regression: RegressionSection = RegressionSection()
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
    noc: NoC = NoC(convs=0)  # fc6-fc7


Model = Annotated[FasterRCNN | FastRCNN | RCNN | SPPNet, Field(discriminator="kind")]


class SGD(Section):
    kind: Literal["sgd"]
    momentum: Fraction = 0.9
    weight_decay: NotNegative = 5e-4
    bias_rate: Positive = 1.0  # factor on the rate of biases; Caffe: 2
    decay_norm_and_bias: bool = True  # Caffe: no decay of biases
    new_layer_rate: Positive = 1.0  # factor on the rate of the classifier and the box layer; R-CNN: 10


class AdamW(Section):
    kind: Literal["adamw"]
    weight_decay: NotNegative = 0.05
    bias_rate: Positive = 1.0
    decay_norm_and_bias: bool = False
    new_layer_rate: Positive = 1.0


class StepSchedule(Section):
    kind: Literal["step"]
    drops: tuple[Count, ...]  # steps at which the rate is multiplied by `factor`
    factor: Fraction = 0.1


class CosineSchedule(Section):
    kind: Literal["cosine"]
    final: Fraction = 0.0  # of the rate, at the last step


class Train(Section):
    kind: Literal["joint", "alternating"] = "joint"  # of a Faster R-CNN: in one go, or in four steps (section 3.2)
    # Steps of the four phases of alternating training; null: as 80k, 40k, 80k, 40k are to 70k (py-faster-rcnn).
    alternating_steps: tuple[Count, Count, Count, Count] | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    steps: Count
    batch_size: Count  # images a step, of all processes and accumulated parts together
    accumulate: Count = 1  # parts a step's batch is computed in, to fit in memory
    lr: Positive
    lr_batch: Count | None = None  # the batch `lr` is for; null: the batch_size of the config file
    optimizer: Annotated[SGD | AdamW, Field(discriminator="kind")]
    schedule: Annotated[StepSchedule | CosineSchedule, Field(discriminator="kind")]
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    warmup_factor: Fraction = 0.1  # the rate starts at this part of itself and rises linearly
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    clip_norm: Positive | None = None
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None  # decay a step of the averaged weights; null: no average
    eval_every: Count | None = None  # steps between scorings of the val split; null: never
    checkpoint_every: Count = 1000
    log_every: Count = 20

    @model_validator(mode="after")
    def _divisible(self) -> "Train":
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of accumulate {self.accumulate}")
        return self


class Published(Section):
    """The published figure that a config is to reproduce."""

    map: Annotated[float, Field(ge=0, le=100)]  # percent
    metric: Literal["voc07", "voc10", "coco"] = "voc07"
    source: str  # paper and table
    exact: bool = True  # of this network and these data; false: shown for orientation, no difference is taken
    seconds_per_image: Positive | None = None  # on the paper's machine


class TestTime(Section):
    """What may be done when detecting, on top of what a run's config says; as it stands: nothing."""

    __test__ = False  # no test, whatever pytest takes its name for

    flip: bool = False  # look at the mirrored picture, too
    scales: tuple[Count, ...] = ()  # px, shorter sides that are looked at; none: data.short_side
    # Regions of all looks are scored in each of them and the mean counts; false: each scores its own.
    shared_regions: bool = False
    refine: Annotated[int, Field(ge=0, le=5)] = 0  # times that found boxes are taken as regions again; the paper: 1
    soft_nms: Literal["linear", "gaussian"] | None = None  # null: NMS; linear from model.head.nms_iou on
    box_voting: Annotated[float, Field(gt=0, le=1)] | None = None  # IoU of the boxes that are averaged; the paper: 0.5


class Config(Section):
    """A whole run: what is learned from, what learns, and how."""

    data: Annotated[FolderData | ShapesData, Field(discriminator="kind")]
    model: Model
    train: Train
    published: Published | None = None

    @model_validator(mode="after")
    def _fitting(self) -> "Config":
        if self.train.kind == "alternating" and self.model.kind != "faster_rcnn":
            raise ValueError(f"train.kind alternating is for a faster_rcnn, model.kind is {self.model.kind}")
        return self

    def to_yaml(self) -> str:
        return yaml.safe_dump(json.loads(self.model_dump_json()), sort_keys=False, allow_unicode=True)
