"""Resizing by the papers' rule, and boxes that stay on what they mark, whatever happens to the image."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detkit.data.pipeline.prepare import Resize, as_tensor, collate
from detkit.data.pipeline.transforms import Augmentation, TrainTransform
from detkit.structures import Sample, Target

SEEDS = range(30)
GEOMETRY = {"horizontal_flip": 0.5, "vertical_flip": 0.5, "quarter_turns": 0.5, "safe_crop": 0.5}


class NoResize:
    """Stands in for Resize where the random changes alone are looked at."""

    def __call__(self, sample: Sample, factor: float = 1.0) -> Sample:
        return sample


def sample_of(height: int, width: int, boxes: list[list[float]], ignore: list[bool] | None = None) -> Sample:
    """Object i is painted with the grey value 100 + i on black."""
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    for i, (x1, y1, x2, y2) in enumerate(boxes):
        image[:, int(y1) : int(y2), int(x1) : int(x2)] = 100 + i
    target = Target(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.arange(len(boxes)) + 5,
        torch.tensor(ignore or [False] * len(boxes), dtype=torch.bool),
    )
    return Sample("a", image, (height, width), target)


def painted(sample: Sample, value: int) -> list[int]:
    """The box of the pixels with this grey value."""
    rows, columns = np.nonzero(sample.image[0].numpy() == value)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def changes(**chances: object) -> TrainTransform:
    return TrainTransform(NoResize(), Augmentation(**chances))


# Resize


@pytest.mark.parametrize(
    ("size", "limits", "expected"),
    [
        ((375, 500), (600, 1000), (600, 800)),
        ((500, 375), (600, 1000), (800, 600)),
        ((300, 1000), (600, 1000), (300, 1000)),  # the long side is there already
        ((200, 1000), (600, 1000), (200, 1000)),
        ((333, 500), (600, 1000), (600, 901)),  # 500 * 600 / 333 = 900.9
        ((400, 800), (600, 1000), (500, 1000)),  # the long side decides
        ((1200, 1600), (600, 1000), (600, 800)),  # smaller, too
        ((600, 600), (600, 1000), (600, 600)),
        ((1, 5000), (600, 1000), (1, 1000)),  # never 0 px
    ],
)
def test_size(size: tuple[int, int], limits: tuple[int, int], expected: tuple[int, int]) -> None:
    resized = Resize(*limits)(sample_of(*size, []))
    assert tuple(resized.image.shape) == (3, *expected)
    assert resized.original_size == size


def test_boxes_and_proposals_grow_with_the_image() -> None:
    sample = replace(sample_of(40, 80, [[8, 4, 40, 24]]), proposals=torch.tensor([[0.0, 0.0, 80.0, 40.0]]))
    resized = Resize(80, 1000)(sample)
    assert resized.target.boxes.tolist() == [[16, 8, 80, 48]]
    assert resized.proposals.tolist() == [[0, 0, 160, 80]]
    assert resized.target.labels.tolist() == [5]
    left, top, right, bottom = painted(replace(resized, image=(resized.image > 50).to(torch.uint8)), 1)
    assert [left, top, right, bottom] == pytest.approx([16, 8, 80, 48], abs=1)


def test_each_axis_has_its_own_scale_after_rounding() -> None:
    """333 x 500 becomes 600 x 901: x grows by 901 / 500, so that the border stays the border."""
    resized = Resize(600, 1000)(sample_of(333, 500, [[0, 0, 500, 333]]))
    assert resized.target.boxes[0].tolist() == pytest.approx([0, 0, 901, 600], abs=1e-3)


def test_factor() -> None:
    assert Resize(60, 100)(sample_of(30, 40, []), 0.5).image.shape[1:] == (30, 40)
    assert Resize(60, 100)(sample_of(30, 40, []), 2.0).image.shape[1:] == (120, 160)


def test_an_image_without_annotation_stays_without() -> None:
    assert Resize(20, 40)(Sample("a", torch.zeros(3, 10, 10, dtype=torch.uint8), (10, 10))).target is None


# Flips, turns and crops


@pytest.mark.parametrize(
    ("chances", "size", "box"),
    [
        ({"horizontal_flip": 1.0}, (20, 30), [20, 4, 28, 10]),
        ({"vertical_flip": 1.0}, (20, 30), [2, 10, 10, 16]),
        ({"horizontal_flip": 1.0, "vertical_flip": 1.0}, (20, 30), [20, 10, 28, 16]),
    ],
)
def test_flips_by_hand(chances: dict[str, float], size: tuple[int, int], box: list[float]) -> None:
    out = changes(**chances)(sample_of(20, 30, [[2, 4, 10, 10]]), 0, 0)
    assert tuple(out.image.shape[1:]) == size
    assert out.target.boxes[0].tolist() == pytest.approx(box, abs=1e-4)


@pytest.mark.parametrize("chances", [{name: 1.0} for name in GEOMETRY] + [GEOMETRY], ids=str)
def test_boxes_labels_and_ignore_follow_the_pixels(chances: dict[str, float]) -> None:
    sample = sample_of(24, 36, [[2, 3, 9, 8], [20, 10, 31, 22], [12, 0, 18, 5]], ignore=[False, True, False])
    change = changes(**chances)
    sizes = set()
    for seed in SEEDS:
        out = change(sample, seed, 0)
        sizes.add(tuple(out.image.shape))
        assert out.target.labels.tolist() == [5, 6, 7]
        assert out.target.ignore.tolist() == [False, True, False]
        for i in range(3):
            assert out.target.boxes[i].tolist() == pytest.approx(painted(out, 100 + i), abs=1e-3)
    if "quarter_turns" in chances:
        assert {(3, 24, 36), (3, 36, 24)} <= sizes
    if "safe_crop" in chances:
        assert len(sizes) > 5


def test_changes_are_independent_of_each_other() -> None:
    """Of 400 images about 100 are flipped each way; steps that shared their draws would never flip one way only."""
    change, sample = changes(horizontal_flip=0.5, vertical_flip=0.5), sample_of(10, 10, [[0, 0, 2, 2]])
    corners = [tuple(change(sample, seed, 0).target.boxes[0, :2].round().int().tolist()) for seed in range(400)]
    counts = {corner: corners.count(corner) for corner in set(corners)}
    assert set(counts) == {(0, 0), (8, 0), (0, 8), (8, 8)}
    assert all(65 <= count <= 135 for count in counts.values())  # 4 standard deviations


def test_chances() -> None:
    change, sample = changes(horizontal_flip=0.2), sample_of(10, 10, [[0, 0, 2, 2]])
    flipped = sum(change(sample, seed, 0).target.boxes[0, 0].item() > 1 for seed in range(400))
    assert 50 <= flipped <= 110


@settings(max_examples=60, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_no_object_is_lost(data: st.DataObject, seed: int) -> None:
    """Boxes at any place and border, whole or fractional, after a resize that need not be even."""
    height, width = data.draw(st.integers(4, 300)), data.draw(st.integers(4, 300))
    boxes = [[0, 0, width, height], [width - 1, height - 1, width, height], [0, 0, 1, 1]]
    for _ in range(data.draw(st.integers(0, 3))):
        x1, y1 = data.draw(st.floats(0, width - 2, width=32)), data.draw(st.floats(0, height - 2, width=32))
        boxes.append([x1, y1, data.draw(st.floats(x1 + 1, width)), data.draw(st.floats(y1 + 1, height))])
    kept = data.draw(st.lists(st.sampled_from(boxes), max_size=5))
    sample = sample_of(height, width, kept)
    out = TrainTransform(Resize(37, 91), Augmentation(**GEOMETRY))(sample, seed, 0)
    assert out.target.labels.tolist() == sample.target.labels.tolist()
    new_height, new_width = out.image.shape[1:]
    sides = out.target.boxes
    assert (sides[:, 2:] > sides[:, :2]).all()
    assert (sides >= -1e-3).all() and (sides <= torch.tensor([new_width, new_height] * 2) + 1e-3).all()


def test_an_image_without_objects() -> None:
    change = changes(**GEOMETRY)
    for seed in SEEDS:
        out = change(sample_of(20, 30, []), seed, 0)
        assert out.target.boxes.shape == (0, 4) and out.target.boxes.dtype == torch.float32
        assert out.target.labels.shape == (0,) and out.target.labels.dtype == torch.int64
        assert out.target.ignore.dtype == torch.bool


# Seeds


def test_the_same_seeds_give_the_same_result_and_others_another() -> None:
    rng = np.random.default_rng(0)
    sample = replace(
        sample_of(24, 36, [[2, 3, 9, 8]]), image=torch.from_numpy(rng.integers(0, 255, (3, 24, 36)).astype(np.uint8))
    )
    settings = Augmentation(**GEOMETRY, photometric=0.5, scale_jitter=(0.5, 2.0))
    change, again = (TrainTransform(Resize(24, 36), settings) for _ in range(2))
    results = []
    for seed in SEEDS:
        one = change(sample, seed, seed // 2)
        again(sample, 999, 999)  # what came before does not matter
        other = again(sample, seed, seed // 2)
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.target.boxes, other.target.boxes)
        results.append(one.image.numpy().tobytes())
    assert len(set(results)) > len(SEEDS) * 0.9


def test_the_given_sample_is_left_as_it_was() -> None:
    sample = sample_of(24, 36, [[2, 3, 9, 8]])
    image, boxes = sample.image.clone(), sample.target.boxes.clone()
    change = changes(**dict.fromkeys((*GEOMETRY, "photometric"), 1.0))
    for seed in SEEDS:
        change(sample, seed, 0)
    assert torch.equal(sample.image, image) and torch.equal(sample.target.boxes, boxes)


def test_colours_change_and_boxes_do_not() -> None:
    sample = replace(sample_of(20, 20, [[2, 3, 9, 8]]), image=torch.full((3, 20, 20), 120, dtype=torch.uint8))
    out = changes(photometric=1.0)(sample, 3, 0)
    assert not torch.equal(out.image, sample.image)
    assert out.image.shape == sample.image.shape and out.image.dtype == torch.uint8
    assert out.target.boxes[0].tolist() == pytest.approx([2, 3, 9, 8], abs=1e-4)


def test_scale_jitter_is_shared_by_a_batch_and_log_uniform() -> None:
    change = TrainTransform(Resize(100, 1000), Augmentation(scale_jitter=(0.5, 2.0)))
    sample = sample_of(100, 100, [[0, 0, 100, 100]])
    sides = [change(sample, seed, batch_seed=seed).image.shape[1] for seed in range(200)]
    assert min(sides) >= 50 and max(sides) <= 200
    assert 70 <= sum(side < 100 for side in sides) <= 130  # as often smaller as larger
    assert len({change(sample, seed, batch_seed=7).image.shape for seed in SEEDS}) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_proposals_follow_the_image_as_its_objects_do(seed: int) -> None:
    boxes = [[3.0, 4, 12, 9], [20, 11, 27, 23], [0, 0, 30, 24]]
    sample = replace(sample_of(24, 30, boxes), proposals=torch.tensor(boxes))
    changed = changes(**(GEOMETRY | {"safe_crop": 0.0}))(sample, seed, 0)
    torch.testing.assert_close(changed.proposals, changed.target.boxes, atol=1e-4, rtol=0)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_crop_cuts_proposals_and_does_not_keep_them(seed: int) -> None:
    sample = sample_of(60, 80, [[30, 20, 50, 40]])
    proposals = torch.tensor([[30.0, 20, 50, 40], [0, 0, 80, 60], [0, 0, 1, 1]])
    changed = changes(safe_crop=1.0)(replace(sample, proposals=proposals), seed, 0)
    height, width = changed.image.shape[1:]
    assert changes(safe_crop=1.0)(sample, seed, 0).image.shape == changed.image.shape
    torch.testing.assert_close(changed.proposals[0], changed.target.boxes[0], atol=1e-4, rtol=0)
    assert changed.proposals[1].tolist() == [0, 0, width, height]
    assert len(changed.proposals) == 2 or (height, width) == (60, 80)


def test_images_without_proposals_have_none_and_no_proposals_stay_none() -> None:
    sample = sample_of(10, 12, [[1, 1, 5, 5]])
    assert changes(horizontal_flip=1.0)(sample, 0, 0).proposals is None
    assert changes(horizontal_flip=1.0)(replace(sample, proposals=torch.zeros(0, 4)), 0, 0).proposals.shape == (0, 4)


def test_a_resize_of_none_leaves_the_image_as_it_is() -> None:
    sample = sample_of(10, 12, [[1, 1, 5, 5]])
    assert Resize(None, 5)(sample) is sample


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 4, 3), (4, 1, 3), (3, 4, 3)])
def test_pixels_that_run_backwards_become_a_tensor(shape: tuple[int, int, int]) -> None:
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    for seen in (pixels, pixels[::-1], pixels[:, ::-1], pixels[::-1, ::-1], pixels[..., ::-1]):
        assert torch.equal(as_tensor(seen), torch.tensor(seen.tolist(), dtype=torch.uint8).permute(2, 0, 1))


def test_what_is_unknown_in_an_image_stays_so_through_every_change() -> None:
    sample = sample_of(40, 60, [[5, 5, 20, 20]])
    assert sample.target is not None
    unknown = torch.tensor([True, False])
    sample = replace(sample, target=replace(sample.target, unknown=unknown))
    augmentation = Augmentation(1.0, 1.0, 1.0, (0.5, 0.9), 1.0, 1.0)
    batch = collate([TrainTransform(Resize(20, 100), augmentation)(sample, 1, 2)] * 2).to(torch.device("cpu"))
    assert batch.targets is not None
    for target in batch.targets:
        assert target.unknown is not None and target.unknown.tolist() == unknown.tolist()
