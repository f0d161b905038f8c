"""Detecting in a whole data set, shared out among the processes of a run."""

from collections.abc import Iterable
from typing import Protocol

import torch

from detkit.engine.distributed import World
from detkit.runtime.console import track
from detkit.structures import Batch, Clock, Detections, no_clock


class Detector(Protocol):
    """All that detecting in images needs: the two-stage detectors fit, and the staged ones."""

    def detect(self, batch: Batch, clock: Clock = no_clock, min_score: float | None = None) -> list[Detections]:
        """What is found in each image, best first, in px of the original image.

        `min_score`: the least score of a detection; None: the detector's own rule. `clock` times the stages. A call
        changes nothing in the detector, so that threads can share it.
        """
        ...


def detect_all(
    detector: Detector, batches: Iterable[Batch], world: World, label: str, clock: Clock = no_clock
) -> dict[str, Detections]:
    """Detections by image id; `batches` are this process's share, the result is everybody's."""
    found: dict[str, Detections] = {}
    for batch in track(batches, label) if world.is_main else batches:
        for image_id, detections in zip(batch.image_ids, detector.detect(batch.to(world.device), clock), strict=True):
            found[image_id] = detections
    if world.size == 1:
        return found
    return {image_id: one for share in world.gather(found) for image_id, one in share.items()}


def prepare(model: torch.nn.Module, device: torch.device) -> None:
    """Put the model on its device, in eval mode, laid out in memory as convolutions like it best."""
    model.to(device).to(memory_format=torch.channels_last).eval()
