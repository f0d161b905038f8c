"""Box regressors: the published steps written out, scikit-learn's ridge regression, and boxes that are mended."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor

from detkit.ops import boxes as box_ops
from detkit.staged.bbox_regressor import BoxRegressors, Pairs, fit_regressors

D = 8


def some_pairs(seed: int, count: int) -> Pairs:
    random = torch.Generator().manual_seed(seed)
    features = torch.randn(count, D, generator=random).relu() * 3
    mix = torch.randn(D, 4, generator=random)
    offsets = 0.1 * features @ mix + 0.3 * torch.randn(count, 4, generator=random) + torch.tensor([0.5, -1, 0, 2])
    return Pairs(features, offsets)


def published(pairs: Pairs, scale: float, ridge: float, features: Tensor) -> np.ndarray:
    """rcnn_train_bbox_regressor.m and rcnn_predict_bbox_regressor.m step by step: centre, whiten, fit, undo."""
    rows = np.c_[pairs.features.double().numpy() * scale, np.ones(len(pairs.features))]
    goals = pairs.offsets.double().numpy()
    mean = goals.mean(axis=0)
    centred = goals - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / len(goals))
    whiten = vectors @ np.diag(1 / np.sqrt(values + 0.001)) @ vectors.T
    undo = vectors @ np.diag(np.sqrt(values + 0.001)) @ vectors.T
    beta = np.linalg.inv(rows.T @ rows + ridge * np.eye(rows.shape[1])) @ rows.T @ (centred @ whiten)
    return np.c_[features.double().numpy() * scale, np.ones(len(features))] @ beta @ undo + mean


def split(pairs: Pairs, size: int) -> list[Pairs]:
    """As images would yield them."""
    return [Pairs(*two) for two in zip(pairs.features.split(size), pairs.offsets.split(size), strict=True)]


COUNTS = [1, 2, D - 1, D, D + 1, D + 2, 3 * D, 200]  # both sides of where the form of the equations changes


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("ridge", [0.1, 1000.0])
def test_the_offsets_are_those_of_the_published_steps(count: int, ridge: float) -> None:
    pairs, unseen = some_pairs(count, count), some_pairs(99, 5).features
    regressors = fit_regressors(lambda label: [pairs], 1, scale=2.5, ridge=ridge)
    found = regressors.offsets(unseen, torch.zeros(5, dtype=torch.int64))
    expected = torch.from_numpy(published(pairs, 2.5, ridge, unseen)).float()
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("count", COUNTS)
def test_the_weights_are_those_of_scikit_learn(count: int) -> None:
    """Its own intercept is free of the ridge; here the bias is one more feature, on centred offsets."""
    pairs = some_pairs(count, count)
    mean = pairs.offsets.mean(dim=0)
    rows = torch.cat([pairs.features, torch.ones(count, 1)], dim=1)
    ridge = Ridge(alpha=3.0, fit_intercept=False).fit(rows.numpy(), (pairs.offsets - mean).numpy())
    regressors = fit_regressors(lambda label: [pairs], 1, scale=1.0, ridge=3.0)
    expected = torch.from_numpy(ridge.coef_.T).float()  # (D + 1, 4)
    torch.testing.assert_close(regressors.weights[0], expected[:-1], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(regressors.bias[0], expected[-1] + mean, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [1, 3, D + 1, 50])
def test_how_pairs_fall_into_images_changes_nothing(size: int) -> None:
    """Blocks of the sums begin and end elsewhere; images without pairs stand between."""
    pairs, nothing = some_pairs(0, 100), Pairs(torch.zeros(0, D), torch.zeros(0, 4))
    whole = fit_regressors(lambda label: [pairs], 1, scale=1.0)
    parts = fit_regressors(lambda label: [nothing, *split(pairs, size), nothing], 1, scale=1.0)
    torch.testing.assert_close(parts.weights, whole.weights)
    torch.testing.assert_close(parts.bias, whole.bias)


def test_a_constant_feature_by_hand() -> None:
    """Offsets 1 and 3 at features 0 and 2, ridge 2: the mean is 2, the centred offsets are -1 and 1.

    Rows (0, 1) and (2, 1): [[4 + 2, 2], [2, 2 + 2]] (w, b) = (0 * -1 + 2 * 1, -1 + 1) = (2, 0), so w = 8 / 20 and
    b = -4 / 20.
    """
    pairs = Pairs(torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0] * 4, [3.0] * 4]))
    regressors = fit_regressors(lambda label: [pairs], 1, scale=1.0, ridge=2.0)
    torch.testing.assert_close(regressors.weights, torch.full((1, 1, 4), 0.4))
    torch.testing.assert_close(regressors.bias, torch.full((1, 4), 2 - 0.2))


def test_each_class_has_its_own_and_one_without_pairs_moves_nothing() -> None:
    per_class = {0: [some_pairs(1, 30)], 1: [], 2: split(some_pairs(2, 5), 2)}
    regressors = fit_regressors(lambda label: per_class[label], 3, scale=1.0, ridge=1.0)
    assert regressors.weights.shape == (3, D, 4)
    assert regressors.weights.dtype == regressors.bias.dtype == torch.float32
    features, labels = some_pairs(3, 6).features, torch.tensor([2, 0, 1, 0, 2, 2])
    found = regressors.offsets(features, labels)
    assert found[2].tolist() == [0, 0, 0, 0]
    for row, label in enumerate(labels.tolist()):
        single = features[row] @ regressors.weights[label] + regressors.bias[label]
        torch.testing.assert_close(found[row], single, atol=1e-5, rtol=1e-5)
    alone = fit_regressors(lambda _: per_class[2], 1, scale=1.0, ridge=1.0)
    assert torch.equal(alone.weights[0], regressors.weights[2])


def test_offsets_of_nothing_and_of_half_precision() -> None:
    regressors = BoxRegressors(torch.randn(2, D, 4), torch.randn(2, 4))
    nothing = regressors.offsets(torch.zeros(0, D), torch.zeros(0, dtype=torch.int64))
    assert nothing.shape == (0, 4)
    before = regressors.bias.clone()
    halves = torch.randn(3, D).half()
    labels = torch.tensor([1, 0, 1])
    assert torch.equal(regressors.offsets(halves, labels), regressors.offsets(halves.float(), labels))
    assert torch.equal(regressors.bias, before)


def test_shifted_proposals_are_led_back_to_their_objects() -> None:
    """The features tell, among noise, how far each proposal is off."""
    random = torch.Generator().manual_seed(0)
    corner, side = torch.rand(500, 2, generator=random) * 200, 40 + torch.rand(500, 2, generator=random) * 60
    objects = torch.cat([corner, corner + side], dim=1)
    proposals = objects + torch.randn(500, 4, generator=random) * 5
    offsets = box_ops.encode(proposals, objects)
    features = torch.cat([offsets, torch.randn(500, 4, generator=random) * 0.1], dim=1)
    scale = 20 / float(features.norm(dim=1).mean())
    regressors = fit_regressors(lambda label: [Pairs(features[:400], offsets[:400])], 1, scale)
    predicted = regressors.offsets(features[400:], torch.zeros(100, dtype=torch.int64))
    mended = box_ops.decode(proposals[400:], predicted)
    before = box_ops.iou(proposals[400:], objects[400:]).diagonal().mean()
    after = box_ops.iou(mended, objects[400:]).diagonal().mean()
    assert before < 0.85
    assert after > 0.97


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(ValueError, match=r"none of 3 classes has a pair"):
        fit_regressors(lambda label: [], 3, scale=1.0)
    for ridge in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=r"ridge: .* expected a number above 0"):
            fit_regressors(lambda label: [some_pairs(0, 4)], 1, scale=1.0, ridge=ridge)


def test_saving_there_and_back() -> None:
    regressors = BoxRegressors(torch.randn(2, D, 4), torch.randn(2, 4))
    back = BoxRegressors.from_tensors(regressors.tensors())
    assert torch.equal(back.weights, regressors.weights)
    assert torch.equal(back.bias, regressors.bias)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"bias": torch.zeros(2, 4)}, "box regressors: weights missing"),
        ({"weights": torch.zeros(2, D, 3), "bias": torch.zeros(2, 4)}, r"are \(2, 8, 3\), \(2, 4\), expected"),
        ({"weights": torch.zeros(2, D, 4), "bias": torch.zeros(3, 4)}, r"are \(2, 8, 4\), \(3, 4\), expected"),
        ({"weights": torch.zeros(2, D), "bias": torch.zeros(2, 4)}, r"are \(2, 8\), \(2, 4\), expected"),
    ],
)
def test_tensors_that_do_not_belong_together_are_refused(tensors: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BoxRegressors.from_tensors(tensors)
