"""The learning rate of a step: a pure function of its number, with nothing to store or to get out of step."""

import math
from collections.abc import Callable, Sequence

Schedule = Callable[[int], float]  # step, counted from 0 -> factor on the rate


def step_drops(drops: Sequence[int], factor: float) -> Schedule:
    """Multiply by `factor` at each of the steps `drops`, as the papers do."""
    return lambda step: float(factor ** sum(step >= drop for drop in drops))


def cosine(steps: int, final: float) -> Schedule:
    """Half a cosine from 1 at step 0 to `final` at step `steps` (Loshchilov and Hutter 2017, without restarts)."""
    return lambda step: final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1)))


def with_warmup(schedule: Schedule, steps: int, factor: float) -> Schedule:
    """Rise linearly from `factor` of the schedule at step 0 to all of it at step `steps`."""

    def warmed(step: int) -> float:
        done = min(step / steps, 1.0) if steps else 1.0
        return schedule(step) * (factor + (1 - factor) * done)

    return warmed
