"""`model.backbone`: the networks that features come from."""

from typing import Annotated, Literal

from pydantic import Field

from detkit.config.base import Count, Fraction, Positive, Section


class Pixels(Section):
    """What a network's pixels were brought to, where that is not what its layout says (backbones/backbone.py)."""

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


AnyBackbone = Annotated[
    ResNet | VGG | ZFNet | VGGM | PreResNet | TimmBackbone | TorchvisionBackbone, Field(discriminator="kind")
]
