"""Transformers of timm at any size: at their own size nothing changes, at others the bias is the resized one."""

from functools import partial

import pytest
import torch

pytest.importorskip("timm")

from timm.layers.pos_embed_rel import RelPosBias, RelPosMlp
from timm.models.maxxvit import Attention2d
from timm.models.vision_transformer import VisionTransformer

from detkit.backbones.timm_sizes import PatchMap, ResizedBias, take_any_size


@pytest.mark.parametrize("size", [(3, 4), (5, 5)])
@torch.no_grad()
def test_bias_at_its_own_size_is_timms(size: tuple[int, int]) -> None:
    trained = RelPosBias(window_size=size, num_heads=2)
    assert torch.equal(ResizedBias(trained).get_bias(), trained.get_bias())


@torch.no_grad()
def test_bias_of_another_size_by_hand() -> None:
    trained = RelPosBias(window_size=(1, 2), num_heads=1)  # distances -1, 0, 1 of x
    trained.relative_position_bias_table.copy_(torch.tensor([[-3.0], [0], [3]]))
    bias = ResizedBias(trained)
    bias.set_window_size((1, 3))  # five distances, -2 ... 2, over the same three: at -1.2, -0.6, 0, 0.6, 1.2 of them
    torch.testing.assert_close(bias.get_bias()[0, 0], torch.tensor([[0, -1.8, -3], [1.8, 0, -1.8], [3, 1.8, 0]]))
    bias.set_window_size((1, 1))
    assert bias.get_bias().tolist() == [[[[0.0]]]]
    bias.set_window_size((2, 1))
    assert bias.get_bias().shape == (1, 1, 2, 2) and float(bias.get_bias().abs().max()) == 0


@pytest.mark.parametrize("kind", [RelPosBias, RelPosMlp])
def test_attention_of_any_size(kind: type[RelPosBias] | type[RelPosMlp]) -> None:
    torch.manual_seed(0)
    attention = Attention2d(32, rel_pos_cls=partial(kind, window_size=(4, 4))).eval()
    x = torch.randn(1, 32, 4, 4)
    before, names = attention(x), list(attention.state_dict())
    take_any_size(attention)
    assert list(attention.state_dict()) == names
    torch.testing.assert_close(attention(x), before)
    attention(torch.randn(2, 32, 3, 7)).sum().backward()
    assert all(p.grad is not None for p in attention.rel_pos.parameters())
    torch.testing.assert_close(attention(x), before)  # the other size has left no trace


@torch.no_grad()
def test_patch_map_lays_tokens_out_row_by_row() -> None:
    network = VisionTransformer(
        img_size=32, patch_size=16, embed_dim=8, depth=1, num_heads=2, dynamic_img_size=True, dynamic_img_pad=True
    ).eval()
    images = torch.randn(1, 3, 32, 48)
    tokens = network.forward_features(images)[0, 1:]  # the first is the class token
    torch.testing.assert_close(PatchMap(network)(images)[0].flatten(1).T, tokens)
    assert PatchMap(network)(torch.zeros(2, 3, 33, 40)).shape == (2, 8, 3, 3)
