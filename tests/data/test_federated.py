"""What is known of which class in which image: kept in bits, and carried through every change of images and classes."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detkit.data.federated import Federated, stacked_federated

NOTHING = np.zeros(0, dtype=np.int64)


def federated(
    checked: list[list[int]], partial: list[list[int]], frequencies: tuple[str, ...] = ("r", "c", "f")
) -> Federated:
    return Federated.of_pairs(len(checked), frequencies, pairs(checked), pairs(partial))


def pairs(lists: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    rows = [(image, label) for image, labels in enumerate(lists) for label in labels]
    images, labels = np.array(rows, dtype=np.int64).reshape(-1, 2).T
    return images, labels


def lists_of(found: Federated) -> tuple[list[list[int]], list[list[int]]]:
    """Checked and partial classes of each image."""
    rows = [found.labels_of(image) for image in range(len(found.checked))]
    return [checked.tolist() for checked, _ in rows], [partial.tolist() for _, partial in rows]


label_sets = st.lists(st.sets(st.integers(0, 18)).map(sorted), min_size=1, max_size=5)


@given(label_sets, st.data())
def test_what_was_put_in_comes_out(checked: list[list[int]], data: st.DataObject) -> None:
    partial = [data.draw(st.lists(st.integers(0, 18))) for _ in checked]
    found = federated(checked, partial, ("",) * 19)
    assert lists_of(found) == (checked, [sorted(set(labels)) for labels in partial])
    assert found.mean_checked() == pytest.approx(np.mean([len(labels) for labels in checked]))
    for image, label in product(range(len(checked)), range(19)):
        at = (np.array([image]), np.array([label]))
        assert found.is_checked(*at) == [label in checked[image]]
        assert found.is_partial(*at) == [label in partial[image]]
        assert found.unknown(image)[label] == (label not in checked[image] or label in partial[image])


def test_images_are_chosen() -> None:
    found = federated([[0], [1], [2]], [[], [1], []]).rows(np.array([False, True, True]))
    assert lists_of(found) == ([[1], [2]], [[1], []])


@given(label_sets, st.permutations(range(19)))
def test_new_numbers_of_classes_and_back_change_nothing(checked: list[list[int]], order: list[int]) -> None:
    found = federated(checked, checked[::-1], ("r",) * 19)
    labels = np.array(order)
    there = found.under(labels, 19, NOTHING, NOTHING)
    back = there.under(np.argsort(labels), 19, NOTHING, NOTHING)
    assert lists_of(there)[0] == [sorted(order[label] for label in labels_here) for labels_here in checked]
    assert lists_of(back) == lists_of(found)


def test_a_class_is_dropped_and_one_that_is_new_was_not_looked_for() -> None:
    found = federated([[0, 1], [1, 2]], [[0], [2]]).under(np.array([-1, 0, 3]), 4, NOTHING, NOTHING)
    assert lists_of(found) == ([[0], [0, 3]], [[], [3]])
    assert found.frequencies == ("c", "", "", "f")


@pytest.mark.parametrize(
    "checked, partial, has_object, expected",
    [
        ([0, 1], [], False, ([0], [])),  # looked for both: looked for
        ([0], [], False, ([], [])),  # the other may be there
        ([0, 1], [1], True, ([0], [0])),
        ([0], [], True, ([0], [0])),  # it is there; of the other kind more may be
        ([0, 1], [], True, ([0], [])),
    ],
)
def test_classes_that_become_one(
    checked: list[int], partial: list[int], has_object: bool, expected: tuple[list[int], list[int]]
) -> None:
    objects = np.zeros(int(has_object), dtype=np.int64)
    found = federated([checked], [partial]).under(np.array([0, 0, -1]), 1, objects, objects)
    assert lists_of(found) == ([expected[0]], [expected[1]])
    assert found.frequencies == ("c",)


def test_an_ordinary_set_beside_it_looked_for_all_classes() -> None:
    found = stacked_federated([None, federated([[1]], [[1]])], [2, 1], 3)
    assert found is not None
    assert lists_of(found) == ([[0, 1, 2], [0, 1, 2], [1]], [[], [], [1]])
    assert not found.unknown(0).any()
    assert found.frequencies == ("r", "c", "f")
    assert stacked_federated([None, None], [2, 1], 3) is None


def test_the_bits_of_all_of_lvis_are_a_few_megabytes() -> None:
    found = federated([[1202]] * 1000, [[]] * 1000, ("",) * 1203)
    assert (found.checked.nbytes + found.partial.nbytes) / 1000 * 100_170 < 31e6
