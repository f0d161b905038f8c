"""Taking tensors by name: all of them, once, of the right shape."""

import pytest
import torch

from detkit.weights.imported import Wanted, take

WANTED = {"ours.a": Wanted("a", (2,)), "ours.b": Wanted("b", (1, 3))}
TENSORS = {"a": torch.tensor([1.0, 2.0]), "b": torch.zeros(1, 3), "a.num_batches_tracked": torch.tensor(3)}


def test_renames_and_brings_to_float32() -> None:
    taken = take(TENSORS | {"a": torch.tensor([1, 2], dtype=torch.float16)}, WANTED, unused=("num_batches_tracked",))
    assert {name: value.tolist() for name, value in taken.items()} == {"ours.a": [1.0, 2.0], "ours.b": [[0.0] * 3]}
    assert all(value.dtype == torch.float32 and value.is_contiguous() for value in taken.values())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"c": torch.zeros(1)}, r"0 tensors missing, 1 tensors that this network has not \(c\)"),
        (
            {f"c{i}": torch.zeros(1) for i in range(9)},
            r"9 tensors that this network has not \(c0, c1, c2, c3, \.\.\.\)",
        ),
        ({"b": torch.zeros(3)}, r"tensor b is \(3,\), expected \(1, 3\)"),
        ({"a": torch.tensor([1.0, float("nan")])}, "tensor a holds values that are not finite"),
        ({"a": torch.zeros(2, dtype=torch.complex64)}, "tensor a is torch.complex64, expected plain real numbers"),
    ],
)
def test_what_does_not_fit_is_named(changed: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        take(TENSORS | changed, WANTED, unused=("num_batches_tracked",))


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match=r"1 tensors missing \(b\), 1 tensors that this network has not"):
        take({name: value for name, value in TENSORS.items() if name != "b"}, WANTED, unused=())
