"""The norms a backbone can have: batch norm held at its trained statistics, trained batch norm, group norm."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

Norm = Literal["frozen", "batch", "group"]
GROUPS = 32  # Group Normalization, section 3


def norm_layer(norm: Norm) -> Callable[[int], nn.Module]:
    """From a number of channels to the layer."""
    match norm:
        case "frozen":
            frozen: Callable[[int], nn.Module] = FrozenBatchNorm2d
            return frozen
        case "batch":
            return nn.BatchNorm2d
        case "group":
            return lambda channels: nn.GroupNorm(GROUPS, channels)


def batch_norms(network: nn.Module) -> list[nn.Module]:
    """The batch norms of a network that brings its own: what chain.Chain freezes."""
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


@torch.no_grad()
def calibrate(network: nn.Module, height: int, width: int) -> None:
    """Set every batch norm to divide by the strength of what reaches it from noise of `height` x `width` px.

    A random start whose norms are to stay frozen needs it: with mean 0 and deviation 1 they would do nothing, and the
    sums of a deep network would overflow. The channels' means are left in: without them a deep network that never
    measures again blows up whatever differs from the noise.
    """
    norms = [norm for norm in network.modules() if isinstance(norm, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(_measure) for norm in norms]
    network.eval()(torch.randn(2, 3, height, width))
    for hook in hooks:
        hook.remove()
    network.train()


def _measure(norm: nn.Module, inputs: tuple[Tensor]) -> None:
    assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
    norm.running_mean.zero_()
    norm.running_var.fill_(inputs[0].square().mean())
