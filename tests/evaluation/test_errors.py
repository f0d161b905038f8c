"""The TIDE decomposition, on detections whose errors are known; AP beside pycocotools."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detkit.data.ground_truth import GroundTruth, Objects, numbered
from detkit.evaluation.coco_matching import average_precision_coco, match_coco
from detkit.evaluation.errors import MAIN_KINDS, SPECIAL_KINDS, VOC_GROUPS, ErrorAnalysis, decompose
from detkit.evaluation.errors import ErrorKind as E
from detkit.structures import Detections
from tests.evaluation.plain_coco import with_difficult_and_ties
from tests.evaluation.pycocotools_reference import precision_at_50

Box = tuple[float, float, float, float]
Object = tuple[Box, int, bool]
Row = tuple[Box, float, int]

A, B, C = (0.0, 0.0, 10.0, 10.0), (20.0, 20.0, 40.0, 40.0), (50.0, 0.0, 60.0, 10.0)
NEAR_A = (5.0, 0.0, 15.0, 10.0)  # IoU 1/3
ELSEWHERE = (70.0, 70.0, 90.0, 90.0)
CAT, DOG, BIRD = 0, 1, 2


def truth_of(*images: list[Object]) -> GroundTruth:
    parts = [
        Objects.of_boxes(
            np.array([label for _, label, _ in rows], dtype=np.int64),
            np.array([box for box, _, _ in rows]),
            np.array([ignore for _, _, ignore in rows], dtype=np.bool_),
        )
        for rows in images
    ]
    parts = [replace(objects, crowd=objects.ignore) for objects in parts]
    names = [f"image{k}" for k in range(len(parts))]
    return numbered(("cat", "dog", "bird"), names, [(100, 100)] * len(parts), parts)


def found(*rows: Row) -> Detections:
    boxes, scores, labels = zip(*rows) if rows else ((), (), ())
    return Detections(torch.tensor(boxes).reshape(-1, 4), torch.tensor(scores).float(), torch.tensor(labels).long())


def analyse(objects: list[Object], *rows: Row) -> ErrorAnalysis:
    return decompose({"image0": found(*rows)}, truth_of(objects))


def losses(analysis: ErrorAnalysis) -> dict[E, float]:
    return {kind: analysis.loss[kind] for kind in MAIN_KINDS if analysis.loss[kind] != 0}


CATS: list[Object] = [(A, CAT, False), (B, CAT, False)]
A_HIT: Row = (A, 0.9, CAT)
HALF = 51 / 101  # AP of one object found of two, without a false detection: recalls 0 to .50


def test_perfect() -> None:
    analysis = analyse([*CATS, (C, DOG, False)], A_HIT, (B, 0.8, CAT), (C, 0.7, DOG))
    assert analysis.ap == 1.0
    assert analysis.ap_of_class == {"cat": 1.0, "dog": 1.0, "bird": None}
    assert set(analysis.loss.values()) == {0.0}
    assert set(analysis.loss) == {*MAIN_KINDS, *SPECIAL_KINDS}
    assert set(analysis.loss_of_class) == {"cat", "dog"}
    assert analysis.counts == {kind: 3 if kind is E.TP else 0 for kind in E if kind not in SPECIAL_KINDS}
    assert len(analysis.missed.kind) == 0


def test_pure_misses() -> None:
    analysis = analyse([*CATS, (C, DOG, False)], A_HIT)
    assert analysis.ap_of_class == {"cat": pytest.approx(HALF), "dog": 0.0, "bird": None}
    assert losses(analysis) == {E.MISS: pytest.approx(1 - HALF / 2)}
    assert analysis.loss[E.FALSE_NEGATIVE] == pytest.approx(1 - HALF / 2)
    assert analysis.loss[E.FALSE_POSITIVE] == 0
    assert analysis.missed.object_row.tolist() == [1, 2]
    assert analysis.missed.kind.tolist() == [E.MISS, E.MISS]
    assert analysis.counts_of_class["dog"][E.MISS] == 1


def test_pure_duplicates() -> None:
    """Hit, duplicate, hit: precision 1 up to recall 1/2, then 2/3."""
    analysis = analyse(CATS, A_HIT, (A, 0.8, CAT), (B, 0.7, CAT))
    ap = (51 + 50 * 2 / 3) / 101
    assert analysis.ap == pytest.approx(ap)
    assert losses(analysis) == {E.DUPE: pytest.approx(1 - ap)}
    assert analysis.detections.kind.tolist() == [E.TP, E.DUPE, E.TP]
    assert analysis.detections.object_row.tolist() == [0, 0, 1]


def test_pure_shifts() -> None:
    analysis = analyse(CATS, (NEAR_A, 0.9, CAT), (B, 0.8, CAT))
    ap = 51 / 101 / 2  # recall 1/2 at precision 1/2
    assert analysis.ap == pytest.approx(ap)
    assert losses(analysis) == {E.LOC: pytest.approx(1 - ap)}
    assert analysis.detections.iou.tolist() == [pytest.approx(1 / 3), 1.0]
    assert analysis.missed.kind.tolist() == [E.LOC]
    assert analysis.counts[E.MISS] == 0


def test_pure_confusions() -> None:
    """A dog called cat: the cats lose precision, the dog is not found; mended it counts for the dogs."""
    analysis = analyse([(A, CAT, False), (B, DOG, False)], (B, 0.9, CAT), (A, 0.8, CAT))
    assert analysis.ap_of_class == {"cat": 0.5, "dog": 0.0, "bird": None}
    assert losses(analysis) == {E.CLS: pytest.approx(0.75)}
    assert {name: loss[E.CLS] for name, loss in analysis.loss_of_class.items()} == {"cat": 0.5, "dog": 1.0}
    assert analysis.missed.kind.tolist() == [E.CLS]
    assert analysis.missed.label.tolist() == [DOG]
    assert analysis.counts_of_class["cat"][E.CLS] == 1


def test_pure_background() -> None:
    analysis = analyse([(A, CAT, False)], (ELSEWHERE, 0.9, CAT), (A, 0.8, CAT))
    assert analysis.ap == 0.5
    assert losses(analysis) == {E.BKG: 0.5}
    assert analysis.loss[E.FALSE_POSITIVE] == 0.5
    assert analysis.detections.object_row.tolist() == [-1, 0]


def test_pure_both() -> None:
    analysis = analyse([(A, CAT, False), (B, DOG, False)], (NEAR_A, 0.9, DOG), (A, 0.8, CAT), (B, 0.8, DOG))
    assert analysis.ap_of_class == {"cat": 1.0, "dog": 0.5, "bird": None}
    assert losses(analysis) == {E.BOTH: pytest.approx(0.25)}
    assert analysis.detections.kind.tolist() == [E.BOTH, E.TP, E.TP]
    assert analysis.detections.object_row[0] == 0


def test_a_mix_by_hand() -> None:
    """Three cats and a dog. In order of the scores: background, a cat found, the same again, near the second cat, the
    dog called cat, near the third cat but called dog."""
    far = (80.0, 0.0, 90.0, 10.0)
    analysis = analyse(
        [(A, CAT, False), (B, CAT, False), (C, DOG, False), (far, CAT, False)],
        (ELSEWHERE, 0.9, CAT),
        (A, 0.8, CAT),
        (A, 0.7, CAT),
        ((20.0, 20.0, 40.0, 28.0), 0.6, CAT),  # IoU .4 with B
        (C, 0.5, CAT),
        ((80.0, 0.0, 90.0, 4.0), 0.4, DOG),
    )
    kinds = [E.BKG, E.TP, E.DUPE, E.LOC, E.CLS, E.BOTH]
    assert analysis.detections.kind.tolist() == kinds
    assert analysis.detections.object_row.tolist() == [-1, 0, 0, 1, 2, 3]
    assert analysis.detections.iou.tolist() == pytest.approx([0, 1, 1, 0.4, 1, 0.4])
    assert analysis.missed.kind.tolist() == [E.LOC, E.CLS, E.MISS]
    third, two_thirds = 34, 33  # of 101 recalls: 0 to .33, .34 to .66
    cat = third * (1 / 2) / 101  # of three cats one is found, second
    assert analysis.ap_of_class == {"cat": pytest.approx(cat), "dog": 0.0, "bird": None}
    cat_losses = {
        E.CLS: 0.0,  # it stands behind the only hit
        E.LOC: two_thirds * (2 / 4) / 101,  # second hit, as fourth of all
        E.BOTH: 0.0,
        E.DUPE: 0.0,
        E.BKG: third * (1 - 1 / 2) / 101,
        E.MISS: (51 - third) * (1 / 2) / 101,  # of two
        E.FALSE_POSITIVE: third * (1 - 1 / 2) / 101,
        E.FALSE_NEGATIVE: (101 - third) * (1 / 2) / 101,  # of one
    }
    assert analysis.loss_of_class["cat"] == pytest.approx(cat_losses)
    dog_losses = dict.fromkeys(cat_losses, 0.0) | {E.CLS: 1.0}  # .5 as a dog stands before the BOTH of .4
    assert analysis.loss_of_class["dog"] == pytest.approx(dog_losses)
    assert analysis.loss == pytest.approx({kind: (cat_losses[kind] + dog_losses[kind]) / 2 for kind in cat_losses})
    assert analysis.progressive[E.MISS] == 1.0


@pytest.mark.parametrize(
    ("objects", "row", "kind"),
    [
        pytest.param([(A, CAT, False)], ((0.0, 0.0, 10.0, 5.0), 0.5, CAT), E.TP, id="IoU .5 is enough"),
        pytest.param([(A, CAT, False)], ((0.0, 0.0, 10.0, 1.0), 0.5, CAT), E.LOC, id="IoU .1 is near"),
        pytest.param([(A, CAT, False)], ((0.0, 0.0, 10.0, 0.9), 0.5, CAT), E.BKG, id="IoU .09 is background"),
        pytest.param([(A, CAT, False)], ((0.0, 0.0, 10.0, 5.0), 0.5, DOG), E.CLS, id="fits another class"),
        pytest.param([(A, CAT, False)], ((0.0, 0.0, 10.0, 1.0), 0.5, DOG), E.BOTH, id="near another class"),
        pytest.param([(A, CAT, False), (NEAR_A, DOG, False)], (A, 0.5, DOG), E.LOC, id="LOC goes before CLS"),
        pytest.param([(A, CAT, True)], (A, 0.5, CAT), E.IGNORED, id="in an ignored object"),
        pytest.param([(B, CAT, True)], ((20.0, 20.0, 22.0, 22.0), 0.5, CAT), E.IGNORED, id="a part of a crowd"),
        pytest.param([(B, CAT, True)], ((18.0, 20.0, 22.0, 22.0), 0.5, CAT), E.IGNORED, id="half inside a crowd"),
        pytest.param([(B, CAT, True)], ((17.0, 20.0, 22.0, 22.0), 0.5, CAT), E.BKG, id="less than half inside"),
        pytest.param([(A, CAT, True)], (A, 0.5, DOG), E.BKG, id="ignored objects of other classes are not there"),
        pytest.param([(A, CAT, True), (A, CAT, False)], (A, 0.5, CAT), E.TP, id="an object goes before a crowd"),
    ],
)
def test_kind_of_one_detection(objects: list[Object], row: Row, kind: E) -> None:
    assert analyse(objects, row).detections.kind.tolist() == [kind]


def test_a_duplicate_that_fits_another_class_is_a_confusion() -> None:
    analysis = analyse([(A, CAT, False), (A, DOG, False)], A_HIT, (A, 0.8, CAT))
    assert analysis.detections.kind.tolist() == [E.TP, E.CLS]
    assert analysis.missed.kind.tolist() == [E.CLS]


def test_errors_about_a_found_object_are_taken_out() -> None:
    """Near the cat that a worse scored detection finds, and called dog: mending either makes no second hit."""
    analysis = analyse([(A, CAT, False)], (NEAR_A, 0.9, CAT), (A, 0.8, CAT))
    assert losses(analysis) == {E.LOC: 0.5}
    analysis = analyse([(A, CAT, False), (B, DOG, False)], (A, 0.9, DOG), (A, 0.8, CAT), (B, 0.7, DOG))
    assert losses(analysis) == {E.CLS: pytest.approx(0.25)}


def test_the_best_of_several_errors_is_corrected() -> None:
    """Of two shifts about one cat the first becomes the hit and the other goes; so with a shift and a confusion."""
    nearer = (4.0, 0.0, 14.0, 10.0)
    analysis = analyse([(A, CAT, False)], (NEAR_A, 0.9, CAT), (nearer, 0.8, CAT))
    assert analysis.loss[E.LOC] == 1.0
    mixed = analyse([(A, CAT, False)], (NEAR_A, 0.8, CAT), (A, 0.9, DOG))
    assert mixed.missed.kind.tolist() == [E.CLS]  # the better scored
    assert mixed.loss[E.LOC] == mixed.loss[E.CLS] == 1.0  # each by itself
    assert mixed.progressive[E.LOC] == 1.0


def test_ignored_objects_and_their_detections_are_left_out() -> None:
    analysis = analyse([(A, CAT, False), (B, CAT, True)], (B, 0.95, CAT), (B, 0.95, CAT), A_HIT)
    assert analysis.ap == 1.0
    assert set(analysis.loss.values()) == {0.0}
    assert analysis.counts[E.IGNORED] == 2
    assert len(analysis.missed.kind) == 0


def test_a_difficult_object_is_left_out_with_one_detection() -> None:
    """The second is its duplicate, and a part of it finds nothing; nothing is missed."""
    truth = truth_of([(A, CAT, False), (B, CAT, True)])
    truth = replace(truth, objects=replace(truth.objects, crowd=np.zeros(2, dtype=np.bool_)))
    part = (20.0, 20.0, 30.0, 30.0)  # IoU 1/4
    analysis = decompose({"image0": found((B, 0.95, CAT), (B, 0.9, CAT), (part, 0.85, CAT), (A, 0.8, CAT))}, truth)
    assert analysis.detections.kind.tolist() == [E.IGNORED, E.DUPE, E.BKG, E.TP]
    assert analysis.detections.object_row.tolist() == [1, 1, -1, 0]
    assert analysis.ap == pytest.approx(1 / 3)
    assert losses(analysis) == {E.DUPE: pytest.approx(1 / 2 - 1 / 3), E.BKG: pytest.approx(1 / 2 - 1 / 3)}
    assert len(analysis.missed.kind) == 0


def test_a_hundred_detections_of_an_image_are_judged() -> None:
    rows = [(ELSEWHERE, 0.9, CAT)] * 99
    analysis = analyse(CATS, *rows, (A, 0.5, CAT), (B, 0.4, CAT))
    assert len(analysis.detections.kind) == 100
    assert analysis.counts[E.TP] == 1
    assert analysis.missed.object_row.tolist() == [1]


def test_records_say_where() -> None:
    truth = truth_of([(C, BIRD, False)], [], [(A, CAT, False), (B, CAT, False)])
    analysis = decompose({"image2": found((C, 0.3, CAT), (B, 0.9, CAT)), "image0": found((C, 0.5, BIRD))}, truth)
    judged = analysis.detections
    assert judged.image_index.tolist() == [2, 0, 2]
    assert judged.rank.tolist() == [1, 0, 0]
    assert judged.label.tolist() == [CAT, BIRD, CAT]
    assert judged.score.tolist() == pytest.approx([0.9, 0.5, 0.3])
    assert judged.object_row.tolist() == [1, 0, -1]
    assert (analysis.missed.image_index.tolist(), analysis.missed.object_row.tolist()) == ([2], [0])


def test_similar_and_other_classes() -> None:
    objects: list[Object] = [(A, CAT, False), (B, DOG, False), (C, BIRD, False)]
    detections = {"image0": found((A, 0.9, DOG), (C, 0.8, DOG))}
    groups = {"cat": "furry", "dog": "furry", "bird": "feathered"}
    split = decompose(detections, truth_of(objects), groups=groups).similar
    assert split is not None
    assert (split.num_similar, split.num_other) == (1, 1)
    assert split.is_similar.tolist() == [True, False]
    assert split.similar_loss == split.other_loss == pytest.approx(1 / 3)  # the cat, the bird
    with pytest.raises(ValueError, match=r"groups: none for the classes \['bird'\]"):
        decompose(detections, truth_of(objects), groups={"cat": "furry", "dog": "furry"})
    assert decompose(detections, truth_of(objects)).similar is None


def test_groups_of_voc() -> None:
    assert len(VOC_GROUPS) == 20
    assert VOC_GROUPS["car"] == VOC_GROUPS["bus"] != VOC_GROUPS["person"] == VOC_GROUPS["dog"]


def test_nothing_to_find_and_nothing_found() -> None:
    for truth in (truth_of(), truth_of([]), truth_of([(A, CAT, True)])):
        analysis = decompose({}, truth)
        assert analysis.ap is None
        assert set(analysis.loss.values()) == {0.0}
        assert analysis.loss_of_class == {}
        assert set(analysis.counts.values()) == {0}
    alone = decompose({"image0": found(A_HIT)}, truth_of([]))
    assert alone.ap is None
    assert alone.detections.kind.tolist() == [E.BKG]


def test_a_class_without_objects_left_has_ap_0_where_it_still_has_detections() -> None:
    analysis = analyse([(A, CAT, False)], (ELSEWHERE, 0.9, CAT))
    assert (analysis.loss[E.MISS], analysis.loss[E.BKG]) == (0.0, 0.0)
    assert analysis.progressive[E.MISS] == 1.0


@pytest.mark.parametrize(("foreground", "background"), [(0.5, 0.5), (0.5, 0.0), (1.5, 0.1), (0.1, 0.5)])
def test_ious_out_of_order(foreground: float, background: float) -> None:
    with pytest.raises(ValueError, match=f"background_iou {background}, foreground_iou {foreground}"):
        decompose({}, truth_of([]), foreground, background)


def test_unknown_image() -> None:
    with pytest.raises(ValueError, match="'elsewhere'"):
        decompose({"elsewhere": found()}, truth_of([]))


corner, extent = st.integers(0, 6), st.integers(1, 6)
boxes = st.builds(lambda x, y, w, h: (float(x), float(y), float(x + w), float(y + h)), corner, corner, extent, extent)
labels = st.integers(0, 2)
images = st.tuples(
    st.lists(st.tuples(boxes, labels, st.booleans()), max_size=5),
    st.lists(st.tuples(boxes, st.sampled_from([0.1, 0.25, 0.5, 0.75]), labels), max_size=8),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(images, max_size=4))
def test_kinds_add_up_and_mending_all_gives_1(images: list[tuple[list[Object], list[Row]]]) -> None:
    truth = truth_of(*(objects for objects, _ in images))
    analysis = decompose({f"image{k}": found(*rows) for k, (_, rows) in enumerate(images)}, truth)
    num_objects = int((~truth.objects.ignore).sum())
    assert sum(analysis.counts.values()) - analysis.counts[E.MISS] == sum(len(rows) for _, rows in images)
    assert analysis.counts[E.TP] + len(analysis.missed.kind) == num_objects
    assert all(loss >= 0 for by_kind in analysis.loss_of_class.values() for loss in by_kind.values())
    assert num_objects == 0 or analysis.progressive[E.MISS] == 1.0
    steps = list(analysis.progressive.values())
    assert steps == sorted(steps)


def random_case(seed: int) -> tuple[GroundTruth, dict[str, Detections]]:
    """Objects, one in five ignored, and boxes about them, some of another class."""
    generator = np.random.default_rng(seed)
    parts, detections = [], {}
    for image in range(12):
        number = int(generator.integers(0, 8))
        boxes = np.concatenate([generator.uniform(0, 80, (number, 2)), generator.uniform(5, 60, (number, 2))], axis=1)
        boxes[:, 2:] += boxes[:, :2]
        own = generator.integers(0, 3, number)
        objects = Objects.of_boxes(own, boxes, generator.random(number) < 0.2)
        parts.append(replace(objects, crowd=objects.ignore))
        shaken = np.repeat(boxes, 4, axis=0) + generator.normal(0, 4, (4 * number, 4))
        shaken[:, 2:] = np.maximum(shaken[:, 2:], shaken[:, :2] + 1)
        taken = np.where(generator.random(4 * number) < 0.8, np.repeat(own, 4), generator.integers(0, 3, 4 * number))
        detections[f"image{image}"] = Detections(
            torch.tensor(shaken).float(), torch.tensor(generator.random(4 * number)).float(), torch.tensor(taken)
        )
    return numbered(("cat", "dog", "bird"), list(detections), [(200, 200)] * 12, parts), detections


@pytest.mark.parametrize("seed", range(3))
def test_ap_equals_pycocotools(seed: int) -> None:
    truth, detections = random_case(seed)
    expected = pycocotools_ap50(truth, detections)
    assert list(decompose(detections, truth).ap_of_class.values()) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_ap_is_coco_s_with_difficult_objects_and_equal_scores(seed: int) -> None:
    truth, coarse = with_difficult_and_ties(*random_case(seed), seed)
    expected = average_precision_coco(match_coco(coarse, truth))[0].tolist()
    assert list(decompose(coarse, truth).ap_of_class.values()) == pytest.approx(expected, abs=1e-9)


def pycocotools_ap50(truth: GroundTruth, detections: dict[str, Detections]) -> list[float]:
    """Of each class."""
    return precision_at_50(truth, detections)[:, :, 0].mean(axis=0).tolist()
