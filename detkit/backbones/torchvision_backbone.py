"""AlexNet and GoogLeNet as torchvision has them, cut at stride 16.

Neither pads its pooling, so their first cell begins inside the image: Backbone.offset.
"""

from typing import Literal

import torch
import torchvision
from torch import nn

from detkit.backbones.backbone import Backbone, half_rgb, imagenet_rgb
from detkit.backbones.chain import Chain, Named, first
from detkit.backbones.grid import Grid, frozen_modules, trace
from detkit.backbones.norms import batch_norms, calibrate
from detkit.backbones.vgg import VGGTail
from detkit.backbones.weights import State, file_state, imagenet_state, load, random_start, renamed

ALEXNET_TAIL_NAMES = {"classifier.1.": "tail.fc6.", "classifier.4.": "tail.fc7."}
GOOGLENET_TAIL = ("maxpool4", "inception5a", "inception5b")
GOOGLENET_UNUSED = ("fc.", "aux1.", "aux2.")


def torchvision_backbone(
    name: Literal["alexnet", "googlenet"],
    weights: str | None,
    norm: Literal["frozen", "batch"] = "frozen",
    frozen_stages: int = 0,
) -> Backbone:
    """AlexNet (Krizhevsky 2014) or GoogLeNet (Szegedy et al. 2015) as a backbone.

    `weights`: "imagenet" (torchvision's, downloaded once), the path of a state dict with torchvision's names, or None
    for a random start. `norm` is for GoogLeNet's batch norms; AlexNet has none. `frozen_stages`: what works at stride 2
    (1), at 4 (2), 8 (3), 16 (4), and before it, is never trained. Raises ValueError when the weights cannot be had or
    do not fit.
    """
    state = None if weights is None else imagenet_state(name) if weights == "imagenet" else file_state(weights)
    match name:
        case "alexnet":
            return _alexnet(state, str(weights), frozen_stages)
        case "googlenet":
            return _googlenet(state, str(weights), norm, frozen_stages)


def _alexnet(state: State | None, source: str, frozen_stages: int) -> Backbone:
    """fc6 and fc7 are the tail; pool5, which regions replace, is left out."""
    chain = [(str(i), layer) for i, layer in enumerate(torchvision.models.alexnet().features[:-1])]
    tail = VGGTail(in_channels=256, pool_size=6, dim=4096)
    network = nn.ModuleDict({"features": nn.Sequential(*first(chain, len(chain))), "tail": tail})
    if state is None:
        random_start(network)
    else:
        load(network, renamed(state, ALEXNET_TAIL_NAMES), source, unused=("classifier.",))
    grids = _grids(chain)
    return Backbone(
        preprocess=imagenet_rgb(),
        features=Chain(chain, first(chain, frozen_modules(grids, frozen_stages))),
        tail=tail,
        stride=16,
        channels=256,
        pool_size=6,
        tail_dim=4096,
        offset=grids[-1].offset,
    )


def _googlenet(state: State | None, source: str, norm: Literal["frozen", "batch"], frozen_stages: int) -> Backbone:
    """Inception 5a and 5b, behind their pooling, and average pooling are the tail (as in NoC)."""
    network = torchvision.models.googlenet(aux_logits=False, init_weights=False)
    if state is not None:
        load(network, state, source, GOOGLENET_UNUSED)
    else:
        random_start(network)
        if norm == "frozen":
            calibrate(network, 128, 128)
    parts = [(name, part) for name, part in network.named_children() if name not in ("avgpool", "dropout", "fc")]
    chain = [(name, part) for name, part in parts if name not in GOOGLENET_TAIL]
    tail: Named = [(name, part) for name, part in parts if name in GOOGLENET_TAIL]
    tail = [*tail, ("average", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten())]
    norms = batch_norms(network) if norm == "frozen" else []
    network.eval()
    grids = _grids(chain)
    network.train()
    return Backbone(
        preprocess=half_rgb(),
        features=Chain(chain, first(chain, frozen_modules(grids, frozen_stages)) + norms),
        tail=Chain(tail, norms),
        stride=16,
        channels=832,
        pool_size=14,  # maxpool4 halves it to 7
        tail_dim=1024,
        offset=grids[-1].offset,
    )


def _grids(chain: Named) -> list[Grid]:
    return trace(first(chain, len(chain)), torch.zeros(1, 3, 128, 128))
