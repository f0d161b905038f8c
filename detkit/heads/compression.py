"""Fully connected layers made cheaper after training, by truncated SVD (Fast R-CNN, section 3.1)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

LAYERS = ("fc6", "fc7")  # of a tail, in the order of their ranks


def compress_tail(tail: nn.Module, ranks: Sequence[int]) -> None:
    """Replace fc6 (and fc7) of the tail by two layers each, of the given ranks (Fast R-CNN: 1024 and 256).

    Raises ValueError for a tail without these layers, and for a rank that a layer does not have.
    """
    layers = [(name, getattr(tail, name, None)) for name in LAYERS[: len(ranks)]]
    missing = [name for name, layer in layers if not isinstance(layer, nn.Linear)]
    if missing or len(ranks) > len(LAYERS):
        raise ValueError(
            f"SVD of ranks {list(ranks)}: this detector has no fully connected {' and '.join(missing) or 'third'} "
            "layer in its tail; VGG, ZF and NoC tails have fc6 and fc7"
        )
    for rank, (name, layer) in zip(ranks, layers, strict=True):
        assert isinstance(layer, nn.Linear)
        setattr(tail, name, truncated(layer, rank))


@torch.no_grad()
def truncated(layer: nn.Linear, rank: int) -> nn.Sequential:
    """The layer of the nearest weight matrix of `rank`: D_in -> rank without bias, then rank -> D_out with its bias."""
    full = min(layer.weight.shape)
    if not 0 < rank <= full:
        raise ValueError(
            f"SVD: rank {rank} of a layer of {layer.in_features} to {layer.out_features}: 1 to {full} can be"
        )
    inner, outer = _factors(layer.weight, rank)
    first, second = nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features)
    first.weight.copy_(inner)
    second.weight.copy_(outer)
    second.bias.copy_(layer.bias)
    return nn.Sequential(first, second).to(layer.weight.device)


def _factors(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """(rank, D_in) and (D_out, rank) whose product is nearest to the weight (D_out, D_in).

    From the eigenvectors of W W^T, which is small where W is wide: for VGG's fc6 much quicker than a full SVD.
    """
    wide = weight.double() if weight.shape[0] <= weight.shape[1] else weight.double().T
    _, vectors = torch.linalg.eigh(wide @ wide.T)
    basis = vectors[:, -rank:]  # (short side, rank), of the largest eigenvalues
    if weight.shape[0] <= weight.shape[1]:
        return (basis.T @ weight.double()).to(weight.dtype), basis.to(weight.dtype)
    return basis.T.to(weight.dtype), (weight.double() @ basis).to(weight.dtype)
