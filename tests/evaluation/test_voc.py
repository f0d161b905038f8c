"""VOC average precision: a table worked out by hand, the devkit's corner cases, and a plain loop beside it."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detkit.data.dataset import DetectionDataset
from detkit.evaluation.voc import VOC07_RECALLS, Metric, Outcome, average_precision, elementwise_iou, evaluate
from detkit.structures import Detections, Sample, Size, Target

Box = tuple[float, float, float, float]


@dataclass
class Annotations:
    """A data set without images."""

    classes: tuple[str, ...]
    targets: dict[str, Target]

    @property
    def image_ids(self) -> tuple[str, ...]:
        return tuple(self.targets)

    def __len__(self) -> int:
        return len(self.targets)

    def read(self, index: int) -> Sample:
        raise NotImplementedError

    def target(self, index: int) -> Target:
        return self.targets[self.image_ids[index]]

    def size(self, index: int) -> Size:
        raise NotImplementedError


def target(*rows: tuple[Box, int, bool]) -> Target:
    boxes, labels, ignore = zip(*rows) if rows else ((), (), ())
    return Target(
        torch.tensor(boxes).reshape(-1, 4), torch.tensor(labels, dtype=torch.int64), torch.tensor(ignore).bool()
    )


def found(*rows: tuple[Box, float, int]) -> Detections:
    boxes, scores, labels = zip(*rows) if rows else ((), (), ())
    return Detections(
        torch.tensor(boxes).reshape(-1, 4), torch.tensor(scores).float(), torch.tensor(labels, dtype=torch.int64)
    )


A, B, C = (0.0, 0.0, 10.0, 10.0), (20.0, 20.0, 40.0, 40.0), (50.0, 0.0, 60.0, 10.0)
ELSEWHERE = (70.0, 70.0, 90.0, 90.0)


def hand_worked() -> tuple[Annotations, dict[str, Detections]]:
    """Four cats in two images, one difficult; a dog nobody finds; no bird at all."""
    dataset = Annotations(
        ("cat", "dog", "bird"),
        {"one": target((A, 0, False), (B, 0, False), (C, 0, True)), "two": target((A, 0, False), (B, 1, False))},
    )
    detections = {
        "one": found((A, 0.9, 0), (A, 0.8, 0), (C, 0.7, 0), (B, 0.4, 0)),  # hit, duplicate, ignored, hit
        "two": found((ELSEWHERE, 0.6, 0), (B, 0.5, 0), (A, 0.3, 2)),  # background, a dog called cat, no bird
    }
    return dataset, detections


def test_hand_worked_outcomes() -> None:
    dataset, detections = hand_worked()
    cat = evaluate(detections, dataset, "voc10").classes["cat"]
    hit, false, ignored = Outcome.TP, Outcome.FP, Outcome.IGNORED
    assert cat.outcome.tolist() == [hit, false, ignored, false, false, hit]
    assert cat.num_objects == 3
    assert cat.precision.tolist() == [1, 1 / 2, 1 / 2, 1 / 3, 1 / 4, 2 / 5]
    assert cat.recall.tolist() == [1 / 3, 1 / 3, 1 / 3, 1 / 3, 1 / 3, 2 / 3]
    assert cat.image_index.tolist() == [0, 0, 0, 1, 1, 0]
    assert cat.rank.tolist() == [0, 1, 2, 0, 1, 3]
    assert cat.object_index.tolist() == [0, 0, 2, -1, -1, 1]
    assert cat.overlap.tolist() == [1, 1, 1, 0, 0, 1]
    assert np.array_equal(cat.is_tp | cat.is_false, cat.outcome != Outcome.IGNORED)


@pytest.mark.parametrize(
    ("metric", "cat_ap"),
    [
        ("voc07", (4 * 1 + 3 * 0.4) / 11),  # recalls 0 to .3 at precision 1, .4 to .6 at 2/5
        ("voc10", 1 / 3 * 1 + 1 / 3 * 0.4),
    ],
)
def test_hand_worked_ap(metric: Metric, cat_ap: float) -> None:
    dataset, detections = hand_worked()
    result = evaluate(detections, dataset, metric)
    assert result.ap == {"cat": pytest.approx(cat_ap), "dog": 0.0, "bird": None}
    assert result.mean_ap == pytest.approx(cat_ap / 2)


def test_inclusive_pixels_decide() -> None:
    """In a file: 1..10 in x against 4..13, so 7 of 13 columns are common; by exclusive widths it were 6 of 12."""
    dataset = Annotations(("cat",), {"one": target(((0.0, 0.0, 10.0, 10.0), 0, False))})
    result = evaluate({"one": found(((3.0, 0.0, 13.0, 10.0), 1.0, 0))}, dataset, "voc07")
    assert result.classes["cat"].overlap.tolist() == [pytest.approx(7 / 13)]
    assert result.mean_ap == pytest.approx(1.0)


def test_overlap_of_exactly_min_iou_is_no_hit() -> None:
    dataset = Annotations(("cat",), {"one": target((A, 0, False))})
    half = {"one": found(((0.0, 0.0, 10.0, 5.0), 1.0, 0))}
    assert evaluate(half, dataset, "voc07").mean_ap == 0
    assert evaluate(half, dataset, "voc07", min_iou=0.49).mean_ap == pytest.approx(1.0)


def test_best_object_decides_even_when_taken() -> None:
    """The second detection overlaps both objects enough, but best the one that is taken: false, not the other's hit."""
    near = (0.0, 0.0, 10.0, 8.0)
    dataset = Annotations(("cat",), {"one": target((A, 0, False), (near, 0, False))})
    one = evaluate({"one": found((A, 0.9, 0), ((0.0, 0.0, 10.0, 9.5), 0.8, 0))}, dataset, "voc07").classes["cat"]
    assert one.outcome.tolist() == [Outcome.TP, Outcome.FP]
    assert one.object_index.tolist() == [0, 0]


def test_first_of_equal_objects_decides() -> None:
    dataset = Annotations(("cat",), {"one": target((A, 0, False), (A, 0, False))})
    one = evaluate({"one": found((A, 0.9, 0), (A, 0.8, 0))}, dataset, "voc07").classes["cat"]
    assert one.object_index.tolist() == [0, 0]
    assert one.outcome.tolist() == [Outcome.TP, Outcome.FP]


def test_ties_keep_the_order_of_the_mapping() -> None:
    dataset = Annotations(("cat",), {"one": target((A, 0, False)), "two": target()})
    hit, miss = found((A, 0.5, 0)), found((ELSEWHERE, 0.5, 0))
    assert evaluate({"one": hit, "two": miss}, dataset, "voc10").mean_ap == pytest.approx(1.0)
    assert evaluate({"two": miss, "one": hit}, dataset, "voc10").mean_ap == pytest.approx(0.5)


def test_recalls_of_voc07_are_matlabs() -> None:
    """Of ten objects n are found, then nothing: each recall up to n/10 counts, but 3/10 < 3 * 0.1."""
    reached = [sum(number / 10 >= recall for recall in VOC07_RECALLS) for number in range(11)]
    assert reached == [1, 2, 3, 3, 5, 6, 7, 8, 9, 10, 11]
    recall = np.arange(1, 8) / 10
    assert average_precision(np.ones(7), recall, "voc07") == pytest.approx(8 / 11)


def test_nothing_to_find_and_nothing_found() -> None:
    empty = Annotations(("cat",), {"one": target((A, 0, True))})
    assert evaluate({}, empty, "voc07").mean_ap is None
    assert evaluate({"one": found((A, 0.9, 0))}, empty, "voc10").classes["cat"].ap is None
    assert evaluate({}, Annotations(("cat",), {}), "voc07").mean_ap is None
    assert evaluate({}, Annotations(("cat",), {"one": target((A, 0, False))}), "voc07").mean_ap == 0
    assert average_precision(np.zeros(0), np.zeros(0), "voc10") == 0


@pytest.mark.parametrize(
    ("detections", "message"),
    [
        ({"three": found((A, 0.9, 0))}, "image 'three'.*no such id"),
        ({"one": found((A, 0.9, 0), (A, float("nan"), 0))}, "image 'one', detection 1: score nan"),
        ({"two": found(((0.0, float("nan"), 1.0, 1.0), 0.9, 0))}, "image 'two', detection 0: .*nan"),
        ({"one": found((A, 0.9, 3))}, r"label 3; expected 0\.\.2"),
        ({"one": found((A, 0.9, -1))}, "label -1"),
        ({"one": Detections(torch.zeros(2, 4), torch.zeros(1), torch.zeros(1).long())}, "image 'one'.*expected"),
    ],
)
def test_faulty_detections_are_named(detections: dict[str, Detections], message: str) -> None:
    dataset, _ = hand_worked()
    with pytest.raises(ValueError, match=message):
        evaluate(detections, dataset, "voc07")


def test_unknown_metric() -> None:
    with pytest.raises(ValueError, match="'voc12'"):
        evaluate({}, Annotations(("cat",), {}), "voc12")  # type: ignore[arg-type]


def test_pairwise_overlap() -> None:
    inside_out = (5.0, 5.0, 2.0, 2.0)
    boxes = np.array([A, A, A, inside_out])
    others = np.array([A, (5.0, 0.0, 15.0, 10.0), (10.0, 0.0, 20.0, 10.0), A])
    assert elementwise_iou(boxes, others).tolist() == [1, 50 / 150, 0, 0]


# The same rules once more, one detection at a time.


def plain_ap(
    detections: dict[str, Detections], dataset: DetectionDataset, label: int, metric: Metric, min_iou: float
) -> float | None:
    targets = {image_id: dataset.target(index) for index, image_id in enumerate(dataset.image_ids)}
    lines = [
        (image_id, one.scores[row].item(), one.boxes[row].tolist())
        for image_id, one in detections.items()
        for row in range(len(one))
        if one.labels[row] == label
    ]
    lines.sort(key=lambda line: -line[1])
    num_objects = sum(int(((one.labels == label) & ~one.ignore).sum()) for one in targets.values())
    if not num_objects:
        return None
    taken, hits, false, curve = set(), 0, 0, []
    for image_id, _, box in lines:
        one, best, best_row = targets[image_id], 0.0, -1
        for row in range(len(one.labels)):
            overlap = plain_iou(box, one.boxes[row].tolist())
            if one.labels[row] == label and overlap > best:
                best, best_row = overlap, row
        if best > min_iou and one.ignore[best_row]:
            pass
        elif best > min_iou and (image_id, best_row) not in taken:
            taken.add((image_id, best_row))
            hits += 1
        else:
            false += 1
        curve.append((hits / num_objects, hits / (hits + false) if hits + false else 0.0))
    if metric == "voc07":
        return sum(max((p for r, p in curve if r >= t), default=0.0) for t in VOC07_RECALLS) / 11
    steps = zip([(0.0, 0.0), *curve], curve)
    return sum((curve[k][0] - before[0]) * max(p for _, p in curve[k:]) for k, (before, _) in enumerate(steps))


def plain_iou(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    common = width * height
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


corner, extent = st.integers(0, 6), st.integers(1, 6)
boxes = st.builds(lambda x, y, w, h: (float(x), float(y), float(x + w), float(y + h)), corner, corner, extent, extent)
labels = st.integers(0, 2)
few_scores = st.sampled_from([0.1, 0.25, 0.5, 0.75])  # so that many are equal
images = st.tuples(
    st.lists(st.tuples(boxes, labels, st.booleans()), max_size=5),
    st.lists(st.tuples(boxes, few_scores, labels), max_size=8),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(images, max_size=4), st.sampled_from(["voc07", "voc10"]), st.sampled_from([0.3, 0.5]))
def test_equals_a_plain_loop(images: list[tuple[list, list]], metric: Metric, min_iou: float) -> None:
    dataset = Annotations(("a", "b", "c"), {f"image{k}": target(*objects) for k, (objects, _) in enumerate(images)})
    detections = {f"image{k}": found(*rows) for k, (_, rows) in enumerate(images)}
    result = evaluate(detections, dataset, metric, min_iou)
    for label, one in enumerate(result.classes.values()):
        expected = plain_ap(detections, dataset, label, metric, min_iou)
        assert one.ap == (None if expected is None else pytest.approx(expected, abs=1e-12))
