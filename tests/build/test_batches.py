"""From sections to batches: what cannot be shared out among processes."""

import pytest

from detkit.build.batches import build_batches
from detkit.build.data import build_dataset
from detkit.config.schema import Config
from detkit.data.pipeline.loader import Shard


def test_a_batch_that_cannot_be_shared_out(tiny_config: Config) -> None:
    dataset = build_dataset(tiny_config.data, ["train"])
    build_batches(tiny_config, dataset, Shard(0, 2))
    for part in (Shard(0, 3), Shard(0, 2, accumulate=2)):
        with pytest.raises(ValueError, match=r"train\.batch_size 2 cannot be shared by"):
            build_batches(tiny_config, dataset, part)
