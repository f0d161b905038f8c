"""Truncated SVD: the nearest matrix of a rank, by two layers."""

import pytest
import torch
from torch import nn

from detkit.heads.compression import compress_tail, truncated
from detkit.heads.noc import noc


def layer(inside: int, outside: int) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(inside, outside)


@pytest.mark.parametrize(("inside", "outside"), [(12, 7), (7, 12), (9, 9)])
@pytest.mark.parametrize("rank", [1, 3, 7])
def test_it_is_the_svd_cut_off(inside: int, outside: int, rank: int) -> None:
    whole = layer(inside, outside)
    u, s, v = torch.linalg.svd(whole.weight.detach(), full_matrices=False)
    nearest = (u[:, :rank] * s[:rank]) @ v[:rank]
    first, second = truncated(whole, rank)
    assert first.weight.shape == (rank, inside) and first.bias is None
    torch.testing.assert_close(second.weight @ first.weight, nearest, atol=1e-5, rtol=0)
    torch.testing.assert_close(second.bias, whole.bias)


def test_the_full_rank_changes_nothing() -> None:
    whole, x = layer(12, 7), torch.randn(5, 12)
    torch.testing.assert_close(truncated(whole, 7)(x), whole(x), atol=1e-5, rtol=0)


def test_a_tail_is_compressed_layer_by_layer() -> None:
    tail = noc(channels=2, cells=9, convs=0, conv_channels=4, fcs=3, fc_dim=16, dropout=0.0)
    x = torch.randn(4, 2, 3, 3)
    before, numbers = tail(x), sum(p.numel() for p in tail.parameters())
    compress_tail(tail, [16, 4])
    assert tail(x).shape == before.shape and not torch.allclose(tail(x), before)
    compressed = 18 * 16 + 16 * 16 + 16 + 16 * 4 + 4 * 16 + 16
    assert (numbers, sum(p.numel() for p in tail.parameters())) == (18 * 16 + 16 + 16 * 16 + 16, compressed)


@pytest.mark.parametrize("ranks", [[4], [4, 4]])
def test_a_tail_without_the_layers_is_refused(ranks: list[int]) -> None:
    with pytest.raises(ValueError, match="no fully connected fc6"):
        compress_tail(nn.Sequential(nn.Conv2d(1, 1, 1)), ranks)


def test_a_rank_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="rank 8 of a layer of 12 to 7"):
        truncated(layer(12, 7), 8)
    tail = noc(channels=2, cells=9, convs=0, conv_channels=4, fcs=3, fc_dim=16, dropout=0.0)
    with pytest.raises(ValueError, match="no fully connected third layer in its tail"):
        compress_tail(tail, [4, 4, 4])
