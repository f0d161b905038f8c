"""What makes timm's transformers take images of any size: a ViT as a feature map, CoAtNet's position bias resized."""

from typing import Any

import torch
import torch.nn.functional as F
from timm.layers.pos_embed_rel import RelPosBias, RelPosMlp
from timm.models.maxxvit import Attention2d
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn


class PatchMap(nn.Module):
    """A ViT whose last tokens are laid out as a map: (B, 3, H, W) -> (B, C, ceil(H / 16), ceil(W / 16))."""

    def __init__(self, network: VisionTransformer) -> None:
        """`network` was made with dynamic_img_size and dynamic_img_pad: its position embedding is resized."""
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        maps: Any = self.network.forward_intermediates(images, indices=1, norm=True, intermediates_only=True)
        return torch.as_tensor(maps[0])


class ResizedBias(nn.Module):
    """timm's RelPosBias, its table interpolated to the map at hand (CoAtNet, section 4.1)."""

    def __init__(self, trained: RelPosBias) -> None:
        super().__init__()
        self.relative_position_bias_table = trained.relative_position_bias_table  # ((2h - 1) * (2w - 1), heads)
        self.window_size = self.size = tuple(trained.window_size)

    def set_window_size(self, size: tuple[int, int]) -> None:
        self.size = size

    def get_bias(self) -> Tensor:
        """(1, heads, H * W, H * W): from each cell of the map to each."""
        table_HW = self.relative_position_bias_table.T.reshape(-1, *(2 * side - 1 for side in self.window_size))
        height, width = self.size
        if self.size != self.window_size:
            wanted = (2 * height - 1, 2 * width - 1)
            table_HW = F.interpolate(table_HW[None], wanted, mode="bilinear", align_corners=False)[0]
        y = torch.arange(height, device=table_HW.device).repeat_interleave(width)
        x = torch.arange(width, device=table_HW.device).repeat(height)
        bias = table_HW[:, y[:, None] - y + height - 1, x[:, None] - x + width - 1]
        return bias[None]

    def forward(self, attention: Tensor, shared_rel_pos: None = None) -> Tensor:
        return attention + self.get_bias()


def take_any_size(network: nn.Module) -> None:
    """Make the attention inside `network`, if it is a CoAtNet with a relative position bias, fit any feature map."""
    for attention in network.modules():
        if isinstance(attention, Attention2d) and isinstance(attention.rel_pos, RelPosBias | RelPosMlp):
            if isinstance(attention.rel_pos, RelPosBias):
                attention.rel_pos = ResizedBias(attention.rel_pos)
            attention.register_forward_pre_hook(_fit_bias)


def _fit_bias(attention: nn.Module, inputs: tuple[Any, ...]) -> None:
    attention.rel_pos.set_window_size(tuple(inputs[0].shape[2:]))  # type: ignore[operator, union-attr]
