"""Smooth L1: by hand, and from its equation. Unknown classes: their gradients against those of a plain softmax."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from detkit.ops.losses import smooth_l1_sum, without_unknown

number = st.floats(-10, 10, width=32)


@pytest.mark.parametrize(
    ("difference", "beta", "expected"),
    [
        (0.0, 1.0, 0.0),
        (0.5, 1.0, 0.5 * 0.25),  # quadratic: x^2 / 2
        (-2.0, 1.0, 2 - 0.5),  # linear: |x| - 1 / 2
        (0.1, 1 / 9, 0.5 * 0.01 * 9),  # x^2 / (2 beta)
        (-1.0, 1 / 9, 1 - 1 / 18),  # |x| - beta / 2
    ],
)
def test_by_hand(difference: float, beta: float, expected: float) -> None:
    offsets, goals = torch.tensor([[3.0 + difference, 0, 0, 0]]), torch.tensor([[3.0, 0, 0, 0]])
    torch.testing.assert_close(smooth_l1_sum(offsets, goals, beta), torch.tensor(expected))


def test_of_nothing_is_a_zero_with_a_gradient() -> None:
    offsets = torch.zeros(0, 4, requires_grad=True)
    loss = smooth_l1_sum(offsets, torch.zeros(0, 4), 1.0)
    assert loss.item() == 0
    loss.backward()
    assert offsets.grad is not None


@given(st.lists(st.tuples(number, number), min_size=4, max_size=4), st.sampled_from([1.0, 1 / 9]))
@settings(deadline=None)
def test_is_its_equation_and_sums(pairs: list[tuple[float, float]], beta: float) -> None:
    offsets = torch.tensor([[a for a, _ in pairs]], requires_grad=True)
    goals = torch.tensor([[b for _, b in pairs]])
    x = np.abs(np.subtract(*np.array(pairs, dtype=np.float64).T))
    expected = np.where(x < beta, x * x / (2 * beta), x - beta / 2).sum()
    loss = smooth_l1_sum(offsets, goals, beta)
    assert loss.item() == pytest.approx(expected, rel=1e-4, abs=1e-5)
    loss.backward()
    assert offsets.grad is not None and bool((offsets.grad.abs() <= 1 + 1e-6).all())
    twice = smooth_l1_sum(offsets.repeat(2, 1), goals.repeat(2, 1), beta)
    torch.testing.assert_close(twice, 2 * loss)


@st.composite
def federated_batches(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor | None], list[int]]:
    """Logits (R, C + 1) and labels (R,) of several images, and what is unknown in each."""
    num_classes, counts = draw(st.integers(1, 5)), draw(st.lists(st.integers(0, 6), min_size=1, max_size=4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    logits = torch.randn(sum(counts), num_classes + 1, generator=generator) * 3
    labels = torch.randint(num_classes + 1, (sum(counts),), generator=generator)
    labels[torch.rand(len(labels), generator=generator) < 0.5] = num_classes
    masks = [torch.rand(num_classes, generator=generator) < 0.5 for _ in counts]
    return logits, labels, [mask if draw(st.booleans()) else None for mask in masks], counts


@given(federated_batches())
@settings(deadline=None)
def test_a_background_region_teaches_nothing_of_classes_that_are_unknown_in_its_image(
    batch: tuple[torch.Tensor, torch.Tensor, list[torch.Tensor | None], list[int]],
) -> None:
    logits, labels, unknown, counts = batch
    logits.requires_grad_()
    background = logits.shape[1] - 1
    loss = F.cross_entropy(without_unknown(logits, labels, unknown, counts), labels, reduction="sum")
    [gradient] = torch.autograd.grad(loss, logits)
    image = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    for row, label in enumerate(labels.tolist()):
        mask = unknown[int(image[row])]
        one = logits[row : row + 1]
        if mask is None or label != background or not mask.any():
            [ordinary] = torch.autograd.grad(F.cross_entropy(one, labels[row : row + 1]), one)
            torch.testing.assert_close(gradient[row], ordinary[0])
        else:
            kept = torch.cat([~mask, torch.tensor([True])])
            assert (gradient[row, ~kept] == 0).all()  # exactly
            rest = one[:, kept].detach().requires_grad_()  # as if these classes were not there
            [of_rest] = torch.autograd.grad(F.cross_entropy(rest, torch.tensor([int(kept.sum()) - 1])), rest)
            torch.testing.assert_close(gradient[row, kept], of_rest[0])


def test_where_all_classes_are_known_the_logits_are_the_very_same() -> None:
    logits = torch.randn(3, 3)
    assert without_unknown(logits, torch.tensor([0, 2, 1]), [None, None], [1, 2]) is logits
