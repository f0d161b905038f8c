"""Exponential moving average of a model's weights: often better than the last ones, and never trained itself."""

import copy

import torch
from torch import Tensor, nn


class WeightAverage:
    """Keeps `model`'s averaged double, buffers (statistics of batch norm) included."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after step `step`; early steps count more, or the start would linger."""
        decay = min(self.decay, (1 + step) / (10 + step))
        current: dict[str, Tensor] = model.state_dict()
        for name, average in self.model.state_dict().items():
            if average.is_floating_point():
                average.lerp_(current[name], 1 - decay)
            else:
                average.copy_(current[name])
