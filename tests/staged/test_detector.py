"""R-CNN at test time against a plain loop: SVM scores, suppression within a class, then regression, in one round."""

import math

import pytest
import torch
from torch import Tensor, nn

from detkit.heads.roi_head import DetectionRule
from detkit.staged.bbox_regressor import BoxRegressors
from detkit.staged.detector import StagedDetector
from detkit.staged.region_network import RegionNetwork, RegionTail
from detkit.staged.svm import LinearSVMs
from detkit.structures import Batch, Detections

CLASSES, WIDTH, POOL5, FC7 = 3, 24, 6, 5
SIZES, ORIGINAL = [[40, 60], [30, 44]], [[80, 90], [30, 44]]  # height, width: the first is shown smaller
Found = tuple[list[float], float, int]  # box, score, label


class BoxPool(nn.Module):
    """What is pooled is the region itself, so that a test sees which region went where."""

    cells = 1

    def forward(self, features: Tensor, regions_R5: Tensor) -> Tensor:
        scale = torch.tensor([1, 60, 40, 60, 40])
        waves = (regions_R5 / scale)[:, None] * torch.arange(1, WIDTH + 1)[:, None]
        return torch.sin(5 * waves.sum(dim=2))[..., None, None]


def detector(regressed: str, rule: DetectionRule, spread: float = 0.3) -> StagedDetector:
    torch.manual_seed(0)
    tail = RegionTail(nn.Conv2d(WIDTH, POOL5, 1), nn.Sequential(nn.Flatten(), nn.Linear(POOL5, FC7), nn.ReLU()))
    network = RegionNetwork(_Images(), nn.Identity(), BoxPool(), tail, regions_at_once=7)
    made = StagedDetector(network, CLASSES, FC7, POOL5 if regressed == "pool5" else FC7, regressed, rule).eval()
    width = POOL5 if regressed == "pool5" else FC7
    svms = LinearSVMs(torch.randn(CLASSES, FC7) * 8, torch.randn(CLASSES), scale=0.5)
    made.load_fitted(svms, BoxRegressors(torch.randn(CLASSES, width, 4) * spread, torch.randn(CLASSES, 4) * spread))
    made.svms = svms  # for the plain loop, which must not read the buffers
    return made


class _Images(nn.Module):
    def forward(self, images: Tensor, sizes: Tensor) -> Tensor:
        return images.float()


def batch(*counts: int) -> Batch:
    """Images with so many proposals each, in clusters, so that they suppress each other."""
    generator = torch.Generator().manual_seed(1)
    proposals = []
    for count, (height, width) in zip(counts, SIZES, strict=False):
        seed = torch.randint(0, 4, (count, 1), generator=generator) * 7.0
        corner = seed + torch.rand(count, 2, generator=generator) * 6
        side = 8 + torch.rand(count, 2, generator=generator) * 9
        limit = torch.tensor([width, height] * 2)
        proposals.append(torch.minimum(torch.cat([corner, corner + side], dim=1), limit))
    images = torch.zeros(len(counts), 3, 40, 60, dtype=torch.uint8)
    sizes, original = torch.tensor(SIZES[: len(counts)]), torch.tensor(ORIGINAL[: len(counts)])
    return Batch(images, sizes, original, ("a", "b")[: len(counts)], None, tuple(proposals))


def plain_iou(one: list[float], other: list[float]) -> float:
    width, height = (max(0.0, min(one[k + 2], other[k + 2]) - max(one[k], other[k])) for k in (0, 1))
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return width * height / (areas - width * height)


@torch.no_grad()
def plain_detect(made: StagedDetector, shown: Batch, image: int) -> list[Found]:
    """R-CNN, section 2.2 and appendix C, one box and one class at a time."""
    scored = []
    for box in shown.proposals[image].tolist():
        pooled = BoxPool()(torch.zeros(0), torch.tensor([[image, *box]]))
        pool5 = made.network.tail.to_pool5(pooled).flatten()
        fc7 = made.network.tail.tail(pool5[None, :, None, None])[0]
        for label in range(CLASSES):
            margin = float(fc7 @ made.svms.weights[label]) * made.svms.scale + float(made.svms.bias[label])
            scored.append((1 / (1 + math.exp(-margin)), label, box, pool5 if made.regressed == "pool5" else fc7))
    kept: list[tuple[float, int, list[float], Tensor]] = []
    for candidate in sorted(scored, key=lambda row: -row[0]):
        score, label, box, _ = candidate
        better = [other for _, of, other, _ in kept if of == label]
        if score > made.rule.min_score and all(plain_iou(box, other) <= made.rule.nms_iou for other in better):
            kept.append(candidate)
    found = []
    (height, width), (stored_height, stored_width) = SIZES[image], ORIGINAL[image]
    for score, label, box, vector in kept[: made.rule.max_detections]:
        tx, ty, tw, th = (vector @ made.box_weights[label] + made.box_bias[label]).tolist()
        w, h = box[2] - box[0], box[3] - box[1]
        x, y, w, h = box[0] + w / 2 + tx * w, box[1] + h / 2 + ty * h, w * math.exp(tw), h * math.exp(th)
        x1, x2 = (min(max(value, 0), width) * stored_width / width for value in (x - w / 2, x + w / 2))
        y1, y2 = (min(max(value, 0), height) * stored_height / height for value in (y - h / 2, y + h / 2))
        if x2 > x1 and y2 > y1:
            found.append(([x1, y1, x2, y2], score, label))
    return found


def assert_same(found: Detections, expected: list[Found]) -> None:
    boxes, scores, labels = zip(*expected, strict=True) if expected else ([], [], [])
    assert found.labels.tolist() == list(labels)
    torch.testing.assert_close(found.scores, torch.tensor(scores), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.boxes, torch.tensor(boxes).reshape(-1, 4), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("regressed", ["pool5", "fc7"])
@pytest.mark.parametrize(
    "rule", [DetectionRule(0.05, 0.3, 100), DetectionRule(0.6, 0.3, 100), DetectionRule(0.0, 0.7, 9)]
)
def test_detections_are_the_plain_ones(regressed: str, rule: DetectionRule) -> None:
    made, shown = detector(regressed, rule), batch(30, 17)
    for image, found in enumerate(made.detect(shown)):
        expected = plain_detect(made, shown, image)
        assert_same(found, expected)
        assert 0 < len(expected) <= rule.max_detections
        assert all(score > rule.min_score for _, score, _ in expected)


def test_suppression_comes_before_regression() -> None:
    """Two boxes far apart that are both moved onto the middle stay two; two that overlap are one, wherever they go."""
    made = detector("fc7", DetectionRule(0.0, 0.3, 100))
    made.box_weights.zero_()
    made.svm_weights.zero_()
    made.svm_bias.copy_(torch.tensor([1.0, -100, -100]))
    made.rule = DetectionRule(0.5, 0.3, 100)
    made.box_bias[0] = torch.tensor([0.0, 0, 9, 9])  # 8 times as large and more: the whole image
    shown = batch(1)
    apart = torch.tensor([[0.0, 0, 10, 10], [40, 20, 50, 30], [1, 0, 11, 10]])
    (found,) = made.detect(Batch(shown.images, shown.sizes, shown.original_sizes, ("a",), None, (apart,)))
    assert found.boxes.tolist() == [[0, 0, 90, 80]] * 2
    assert found.scores.tolist() == pytest.approx([1 / (1 + math.exp(-1))] * 2)


def test_boxes_regressed_out_of_the_image_are_dropped() -> None:
    made = detector("pool5", DetectionRule(0.0, 0.3, 100), spread=0.0)
    made.box_bias[1] = torch.tensor([-20.0, 0, 0, 0])  # class 1 leaves to the left
    shown = batch(30, 17)
    for image, found in enumerate(made.detect(shown)):
        assert_same(found, plain_detect(made, shown, image))
        assert set(found.labels.tolist()) == {0, 2}


def test_images_without_proposals_between_others() -> None:
    made = detector("pool5", DetectionRule(0.05, 0.3, 100))
    shown = batch(0, 17)
    nothing, found = made.detect(shown)
    assert len(nothing) == 0 and nothing.boxes.shape == (0, 4)
    assert_same(found, plain_detect(made, shown, 1))


def test_nothing_above_the_least_score() -> None:
    (found,) = detector("pool5", DetectionRule(1.0, 0.3, 100)).detect(batch(30))
    assert found.boxes.shape == (0, 4) and found.scores.shape == (0,) and found.labels.shape == (0,)


def test_proposals_are_required() -> None:
    shown = batch(1)
    without = Batch(shown.images, shown.sizes, shown.original_sizes, ("a",))
    with pytest.raises(ValueError, match=r"image a: no proposals; make them with detkit make-proposals"):
        detector("pool5", DetectionRule(0.05, 0.3, 100)).detect(without)


def test_the_state_is_all_that_detecting_needs() -> None:
    rule = DetectionRule(0.05, 0.3, 100)
    made, fresh = detector("pool5", rule), detector("pool5", rule)
    for value in fresh.state_dict().values():
        value.zero_()
    fresh.load_state_dict(made.state_dict())
    for one, other in zip(made.detect(batch(30, 17)), fresh.detect(batch(30, 17)), strict=True):
        assert torch.equal(one.boxes, other.boxes) and torch.equal(one.scores, other.scores)
