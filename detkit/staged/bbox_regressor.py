"""Class-wise ridge regression of box offsets on fixed features (R-CNN, appendix C).

The published code (rcnn_train_bbox_regressor.m) centres the offsets, whitens them, fits, and undoes both. One ridge
serves all four offsets and the fit is linear in them, so the whitening cancels and is left out here; centring does not
cancel, because the ridge holds the bias down too.

Shapes: N pairs of a class, D features, C classes. Offsets are those of ops.boxes.encode(proposals, objects).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

RIDGE = 1000.0  # R-CNN, appendix C: lambda


@dataclass(frozen=True)
class Pairs:
    """Proposals of one class in one image and the way to the object that each overlaps most (R-CNN: IoU > 0.6)."""

    features: Tensor  # (N, D) float, not scaled
    offsets: Tensor  # (N, 4)


@dataclass(frozen=True)
class BoxRegressors:
    weights: Tensor  # (C, D, 4) float32, for raw features
    bias: Tensor  # (C, 4) float32

    def offsets(self, features: Tensor, labels: Tensor) -> Tensor:
        """Raw features (N, D) and the class (N,) of each row -> (N, 4) float32 for ops.boxes.decode.

        All on the device of the weights.
        """
        found = self.bias[labels]
        for label in sorted(set(labels.tolist())):
            rows = labels == label
            found[rows] += features[rows].float() @ self.weights[label]
        return found

    def tensors(self) -> dict[str, Tensor]:
        """What a file must hold; `from_tensors` reads it."""
        return {"weights": self.weights, "bias": self.bias}

    @staticmethod
    def from_tensors(tensors: Mapping[str, Tensor]) -> "BoxRegressors":
        """Raises ValueError where a tensor is missing or the shapes do not belong together."""
        if missing := {"weights", "bias"} - tensors.keys():
            raise ValueError(f"box regressors: {', '.join(sorted(missing))} missing; not a file of box regressors")
        weights, bias = tensors["weights"], tensors["bias"]
        if weights.ndim != 3 or weights.shape[2] != 4 or bias.shape != (len(weights), 4):
            shapes = f"{tuple(weights.shape)}, {tuple(bias.shape)}"
            raise ValueError(f"box regressors: weights and bias are {shapes}, expected (C, D, 4), (C, 4)")
        return BoxRegressors(weights, bias)


def fit_regressors(
    pairs_of: Callable[[int], Iterable[Pairs]], num_classes: int, scale: float, ridge: float = RIDGE
) -> BoxRegressors:
    """Fit one class after the other on what `pairs_of(class)` yields, image by image; features count times `scale`.

    `scale` brings the features to a mean norm of 20, as for the SVMs: 20 / svm.mean_norm(...) of these features. It is
    folded into the weights. A class without pairs gets offsets of 0.

    Memory, in float64: with n = min(N, D), about 2 n^2 + n D values. For pool5 of VGG-16 (D = 25,088) that is 2 GB
    for a class of 7,000 pairs, and 15 GB for one of more pairs than features.

    Raises ValueError when no class has a pair, or when `ridge` is not above 0.
    """
    if not ridge > 0:
        raise ValueError(f"ridge: {ridge}, expected a number above 0 (R-CNN: {RIDGE:g})")
    solutions = {}
    for label in range(num_classes):
        solution = _solve(_blocks(pairs_of(label), scale), ridge)
        if solution is not None:
            solutions[label] = solution.float()
    if not solutions:
        raise ValueError(
            f"box regressors: none of {num_classes} classes has a pair of a proposal and an object; check the proposals"
        )
    width = len(next(iter(solutions.values()))) - 1
    weights, bias = torch.zeros(num_classes, width, 4), torch.zeros(num_classes, 4)
    for label, solution in solutions.items():
        weights[label], bias[label] = solution[:-1] * scale, solution[-1]
    return BoxRegressors(weights, bias)


def _blocks(pairs: Iterable[Pairs], scale: float) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows (n, D + 1) of scaled features and a 1, with offsets (n, 4), float64; only the last block may have n <= D."""
    held: list[Pairs] = []
    count = 0
    for some in pairs:
        held.append(some)
        count += len(some.features)
        if count > some.features.shape[1]:
            yield _join(held, scale)
            held, count = [], 0
    if count:
        yield _join(held, scale)


def _join(pairs: list[Pairs], scale: float) -> tuple[Tensor, Tensor]:
    width = pairs[0].features.shape[1]
    rows = torch.ones(sum(len(some.features) for some in pairs), width + 1, dtype=torch.float64)
    torch.cat([some.features.float() for some in pairs], out=rows[:, :width])
    rows[:, :width] *= scale
    return rows, torch.cat([some.offsets for some in pairs]).double()


def _solve(blocks: Iterator[tuple[Tensor, Tensor]], ridge: float) -> Tensor | None:
    """Weights and, in the last row, the bias: (D + 1, 4); None without a block."""
    first = next(blocks, None)
    if first is None:
        return None
    rows, offsets = first
    if len(rows) < rows.shape[1]:  # then it is the only block
        return _solve_dual(rows, offsets, ridge)
    return _solve_primal(rows, offsets, blocks, ridge)


def _solve_dual(rows: Tensor, offsets: Tensor, ridge: float) -> Tensor:
    """For fewer pairs than features: a system of N equations."""
    mean = offsets.mean(dim=0)
    gram = rows @ rows.T
    gram.diagonal().add_(ridge)
    solution = rows.T @ torch.cholesky_solve(offsets - mean, torch.linalg.cholesky(gram))
    solution[-1] += mean
    return solution


def _solve_primal(rows: Tensor, offsets: Tensor, more: Iterator[tuple[Tensor, Tensor]], ridge: float) -> Tensor:
    """For more pairs than features: a system of D + 1 equations, summed up block by block."""
    gram, moment, total, count = rows.T @ rows, rows.T @ offsets, offsets.sum(dim=0), len(rows)
    for rows, offsets in more:
        gram.addmm_(rows.T, rows)
        moment.addmm_(rows.T, offsets)
        total += offsets.sum(dim=0)
        count += len(rows)
    mean = total / count
    moment -= gram[:, -1:] * mean  # the last column of the rows is 1, so this centres the offsets
    gram.diagonal().add_(ridge)
    solution = torch.cholesky_solve(moment, torch.linalg.cholesky(gram))
    solution[-1] += mean
    return solution
