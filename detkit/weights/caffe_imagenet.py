"""Classification networks out of .caffemodel files: VGG-16 and 19, ZF, VGG_CNN_M_1024, and the ResNets of MSRA.

All of them read BGR minus a mean; detkit's layouts `caffe` and `msra` feed them so, and no channels are turned round.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from detkit.weights.caffe_networks import CONTAINER, CaffeNetwork, recognise
from detkit.weights.imported import ImportedBackbone, Wanted, WeightFile, take

CLASSIFIERS = ("fc8.0", "fc8.1", "fc1000.0", "fc1000.1")
BLOCKS: dict[tuple[int, ...], int] = {
    (3, 4, 6, 3): 50,
    (3, 4, 23, 3): 101,
    (3, 8, 36, 3): 152,
}  # in conv2_x to conv5_x: depth
WIDTHS = (64, 128, 256, 512)  # of their 3x3 convolutions
EXPANSION = 4


def convert(found: WeightFile) -> ImportedBackbone | None:
    """The network in `found`; None for a detector, and for files of other tools."""
    if found.container != CONTAINER or "cls_score.0" in found.tensors:
        return None
    if "bn_conv1.0" in found.tensors:
        return _msra_resnet(found.tensors)
    network = recognise(found.tensors)
    return None if network is None else _plain(found.tensors, network)


def _plain(tensors: Mapping[str, Tensor], network: CaffeNetwork) -> ImportedBackbone:
    weights = network.as_trained(take(tensors, network.wanted(), unused=CLASSIFIERS))
    if network.section["kind"] == "vgg":
        names = {"tail.fc6.": "classifier.0.", "tail.fc7.": "classifier.3."}
    else:
        names = {"features.": "", "tail.": ""}  # as Caffe's
    renamed = {}
    for name, value in weights.items():
        prefix = next((prefix for prefix in names if name.startswith(prefix)), "")
        renamed[names.get(prefix, "") + name.removeprefix(prefix)] = value
    return ImportedBackbone(f"{network.name} of Caffe", network.section, renamed)


def _msra_resnet(tensors: Mapping[str, Tensor]) -> ImportedBackbone:
    """Batch norms come in two layers there: BatchNorm (sums of mean and variance, and of what), Scale."""
    stages = [_blocks(tensors, stage) for stage in range(2, 6)]
    depth = BLOCKS.get(tuple(len(stage) for stage in stages))
    if depth is None:
        known = ", ".join(str(blocks) for blocks in BLOCKS)
        raise ValueError(f"a ResNet of {[len(stage) for stage in stages]} blocks in its stages; known are {known}")
    wanted = _conv_and_norm("conv1", "bn1", "conv1", (64, 3, 7, 7))
    if "conv1.1" in tensors:  # of ResNet-50 alone
        wanted["conv1.bias"] = Wanted("conv1.1", (64,))
    channels = WIDTHS[0]
    for i, (blocks, width) in enumerate(zip(stages, WIDTHS, strict=True)):
        for j, block in enumerate(blocks):
            wanted |= _bottleneck(f"layer{i + 1}.{j}", block, channels, width, is_first=not j)
            channels = width * EXPANSION
    taken = take(tensors, wanted, unused=CLASSIFIERS)
    norms = [name.removesuffix("mean_sum") for name in taken if name.endswith("mean_sum")]
    weights = {name: value for name, value in taken.items() if not name.endswith(("_sum", "count", "conv1.bias"))}
    for norm in norms:
        weights |= _statistics(norm, taken)
    if "conv1.bias" in taken:
        weights["bn1.running_mean"] = weights["bn1.running_mean"] - taken["conv1.bias"]
    section = {"kind": "resnet", "depth": depth, "layout": "msra", "first_pool": "ceil"}
    return ImportedBackbone(f"ResNet-{depth} of MSRA", section, weights)


def _blocks(tensors: Mapping[str, Tensor], stage: int) -> list[str]:
    """The blocks' names in order: res3a, res3b, ... in ResNet-50, res3a, res3b1, res3b2, ... in the deeper ones."""
    letters = [f"{stage}{letter}" for letter in "abcdef"]
    numbered = [f"{stage}a", *(f"{stage}b{i}" for i in range(1, 50))]
    names = numbered if f"res{stage}b1_branch2a.0" in tensors else letters
    return [name for name in names if f"res{name}_branch2a.0" in tensors]


def _bottleneck(ours: str, block: str, channels: int, width: int, is_first: bool) -> dict[str, Wanted]:
    wide = width * EXPANSION
    shapes = {"2a": (width, channels, 1, 1), "2b": (width, width, 3, 3), "2c": (wide, width, 1, 1)}
    wanted: dict[str, Wanted] = {}
    for i, (branch, shape) in enumerate(shapes.items(), start=1):
        wanted |= _conv_and_norm(f"{ours}.conv{i}", f"{ours}.bn{i}", f"{block}_branch{branch}", shape)
    if is_first:
        name = f"{ours}.downsample"
        wanted |= _conv_and_norm(f"{name}.0", f"{name}.1", f"{block}_branch1", (wide, channels, 1, 1))
    return wanted


def _conv_and_norm(conv: str, norm: str, theirs: str, shape: tuple[int, ...]) -> dict[str, Wanted]:
    """`theirs`: "conv1", or without its "res" the name of a convolution, whose norm is named bn... and scale..."""
    layer = theirs if theirs == "conv1" else f"res{theirs}"
    batch_norm = "bn_conv1" if theirs == "conv1" else f"bn{theirs}"
    scale = "scale_conv1" if theirs == "conv1" else f"scale{theirs}"
    vector = shape[:1]
    return {
        f"{conv}.weight": Wanted(f"{layer}.0", shape),
        f"{norm}.mean_sum": Wanted(f"{batch_norm}.0", vector),
        f"{norm}.var_sum": Wanted(f"{batch_norm}.1", vector),
        f"{norm}.count": Wanted(f"{batch_norm}.2", (1,)),
        f"{norm}.weight": Wanted(f"{scale}.0", vector),
        f"{norm}.bias": Wanted(f"{scale}.1", vector),
    }


def _statistics(norm: str, taken: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Caffe's BatchNorm layer keeps sums and what they are sums of; 0 stands for nothing seen, and gives 0."""
    count = taken[f"{norm}count"]
    share = torch.where(count == 0, torch.zeros_like(count), 1 / count)
    return {
        f"{norm}running_mean": taken[f"{norm}mean_sum"] * share,
        f"{norm}running_var": taken[f"{norm}var_sum"] * share,
    }
