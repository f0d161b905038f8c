"""Smooth L1: by hand, and from its equation."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detkit.ops.losses import smooth_l1_sum

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
