"""SVMs: cases by hand, and beside them one SVM trained on all negatives at once and a plain minimiser of its loss."""

import dataclasses
import math
import warnings
from collections.abc import Iterable, Sequence

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.svm import LinearSVC
from torch import Tensor

from detkit.staged.svm import NEVER, Examples, LinearSVMs, SVMRule, mean_norm, train_svms

RULE = SVMRule(first_negatives=50, retrain_after=40)
D = 12


def silent(images: Sequence[int], label: str) -> Iterable[int]:
    return images


def image(features: Tensor, positive_of: Sequence[int], num_classes: int = 2) -> Examples:
    """Rows with a class are its objects and negatives of all other classes; rows with -1 are negatives of all."""
    owner = torch.tensor(positive_of, dtype=torch.int64)
    return Examples(features, owner, owner[:, None] != torch.arange(num_classes))


def scene(seed: int, images: int = 30, boxes: int = 60, shift: float = 1.5) -> list[Examples]:
    """Each image has one object of each of two classes, moved along an axis of its own; they overlap the background."""
    random = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(images):
        features = torch.randn(boxes, D, generator=random)
        features[0, 0] += 4 * shift
        features[1, 1] += 4 * shift
        made.append(image(features, [0, 1] + [-1] * (boxes - 2)))
    return made


def train(examples: Sequence[Examples], rule: SVMRule = RULE, num_classes: int = 2) -> LinearSVMs:
    return train_svms(lambda i: examples[i], lambda i: examples[i], range(len(examples)), num_classes, rule, silent)


def everything(examples: Sequence[Examples], label: int, scale: float) -> tuple[Tensor, Tensor]:
    """Scaled positives and negatives of a class in all images."""
    positives = torch.cat([e.features[e.positive_of == label] for e in examples]) * scale
    return positives, torch.cat([e.features[e.negative_for[:, label]] for e in examples]) * scale


def loss(weights: Tensor, bias: Tensor, positives: Tensor, negatives: Tensor, rule: SVMRule) -> float:
    """What the published code prints as its objective."""
    hinge = rule.positive_weight * (1 - positives @ weights - bias).clamp(min=0).sum()
    hinge = hinge + (1 + negatives @ weights + bias).clamp(min=0).sum()
    return float(rule.C * hinge + 0.5 * weights @ weights + 0.5 * (bias / rule.bias_multiplier) ** 2)


def test_mean_norm() -> None:
    blocks = [torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.zeros(0, 2), torch.tensor([[6.0, 8.0]]).half()]
    assert mean_norm(blocks) == pytest.approx((5 + 1 + 10) / 3)


@pytest.mark.parametrize("blocks", [[], [torch.zeros(0, 3)], [torch.zeros(2, 3)], [torch.tensor([[math.nan]])]])
def test_a_mean_norm_that_scales_nothing_is_refused(blocks: list[Tensor]) -> None:
    with pytest.raises(ValueError, match=r"features: the mean norm of \d rows is (0\.0|nan)"):
        mean_norm(blocks)


def test_two_points_by_hand() -> None:
    """Scaled to norm 20 they stand at 20 and -20; with all multipliers held inside 0..C the widest margin is reached.

    w and the weight v of the constant 10 minimise w^2 + v^2 with 20 w + 10 v = 1 = 20 w - 10 v: v = 0, w = 1 / 20.
    """
    rule = SVMRule(C=1.0)
    svms = train([image(torch.tensor([[0.5], [-0.5]]), [0, -1], 1)], rule, num_classes=1)
    assert svms.scale == 40
    torch.testing.assert_close(svms.weights, torch.tensor([[1 / 20]]), atol=1e-5, rtol=0)
    torch.testing.assert_close(svms.bias, torch.zeros(1), atol=1e-4, rtol=0)
    margins = svms.margins(torch.tensor([[0.5], [0.25], [-1.0]]).half())
    torch.testing.assert_close(margins, torch.tensor([[1.0], [0.5], [-2.0]]), atol=1e-4, rtol=0)
    assert svms.margins(torch.zeros(0, 1)).shape == (0, 1)


def test_the_loss_is_as_low_as_a_plain_minimiser_gets_it() -> None:
    """Weight of positives and bias multiplier included: either one left out moves the minimum."""
    rule = SVMRule(C=0.01, positive_weight=3.0, bias_multiplier=0.5, first_negatives=1000)  # all negatives are taken
    examples = scene(1, images=6, boxes=20, shift=0.6)
    svms = train(examples, rule)
    positives, negatives = everything(examples, 0, svms.scale)

    def objective(packed: np.ndarray) -> float:
        values = torch.from_numpy(packed)
        return loss(values[:-1], values[-1], positives.double(), negatives.double(), rule)

    start = np.append(svms.weights[0].double().numpy(), svms.bias[0].item())
    ours = objective(start)
    found = minimize(objective, start, method="Powell", options={"maxiter": 20})
    assert found.fun > ours * (1 - 1e-4)
    for change in ({"positive_weight": 1.0}, {"bias_multiplier": 10.0}, {"C": 0.003}):
        other = train(examples, dataclasses.replace(rule, **change))
        assert objective(np.append(other.weights[0].double().numpy(), other.bias[0].item())) > ours * 1.01


@pytest.mark.parametrize("shift", [0.7, 1.0, 3.0])  # from classes that overlap the background to one well apart
def test_mining_finds_what_training_on_all_negatives_finds(shift: float) -> None:
    examples = scene(2, shift=shift)
    svms = train(examples)
    for label in range(2):
        positives, negatives = everything(examples, label, svms.scale)
        solver = LinearSVC(loss="hinge", C=RULE.C, class_weight={1: 2.0}, intercept_scaling=10.0, max_iter=100_000)
        solver.fit(torch.cat([positives, negatives]).numpy(), [1] * len(positives) + [0] * len(negatives))
        rows = torch.cat([positives, negatives])
        expected = torch.from_numpy(solver.decision_function(rows.numpy())).float()
        mined = rows @ svms.weights[label] + svms.bias[label]
        torch.testing.assert_close(mined, expected, atol=0.2, rtol=0)  # one pass misses a few
        best = (torch.from_numpy(solver.coef_[0]).float(), torch.tensor(solver.intercept_[0]).float())
        lowest = loss(*best, positives, negatives, RULE)
        assert loss(svms.weights[label], svms.bias[label], positives, negatives, RULE) < 1.03 * lowest


def test_rare_hard_negatives_are_found_after_the_first_training() -> None:
    """The last images hold a kind of background that looks like the class; a model of the first images takes it in."""
    easy, hard = scene(3, images=10), scene(4, images=10)
    for examples in hard:
        examples.features[2:12, 0] += 4.0
        examples.features[2:12, 5] += 6.0
    decoys = torch.cat([e.features[2:12] for e in hard])
    assert bool((train(easy).margins(decoys)[:, 0] > -0.8).float().mean() > 0.5)
    mined = train(easy + hard)
    assert bool((mined.margins(decoys)[:, 0] < -0.8).float().mean() > 0.8)
    objects = torch.cat([e.features[:1] for e in easy + hard])
    assert bool((mined.margins(objects)[:, 0] > mined.margins(decoys)[:, 0].max()).float().mean() > 0.8)


def sizes_of_fits(monkeypatch: pytest.MonkeyPatch, examples: Sequence[Examples], rule: SVMRule) -> list[tuple]:
    """(negatives, those above the margin) the solver was given, each time, for one class."""
    given: list[tuple[int, np.ndarray]] = []
    fit = LinearSVC.fit

    def spy(self: LinearSVC, rows: np.ndarray, labels: np.ndarray) -> LinearSVC:
        given.append((int((labels == 0).sum()), rows[labels == 0]))
        return fit(self, rows, labels)

    monkeypatch.setattr(LinearSVC, "fit", spy)
    train(examples, rule, num_classes=1)
    return given


def test_when_a_class_is_trained_and_what_is_evicted(monkeypatch: pytest.MonkeyPatch) -> None:
    """One object and 20 negatives far from it an image: the first training needs more than 50, three images.

    After it all 60 lie at a margin near -2.5 and are dropped; none of the later ones is hard. The last training, after
    the last image, would then have no negatives: what supports the margin must stay.
    """
    random = torch.Generator().manual_seed(0)
    examples = []
    for _ in range(6):
        features = torch.randn(21, D, generator=random) * 0.05
        features[0, 0] += 1.0
        features[1, 0] -= 0.8  # near
        features[2:, 0] -= 1.5
        examples.append(image(features, [0] + [-1] * 20, 1))
    rule = SVMRule(C=1.0, first_negatives=50, retrain_after=1000)
    first, last = sizes_of_fits(monkeypatch, examples, rule)
    assert first[0] == 3 * 20
    assert 1 <= last[0] <= 6  # of the near ones alone
    assert bool((last[1][:, 0] > -15).all())  # the scale is about 14: near ones stand at -11, the others at -21


def test_retraining_follows_the_number_of_new_hard_negatives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects equal to the background: all margins are -1, which is hard. 59 negatives an image, four images."""
    single = [image(torch.ones(60, 2), [0] + [-1] * 59, 1)] * 4
    every = [n for n, _ in sizes_of_fits(monkeypatch, single, SVMRule(first_negatives=58, retrain_after=58))]
    assert every == [59, 118, 177, 236, 236]
    monkeypatch.undo()
    never = [n for n, _ in sizes_of_fits(monkeypatch, single, SVMRule(first_negatives=59, retrain_after=118))]
    assert never == [118, 236]  # 59 are not more than 59, nor 118 more than 118
    monkeypatch.undo()
    full = SVMRule(first_negatives=58, retrain_after=58, max_negatives=150)
    assert [n for n, _ in sizes_of_fits(monkeypatch, single, full)] == [59, 118, 150]


def test_a_class_without_positives_is_never_found() -> None:
    examples = [Examples(e.features, e.positive_of, torch.ones(60, 3, dtype=torch.bool)) for e in scene(6, images=5)]
    svms = train(examples, num_classes=3)
    margins = svms.margins(examples[0].features)
    assert margins[:, 2].tolist() == [NEVER] * 60
    assert bool((margins[:, :2] > -20).all())
    nobody = [Examples(e.features, torch.full((60,), -1), e.negative_for) for e in examples]
    assert train(nobody, num_classes=3).margins(examples[0].features).tolist() == [[NEVER] * 3] * 60


def test_images_without_boxes_and_repeated_rows() -> None:
    examples = scene(7, images=6)
    nothing = image(torch.zeros(0, D), [])
    svms, gaps = train(examples), train([nothing, *examples[:3], nothing, *examples[3:], nothing])
    assert torch.equal(svms.weights, gaps.weights)
    assert torch.equal(svms.bias, gaps.bias)
    twice = [
        Examples(*(torch.cat([part, part]) for part in (e.features, e.positive_of, e.negative_for))) for e in examples
    ]
    halved = train(twice, SVMRule(C=RULE.C / 2, first_negatives=100, retrain_after=80))
    torch.testing.assert_close(halved.weights, svms.weights, atol=2e-3, rtol=0)


def test_half_precision_features_are_taken() -> None:
    halves = [dataclasses.replace(e, features=e.features.half()) for e in scene(8, images=4)]
    floats = [dataclasses.replace(e, features=e.features.float()) for e in halves]
    assert torch.equal(train(halves).weights, train(floats).weights)


def test_the_result_hangs_on_order_and_seed_alone() -> None:
    examples = scene(9, images=12, shift=0.5)
    svms = train(examples)
    again = train(examples)
    assert torch.equal(svms.weights, again.weights)
    assert torch.equal(svms.bias, again.bias)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        threaded = train(examples)
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(threaded.weights, svms.weights, atol=1e-6, rtol=0)
    other = train(examples, dataclasses.replace(RULE, seed=1))
    torch.testing.assert_close(other.weights, svms.weights, atol=2e-3, rtol=0)


def test_the_solver_converges_where_classes_cannot_be_told_apart() -> None:
    """Features with a large common part, half of the negatives equal to positives."""
    features = torch.rand(400, D, generator=torch.Generator().manual_seed(0)) + 5
    both = torch.cat([features, features, features])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train([image(both, [0] * 400 + [-1] * 800, 1)], num_classes=1)


def test_what_cannot_be_trained_is_refused() -> None:
    examples = scene(10, images=3)
    with pytest.raises(ValueError, match="order: 1 images are named twice"):
        train_svms(lambda i: examples[i], lambda i: examples[i], [0, 1, 0], 2, RULE, silent)
    with pytest.raises(ValueError, match="mean norm of 0 rows"):
        train([])
    alone = [Examples(e.features, e.positive_of, torch.zeros(60, 2, dtype=torch.bool)) for e in examples]
    with pytest.raises(ValueError, match="class 0: 3 positives and no negative"):
        train(alone)


def test_progress_is_told_of_both_passes() -> None:
    told: list[tuple[list[int], str]] = []

    def progress(images: Sequence[int], label: str) -> Iterable[int]:
        told.append((list(images), label))
        return images

    examples = scene(11, images=3)
    train_svms(lambda i: examples[i], lambda i: examples[i], [2, 0, 1], 2, RULE, progress)
    assert told == [([2, 0, 1], "SVMs: positives"), ([2, 0, 1], "SVMs: hard negatives")]


def test_saving_there_and_back() -> None:
    svms = LinearSVMs(torch.randn(2, 3), torch.randn(2), 20 / 3)
    back = LinearSVMs.from_tensors(svms.tensors())
    assert torch.equal(back.weights, svms.weights)
    assert torch.equal(back.bias, svms.bias)
    assert back.scale == svms.scale


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": torch.zeros(3)}, r"are \(3,\), \(2,\), \(\), expected \(C, D\)"),
        ({"bias": torch.zeros(3)}, r"are \(2, 3\), \(3,\), \(\)"),
        ({"scale": torch.ones(1)}, r"are \(2, 3\), \(2,\), \(1,\)"),
    ],
)
def test_tensors_that_do_not_belong_together_are_refused(change: dict[str, Tensor], message: str) -> None:
    tensors = LinearSVMs(torch.zeros(2, 3), torch.zeros(2), 1.0).tensors()
    with pytest.raises(ValueError, match=message):
        LinearSVMs.from_tensors({**tensors, **change})
    with pytest.raises(ValueError, match="SVMs: bias, scale missing"):
        LinearSVMs.from_tensors({"weights": tensors["weights"]})
