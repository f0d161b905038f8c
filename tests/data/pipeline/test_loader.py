"""Which images a step learns from, and that nothing else than (seed, step, place) decides."""

from collections import Counter
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detkit.data.pipeline.loader import BatchOrder, Shard, aspect_groups, detection_batches, train_batches
from detkit.data.pipeline.prepare import Resize
from detkit.data.pipeline.transforms import Augmentation, TrainTransform
from detkit.structures import Batch, Sample, Size, Target

AUGMENT = Augmentation(horizontal_flip=0.5, vertical_flip=0.5, photometric=0.5, scale_jitter=(0.5, 1.5), safe_crop=0.5)
ORDER = BatchOrder([False, True, False, False, True, False, False], batch_size=4, seed=3)
WHOLE = Shard()


@dataclass(frozen=True)
class Images:
    """Image i is all i, `tall` ones 12 x 8 px, and has i % 3 objects."""

    tall: tuple[bool, ...] = tuple(bool(t) for t in ORDER.tall)
    classes: tuple[str, ...] = ("thing",)

    @property
    def image_ids(self) -> tuple[str, ...]:
        return tuple(str(i) for i in range(len(self.tall)))

    def __len__(self) -> int:
        return len(self.tall)

    def size(self, index: int) -> Size:
        return (12, 8) if self.tall[index] else (8, 12)

    def target(self, index: int) -> Target:
        count = index % 3
        boxes = torch.tensor([[1.0, 2, 5, 6]]).repeat(count, 1)
        return Target(boxes, torch.zeros(count, dtype=torch.int64), torch.zeros(count, dtype=torch.bool))

    def read(self, index: int) -> Sample:
        size = self.size(index)
        image = torch.full((3, *size), 10 * index + 40, dtype=torch.uint8)
        return Sample(str(index), image, size, self.target(index))


def batches(steps: range, part: Shard = WHOLE, workers: int = 0) -> list[Batch]:
    transform = TrainTransform(Resize(16, 24), AUGMENT)
    return list(train_batches(Images(), transform, ORDER, steps, part, workers))


def images(found: list[Batch]) -> list[tuple[str, bytes, list[list[float]]]]:
    """Id, pixels without padding and boxes of each image."""
    rows = []
    for batch in found:
        for i, (height, width) in enumerate(batch.sizes.tolist()):
            pixels = batch.images[i, :, :height, :width].contiguous().numpy().tobytes()
            rows.append((batch.image_ids[i], pixels, batch.targets[i].boxes.tolist()))
    return rows


# The order of images


@settings(deadline=None, max_examples=40)
@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 9), st.integers(0, 5), st.integers(0, 3))
def test_an_epoch_has_every_image_once_and_fills_the_last_batch(
    tall: list[bool], batch_size: int, seed: int, epoch: int
) -> None:
    order = BatchOrder(tall, batch_size, seed)
    count = order.batches_per_epoch
    found = [order.batch(epoch * count + place) for place in range(count)]
    assert all(len(batch) == batch_size for batch in found)
    seen = Counter(image for batch in found for image in batch)
    assert set(seen) == set(range(len(tall)))
    assert count == -(-len(tall) // batch_size)
    if len(tall) >= batch_size:
        assert sum(n - 1 for n in seen.values()) == count * batch_size - len(tall)
        assert max(seen.values()) <= 2


@settings(deadline=None, max_examples=40)
@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 9))
def test_wide_and_tall_images_meet_only_in_what_is_left_over(tall: list[bool], batch_size: int) -> None:
    order = BatchOrder(tall, batch_size, seed=0)
    mixed = [b for b in order.epoch(0) if len({tall[i] for i in b}) > 1]
    whole = sum(tall) // batch_size + (len(tall) - sum(tall)) // batch_size
    assert len(mixed) <= order.batches_per_epoch - whole


def test_a_step_is_a_pure_function_of_its_number() -> None:
    again = BatchOrder(ORDER.tall, ORDER.batch_size, ORDER.seed)
    forwards = [ORDER.batch(step) for step in range(20)]
    assert [again.batch(step) for step in reversed(range(20))] == forwards[::-1]


def test_epochs_and_seeds_differ() -> None:
    tall = [False] * 30
    order = BatchOrder(tall, 5, seed=0)
    assert [order.batch(s) for s in range(6)] != [order.batch(s) for s in range(6, 12)]
    assert [order.batch(s) for s in range(6)] != [BatchOrder(tall, 5, seed=1).batch(s) for s in range(6)]


def test_tall_images() -> None:
    assert aspect_groups(Images()) == list(ORDER.tall)


# Parts, workers and resuming


@pytest.mark.parametrize(("count", "accumulate"), [(1, 1), (2, 1), (4, 1), (1, 2), (1, 4), (2, 2)])
def test_the_parts_of_all_processes_are_the_batch_of_one(count: int, accumulate: int) -> None:
    """The same images, each changed the same way."""
    for step in range(4):
        whole = images(batches(range(step, step + 1)))
        parts = [batches(range(step, step + 1), Shard(i, count, accumulate)) for i in range(count)]
        assert all(len(rounds) == accumulate for rounds in parts)
        assert {len(batch) for rounds in parts for batch in rounds} == {4 // count // accumulate}
        assert sorted(row for rounds in parts for row in images(rounds)) == sorted(whole)


def test_a_resumed_stream_is_the_tail_of_the_whole() -> None:
    part = Shard(0, 1, accumulate=2)
    whole = batches(range(9), part)
    assert len(whole) == 18
    for start in (0, 1, 4, 8):
        assert images(batches(range(start, 9), part)) == images(whole[2 * start :])


def test_the_same_for_any_number_of_workers() -> None:
    alone = images(batches(range(6)))
    torch.manual_seed(123)  # worker processes are seeded from this
    assert images(batches(range(6), workers=2)) == alone


def test_an_image_changes_from_epoch_to_epoch() -> None:
    rows = [row for row in images(batches(range(12))) if row[0] == "5"]
    assert len({(pixels, str(boxes)) for _, pixels, boxes in rows}) > 3


def test_a_batch_shares_one_scale() -> None:
    """Jitter 0.5 to 1.5 of a short side of 16 px."""
    transform = TrainTransform(Resize(16, 24), Augmentation(scale_jitter=(0.5, 1.5)))
    found = list(train_batches(Images(), transform, ORDER, range(12), Shard(), workers=0))
    assert all(len(set(batch.sizes.min(dim=1).values.tolist())) == 1 for batch in found)
    assert len({batch.sizes.min().item() for batch in found}) > 5


# Batches


def test_detection_batches_are_in_order_and_unchanged() -> None:
    found = list(detection_batches(Images(), Resize(16, 24), range(1, 7, 2), batch_size=2, workers=0))
    assert [batch.image_ids for batch in found] == [("1", "3"), ("5",)]
    assert found[0].sizes.tolist() == [[24, 16], [16, 24]]
    assert found[0].original_sizes.tolist() == [[12, 8], [8, 12]]
    assert found[1].targets[0].boxes.tolist() == [[2, 4, 10, 12]] * 2
