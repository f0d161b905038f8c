"""From the configuration to the batches of training: apart from data.py, since augmentation is slow to import."""

from collections.abc import Callable, Iterable

from detkit.build.data import build_resize
from detkit.config.schema import Config
from detkit.data.dataset import DetectionDataset
from detkit.data.pipeline.loader import BatchOrder, Shard, aspect_groups, train_batches
from detkit.data.pipeline.transforms import Augmentation, TrainTransform
from detkit.structures import Batch


def build_batches(config: Config, dataset: DetectionDataset, part: Shard) -> Callable[[range], Iterable[Batch]]:
    """The training batches of given steps, for one process."""
    data, train = config.data, config.train
    if train.batch_size % (part.count * part.accumulate):
        raise ValueError(
            f"train.batch_size {train.batch_size} cannot be shared by {part.count} processes in {part.accumulate} "
            "parts each: make it a multiple of processes x train.accumulate"
        )
    tall = aspect_groups(dataset) if data.group_by_aspect else [False] * len(dataset)
    order = BatchOrder(tall, train.batch_size, train.seed)
    augmentation = Augmentation(**data.augment.model_dump())
    transform = TrainTransform(build_resize(config), augmentation)
    return lambda steps: train_batches(dataset, transform, order, steps, part, data.workers)
