"""Proposals of a whole data set into a file, on all cores, going on where an earlier call was stopped."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from detkit.data.dataset import DetectionDataset
from detkit.data.pipeline.loader import quiet_worker
from detkit.data.pipeline.proposal_file import ProposalFile
from detkit.runtime.console import track
from detkit.runtime.cores import usable_cores
from detkit.structures import Size

Array = NDArray[np.float32]
Proposer = Callable[
    [NDArray[np.uint8]], tuple[Array, Array]
]  # (H, W, 3) RGB -> boxes (N, 4) and scores (N,), best first
_Made = tuple[str, Array, Array, Size, float]


class _Making(Dataset[_Made]):
    def __init__(self, dataset: DetectionDataset, indices: list[int], propose: Proposer) -> None:
        self.dataset, self.indices, self.propose = dataset, indices, propose

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> _Made:
        sample = self.dataset.read(self.indices[place])
        image = np.ascontiguousarray(sample.image.permute(1, 2, 0).numpy())
        begun = time.process_time()  # of this core: what else the machine does must not count
        boxes, scores = self.propose(image)
        return sample.image_id, boxes, scores, sample.original_size, time.process_time() - begun


def make_proposals(
    dataset: DetectionDataset, path: Path, source: str, propose: Proposer, workers: int | None = None
) -> ProposalFile:
    """Add the proposals of all images that `path` has none for; one transaction an image.

    `workers`: processes (default: one a core; 0: this one). Raises ValueError when `path` is of another source.
    """
    file = ProposalFile.create(path, source)
    file.claim(dataset)
    there = file.image_ids()
    indices = [i for i, image_id in enumerate(dataset.image_ids) if image_id not in there]
    if not indices:
        return file
    if len(indices) < len(dataset):
        print(f"{path}: {len(dataset) - len(indices)} of {len(dataset)} images are there already")
    import numba  # noqa: F401  # before workers start: each would import it in the time of its first image

    loader = DataLoader(
        _Making(dataset, indices, propose),
        batch_size=None,  # an image is an item
        num_workers=min(len(indices), usable_cores()) if workers is None else workers,
        worker_init_fn=quiet_worker,
    )
    for image_id, boxes, scores, size, seconds in track(loader, f"proposals ({source})", total=len(indices)):
        file.write(image_id, np.asarray(boxes), np.asarray(scores), (int(size[0]), int(size[1])), float(seconds))
    return file
