"""Matching and sampling: each rule by hand, and all together against plain loops in exact fractions."""

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detkit.ops.matching import BACKGROUND, FOREGROUND, UNUSED, match, sample
from detkit.structures import Target

Box = tuple[int, int, int, int]
A: Box = (0, 0, 10, 10)
FAR: Box = (80, 80, 90, 90)


def target(*boxes: Box, ignore: tuple[bool, ...] | None = None) -> Target:
    return Target(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.zeros(len(boxes), dtype=torch.int64),
        torch.tensor(ignore or (False,) * len(boxes), dtype=torch.bool),
    )


def roles_of(
    candidates: list[Box], objects: Target, background: tuple[float, float] = (0.0, 0.25), its_best: bool = False
) -> tuple[list[int], list[int]]:
    rows = torch.tensor(candidates, dtype=torch.float32).reshape(-1, 4)
    roles, index = match(rows, objects, 0.5, background, each_object_its_best=its_best)
    assert roles.dtype == index.dtype == torch.int64
    return roles.tolist(), index.tolist()


@pytest.mark.parametrize(
    ("candidate", "background", "role"),
    [
        ((0, 0, 10, 10), (0.0, 0.25), FOREGROUND),
        ((0, 0, 10, 5), (0.0, 0.25), FOREGROUND),  # 50 / 100: exactly the least
        ((0, 0, 7, 7), (0.0, 0.25), UNUSED),  # 49 / 100: between the two
        ((0, 0, 5, 5), (0.0, 0.25), UNUSED),  # 25 / 100: background ends below 0.25
        ((0, 0, 6, 4), (0.0, 0.25), BACKGROUND),  # 24 / 100
        (FAR, (0.0, 0.25), BACKGROUND),
        ((0, 0, 7, 7), (0.0, 0.5), BACKGROUND),
        ((0, 0, 5, 5), (0.25, 0.5), BACKGROUND),  # exactly where background begins
        ((0, 0, 6, 4), (0.25, 0.5), UNUSED),
        (FAR, (0.1, 0.5), UNUSED),
    ],
)
def test_thresholds(candidate: Box, background: tuple[float, float], role: int) -> None:
    assert roles_of([candidate], target(A), background)[0] == [role]


def test_foreground_is_for_the_object_it_overlaps_most() -> None:
    objects = target((0, 0, 10, 6), FAR, A)
    assert roles_of([A, FAR, (0, 0, 10, 6)], objects) == ([FOREGROUND] * 3, [2, 1, 0])


def test_each_object_its_best_even_below_the_threshold() -> None:
    candidates: list[Box] = [(0, 0, 5, 5), (0, 0, 2, 5), FAR]  # IoU 25 / 100, 10 / 100, 0
    assert roles_of(candidates, target(A), its_best=True)[0] == [FOREGROUND, BACKGROUND, BACKGROUND]
    assert roles_of(candidates, target(A), its_best=False)[0] == [UNUSED, BACKGROUND, BACKGROUND]


def test_all_that_tie_for_best_are_foreground() -> None:
    candidates: list[Box] = [(0, 0, 2, 10), (8, 0, 10, 10), (0, 8, 10, 10), (0, 0, 1, 10)]  # 0.2 three times, 0.1
    assert roles_of(candidates, target(A), its_best=True)[0] == [FOREGROUND] * 3 + [BACKGROUND]


def test_an_object_that_nothing_touches_has_no_best() -> None:
    assert roles_of([A, (20, 0, 30, 10)], target(FAR), its_best=True)[0] == [BACKGROUND] * 2


def test_the_best_of_two_objects_goes_to_the_one_it_overlaps_most() -> None:
    objects = target((0, 0, 10, 2), (0, 0, 10, 4))  # IoU with A: 0.2 and 0.4
    assert roles_of([A, FAR], objects, its_best=True) == ([FOREGROUND, BACKGROUND], [1, roles_of([FAR], objects)[1][0]])


def test_the_best_of_an_object_is_for_it_though_it_overlaps_another_more() -> None:
    objects = target((0, 0, 10, 9), (0, 0, 10, 4))
    candidates: list[Box] = [(0, 0, 10, 8), (0, 0, 10, 9)]
    # Object 0: 80 / 90 and 1, its best is candidate 1. Object 1: 40 / 80 and 40 / 90, its best is candidate 0.
    assert roles_of(candidates, objects, its_best=True) == ([FOREGROUND, FOREGROUND], [1, 0])
    assert roles_of(candidates, objects, its_best=False) == ([FOREGROUND, FOREGROUND], [0, 0])


@pytest.mark.parametrize("its_best", [False, True])
@pytest.mark.parametrize(
    ("candidate", "role"),
    [
        (A, UNUSED),  # the ignored object itself
        ((0, 0, 10, 5), UNUSED),  # IoU 50 / 100: as a detection of it would overlap it
        ((5, 0, 9, 10), UNUSED),  # IoU 0.4, but all of it inside
        ((3, 0, 13, 3), UNUSED),  # 21 of its 30 px inside: exactly 0.7
        ((4, 0, 14, 3), BACKGROUND),  # 18 of 30: 0.6
        (FAR, BACKGROUND),
    ],
)
def test_ignored_objects_are_neither_foreground_nor_background(candidate: Box, role: int, its_best: bool) -> None:
    only_ignored = target(A, ignore=(True,))
    assert roles_of([candidate], only_ignored, its_best=its_best)[0] == [role]
    with_an_object = target(A, (40, 40, 50, 50), ignore=(True, False))
    assert roles_of([candidate], with_an_object, its_best=its_best)[0] == [role]


def test_foreground_stays_foreground_inside_an_ignored_object() -> None:
    crowd = target((0, 0, 50, 50), A, ignore=(True, False))
    assert roles_of([A, (20, 20, 30, 30)], crowd) == ([FOREGROUND, UNUSED], [1, 1])  # 1: its row in the target


def test_no_objects() -> None:
    assert roles_of([A, FAR], target())[0] == [BACKGROUND] * 2
    assert roles_of([A, FAR], target(), background=(0.1, 0.5))[0] == [UNUSED] * 2


@pytest.mark.parametrize("its_best", [False, True])
def test_no_candidates(its_best: bool) -> None:
    for objects in (target(), target(A), target(A, FAR, ignore=(True, False))):
        assert roles_of([], objects, its_best=its_best) == ([], [])


def plain_iou(one: Box, other: Box) -> Fraction:
    common = plain_intersection(one, other)
    return Fraction(common, plain_area(one) + plain_area(other) - common)


def plain_area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def plain_intersection(one: Box, other: Box) -> int:
    width, height = (min(one[k + 2], other[k + 2]) - max(one[k], other[k]) for k in (0, 1))
    return max(width, 0) * max(height, 0)


def plain_match(
    candidates: list[Box], objects: list[tuple[Box, bool]], background: tuple[float, float], its_best: bool
) -> list[tuple[int, set[int]]]:
    """For each candidate its role and the objects it may be for: more than one where they tie."""
    wanted = [m for m, (_, ignored) in enumerate(objects) if not ignored]
    overlap = [{m: plain_iou(c, objects[m][0]) for m in wanted} for c in candidates]
    claimed: list[set[int]] = [set() for _ in candidates]
    for m in wanted if its_best else ():
        most = max((row[m] for row in overlap), default=Fraction(0))
        for n, row in enumerate(overlap):
            if row[m] == most > 0:
                claimed[n].add(m)
    found = []
    for n, (candidate, row) in enumerate(zip(candidates, overlap, strict=True)):
        best = max(row.values(), default=Fraction(0))
        covers = any(
            plain_iou(candidate, box) >= Fraction(1, 2)
            or Fraction(plain_intersection(candidate, box), plain_area(candidate)) >= Fraction(7, 10)
            for box, ignored in objects
            if ignored
        )
        among = {m: row[m] for m in claimed[n]} or row
        first = {m for m in among if among[m] == max(among.values())}
        if claimed[n] or best >= Fraction(1, 2):
            found.append((FOREGROUND, first))
        elif background[0] <= best < background[1] and not covers:
            found.append((BACKGROUND, set()))
        else:
            found.append((UNUSED, set()))
    return found


small_boxes = st.builds(
    lambda x, y, w, h: (x, y, x + w, y + h), st.integers(0, 6), st.integers(0, 6), st.integers(1, 6), st.integers(1, 6)
)


@given(
    st.lists(small_boxes, max_size=10),
    st.lists(st.tuples(small_boxes, st.booleans()), max_size=4),
    st.sampled_from([(0.0, 0.5), (0.0, 0.25), (0.125, 0.5)]),
    st.booleans(),
)
@settings(deadline=None, max_examples=200)
def test_match_is_the_plain_one(
    candidates: list[Box], objects: list[tuple[Box, bool]], background: tuple[float, float], its_best: bool
) -> None:
    annotated = target(*(box for box, _ in objects), ignore=tuple(ignored for _, ignored in objects))
    roles, index = roles_of(candidates, annotated, background, its_best)
    expected = plain_match(candidates, objects, background, its_best)
    assert roles == [role for role, _ in expected]
    for chosen, (role, allowed) in zip(index, expected, strict=True):
        assert role != FOREGROUND or chosen in allowed


@pytest.mark.parametrize(
    ("foreground", "background", "count", "fraction", "expected"),
    [
        (10, 10, 8, 0.25, (2, 6)),
        (10, 100, 16, 0.5, (8, 8)),
        (1, 100, 8, 0.5, (1, 7)),  # background fills what foreground lacks
        (10, 3, 8, 0.5, (4, 3)),  # foreground does not fill what background lacks
        (0, 10, 8, 0.5, (0, 8)),
        (5, 0, 8, 0.5, (4, 0)),
        (0, 0, 8, 0.5, (0, 0)),
        (3, 10, 8, 1.0, (3, 5)),
    ],
)
def test_sample_counts(
    foreground: int, background: int, count: int, fraction: float, expected: tuple[int, int]
) -> None:
    roles = torch.tensor([FOREGROUND] * foreground + [UNUSED] * 5 + [BACKGROUND] * background)
    roles = roles[torch.randperm(len(roles))]
    chosen = sample(roles, count, fraction)
    assert (len(chosen[0]), len(chosen[1])) == expected
    assert bool((roles[chosen[0]] == FOREGROUND).all()) and bool((roles[chosen[1]] == BACKGROUND).all())
    assert len(torch.cat(chosen).unique()) == sum(expected)  # none is drawn twice


def test_sample_is_random_but_follows_the_seed() -> None:
    roles = torch.tensor([FOREGROUND, BACKGROUND] * 100)

    def draw(seed: int) -> list[int]:
        torch.manual_seed(seed)
        return torch.cat(sample(roles, 20, 0.5)).tolist()

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    drawn = {i for seed in range(60) for i in draw(seed)}
    assert len(drawn) > 180  # each is left out of 60 draws of a tenth with probability 0.9^60 = 0.002
