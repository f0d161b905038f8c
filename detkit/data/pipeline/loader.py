"""Batches for training and for detecting: which images, in which order, read by worker processes.

Which images step s learns from, and how each is changed, are pure functions of (seed, s, process): a run that is
stopped anywhere goes on with the same batches.
"""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from detkit.data.dataset import DetectionDataset
from detkit.data.pipeline.prepare import Resize, collate
from detkit.runtime.cores import usable_cores
from detkit.structures import Batch, Sample

if TYPE_CHECKING:  # it imports albumentations, which detecting does without
    from detkit.data.pipeline.transforms import TrainTransform


@dataclass(frozen=True)
class Shard:
    """What one process computes of a step: `index`-th of `count` equal parts of the batch, in `accumulate` rounds."""

    index: int = 0
    count: int = 1
    accumulate: int = 1


class BatchOrder:
    """The images of every step: each epoch a new order, wide and tall images in separate batches where asked for.

    The last batch of an epoch is filled up with the epoch's first images, so that no image is left out and every
    batch has the same size.
    """

    def __init__(self, tall: Sequence[bool], batch_size: int, seed: int) -> None:
        """`tall`: for each image, which of the two groups it is in (all False: one group)."""
        self.tall, self.batch_size, self.seed = np.asarray(tall, dtype=bool), batch_size, seed
        self.batches_per_epoch = -(-len(self.tall) // batch_size)

    def batch(self, step: int) -> list[int]:
        """Indices of the images of step `step`, counted from 0."""
        epoch, place = divmod(step, self.batches_per_epoch)
        return [int(i) for i in self.epoch(epoch)[place]]

    def epoch(self, epoch: int) -> list[np.ndarray]:
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(len(self.tall))
        wide, tall = order[~self.tall[order]], order[self.tall[order]]
        whole = [g[: len(g) // self.batch_size * self.batch_size] for g in (wide, tall)]
        rest = np.concatenate([g[len(w) :] for g, w in zip((wide, tall), whole, strict=True)])
        sequence = np.concatenate([*whole, rest])
        filled = np.resize(np.concatenate([sequence, order]), self.batches_per_epoch * self.batch_size)
        batches = filled.reshape(self.batches_per_epoch, self.batch_size)
        return list(batches[rng.permutation(self.batches_per_epoch)])


_Key = tuple[int, int, int]  # index of an image, seed of its changes, seed of the changes its batch shares


class _TrainItems(Dataset[Sample]):
    def __init__(self, dataset: DetectionDataset, transform: "TrainTransform") -> None:
        self.dataset, self.transform = dataset, transform

    def __getitem__(self, key: _Key) -> Sample:
        index, seed, batch_seed = key
        return self.transform(self.dataset.read(index), seed, batch_seed)


class _TrainKeys(Sampler[list[_Key]]):
    """The keys of each round of each step from `start` to `stop`, for one process."""

    def __init__(self, order: BatchOrder, start: int, stop: int, part: Shard) -> None:
        self.order, self.start, self.stop, self.part = order, start, stop, part

    def __iter__(self) -> Iterator[list[_Key]]:
        epoch, batches = -1, list[np.ndarray]()
        for step in range(self.start, self.stop):
            if step // self.order.batches_per_epoch != epoch:
                epoch = step // self.order.batches_per_epoch
                batches = self.order.epoch(epoch)
            batch = batches[step % self.order.batches_per_epoch]
            shared = _seed(self.order.seed, step)
            keys = [(int(image), _seed(self.order.seed, step, place), shared) for place, image in enumerate(batch)]
            mine = keys[self.part.index :: self.part.count]
            for k in range(self.part.accumulate):
                yield mine[k :: self.part.accumulate]


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def train_batches(
    dataset: DetectionDataset,
    transform: "TrainTransform",
    order: BatchOrder,
    steps: range,
    part: Shard,
    workers: int,
) -> DataLoader[Batch]:
    """The batches of `steps`, `part.accumulate` of them for each step, in order."""
    keys = _TrainKeys(order, steps.start, steps.stop, part)
    return DataLoader(
        _TrainItems(dataset, transform),  # type: ignore[arg-type]  # torch has one type for items and batches
        batch_sampler=keys,
        collate_fn=collate,
        num_workers=_useful(workers),
        worker_init_fn=quiet_worker,
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=4 if workers else None,
    )


class _TestItems(Dataset[Sample]):
    def __init__(self, dataset: DetectionDataset, resize: Resize) -> None:
        self.dataset, self.resize = dataset, resize

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        return self.resize(self.dataset.read(index))


def detection_batches(
    dataset: DetectionDataset, resize: Resize, indices: Sequence[int], batch_size: int, workers: int
) -> DataLoader[Batch]:
    """The images of `indices` in order, resized."""
    groups = [list(indices[i : i + batch_size]) for i in range(0, len(indices), batch_size)]
    return DataLoader(
        _TestItems(dataset, resize),  # type: ignore[arg-type]
        batch_sampler=groups,
        collate_fn=collate,
        num_workers=_useful(workers),
        worker_init_fn=quiet_worker,
        pin_memory=torch.cuda.is_available(),
    )


def _useful(workers: int) -> int:
    """No more workers than cores: a config is written for a machine larger than some it runs on."""
    return min(workers, usable_cores())


def aspect_groups(dataset: DetectionDataset) -> list[bool]:
    """For each image whether it is taller than wide."""
    sizes = [dataset.size(i) for i in range(len(dataset))]
    return [height > width for height, width in sizes]


def quiet_worker(worker: int) -> None:
    """One thread a worker, and Ctrl-C is left to the process that started it."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the parent's way to end it
