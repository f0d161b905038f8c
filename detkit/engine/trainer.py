"""The training loop: one process or many, one step like the next, resumable at any of them bit for bit.

The rate, the images, their changes and the random numbers of a step are pure functions of (seed, step, rank); all that
is stored is the model, the optimizer, the gradient scaler, the averaged weights and the number of steps done.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from detkit.engine import checkpoint
from detkit.engine.averaging import WeightAverage
from detkit.engine.distributed import World
from detkit.engine.logs import RunLog
from detkit.engine.optimizer import set_rate
from detkit.engine.precision import Precision
from detkit.engine.schedule import Schedule
from detkit.runtime.console import StepProgress
from detkit.runtime.interrupt import StopRequest, stop_between_steps
from detkit.structures import Batch, Losses

Validation = Callable[[nn.Module, int, RunLog | None], float | None]  # model, step -> mAP
OpenLog = Callable[[Path, int], RunLog]  # folder, steps done before


class NotFinite(ValueError):
    """A loss became infinite or not a number."""


@dataclass(frozen=True)
class TrainSettings:
    seed: int
    steps: int
    lr: float
    schedule: Schedule
    accumulate: int
    precision: Precision
    clip_norm: float | None
    average_decay: float | None
    eval_every: int | None  # also at the end of a run that is at least as long
    checkpoint_every: int
    log_every: int


class Trainer:
    """Trains `model`, whose forward(batch) gives losses, and keeps its files in `folder`."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        settings: TrainSettings,
        batches: Callable[[range], Iterable[Batch]],
        describe: Callable[[dict[str, Tensor], int], checkpoint.SavedModel],
        validate: Validation | None,
        folder: Path,
        world: World,
        open_log: OpenLog = RunLog,
    ) -> None:
        """`batches(steps)` gives this process's batches, `accumulate` a step; `describe(weights, step)` what model.pt
        holds; `validate` scores a model on the validation split, or is None."""
        self.model, self.optimizer, self.settings = model, optimizer, settings
        self.batches, self.describe, self.validate = batches, describe, validate
        self.folder, self.world, self.open_log = folder, world, open_log
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=settings.precision == "fp16")
        self.step, self.best = 0, -math.inf  # steps done; best validation mAP so far
        self.saved_step = 0  # steps behind the checkpoint
        self._parallel: nn.Module = DistributedDataParallel(model) if world.size > 1 else model
        # After DistributedDataParallel, which gives all processes the weights of the first.
        self.average = None if settings.average_decay is None else WeightAverage(model, settings.average_decay)

    @property
    def final_model(self) -> nn.Module:
        """The model that is scored and kept: the averaged one where there is one."""
        return self.model if self.average is None else self.average.model

    def run(self) -> None:
        """Train from `self.step` to the last step, then leave the best weights (if none were scored: the last).

        Ctrl-C and SIGTERM end it with a KeyboardInterrupt after the step under way, which is saved.
        """
        log = self.open_log(self.folder, self.step) if self.world.is_main else None
        try:
            with stop_between_steps(enabled=self.world.size == 1) as request:  # many would stop at different steps
                self._loop(log, request)
        finally:
            if log is not None:
                log.close(complete=self.step == self.settings.steps)

    def load_checkpoint(self) -> None:
        """Go on from the checkpoint in the folder, if there is one."""
        path = self.folder / "checkpoint.pt"
        if not path.is_file():
            return
        state = checkpoint.load(path)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.model.load_state_dict(state["average"])
        self.step, self.best = state["step"], state["best"]
        self.saved_step = self.step

    def save_checkpoint(self) -> None:
        if self.world.is_main:
            state = {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "average": None if self.average is None else self.average.model.state_dict(),
                "step": self.step,
                "best": self.best,
            }
            checkpoint.save(state, self.folder / "checkpoint.pt")
        self.saved_step = self.step
        self.world.barrier()

    def _loop(self, log: RunLog | None, request: StopRequest) -> None:
        settings = self.settings
        self.model.train()
        meter = _Meter()
        with StepProgress(settings.steps, self.step, "training") if log is not None else nullcontext() as progress:
            stream = iter(self.batches(range(self.step, settings.steps)))
            while self.step < settings.steps:
                meter.add(*self._train_step(stream))
                if log is not None and progress is not None:
                    row = meter.summary()
                    progress.update(self.step, f"loss {row['loss']:.3f}, {row['images_per_second']:.1f} img/s")
                    if self._is_due(settings.log_every):
                        log.write(self.step, row | {"lr": settings.lr * settings.schedule(self.step - 1)})
                        meter = _Meter()
                self._validate_and_save(log)
                if request.asked and self.step < settings.steps:
                    self.save_checkpoint()
                    raise KeyboardInterrupt

    def _is_due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.settings.steps

    def _is_validation_due(self) -> bool:
        every = self.settings.eval_every  # a run that is shorter is a try, and ends without a score
        return every is not None and self.settings.steps >= every and self._is_due(every)

    def _train_step(self, stream: Iterator[Batch]) -> tuple[dict[str, float], int]:
        """One update. Returns the mean losses of its parts and the number of images."""
        settings = self.settings
        torch.manual_seed(step_seed(settings.seed, self.step, self.world.rank, self.world.size))
        set_rate(self.optimizer, settings.lr * settings.schedule(self.step))
        totals: dict[str, float] = {}
        num_images = 0
        for part in range(settings.accumulate):
            batch = next(stream).to(self.world.device)
            is_last = part == settings.accumulate - 1
            losses = self._backward(batch, synchronize=is_last)
            for name, value in losses.items():
                totals[name] = totals.get(name, 0.0) + value / settings.accumulate
            num_images += len(batch) * self.world.size
        if settings.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            clip_grad_norm_(self.model.parameters(), settings.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.model, self.step)
        self.step += 1
        return totals, num_images

    def _backward(self, batch: Batch, synchronize: bool) -> dict[str, float]:
        """Add the gradients of one part of the step; its losses as numbers."""
        dtype = torch.float16 if self.settings.precision == "fp16" else torch.bfloat16
        waits = isinstance(self._parallel, DistributedDataParallel) and not synchronize
        with self._parallel.no_sync() if waits else nullcontext():  # type: ignore[operator]
            with torch.autocast(self.world.device.type, dtype, enabled=self.settings.precision != "fp32"):
                losses: Losses = self._parallel(batch)
            total = torch.stack(list(losses.values())).sum()
            values = torch.stack([*losses.values(), total]).detach().tolist()
            named = dict(zip([*(f"loss/{name}" for name in losses), "loss"], values, strict=True))
            if not math.isfinite(named["loss"]):
                self._stop(batch, named)
            torch.autograd.backward(self.scaler.scale(total / self.settings.accumulate))
        return named

    def _stop(self, batch: Batch, losses: dict[str, float]) -> None:
        path = self.folder / f"not_finite_rank{self.world.rank}.json"
        report = {"step": self.step, "image_ids": batch.image_ids, "losses": {k: str(v) for k, v in losses.items()}}
        path.write_text(json.dumps(report, indent=2) + "\n")
        raise NotFinite(
            f"step {self.step}: the loss is {losses['loss']}; its parts and the image ids are in {path}. Lower "
            "train.lr, lengthen train.warmup_steps or set train.clip_norm, and look at those images with "
            "detkit check-data"
        )

    def _validate_and_save(self, log: RunLog | None) -> None:
        settings = self.settings
        done = self.step == settings.steps
        if self.validate is not None and self._is_validation_due():
            score = self.validate(self.final_model, self.step, log)
            self.model.train()
            if log is not None and score is not None:
                log.write(self.step, {"val_map": score})
            if (score is not None and score > self.best) or not (self.folder / "model.pt").exists():
                self.best = self.best if score is None else score
                self._keep_model()
        elif done:  # nothing was ever scored: a run that validates does so at its end
            self._keep_model()
        if done or self.step % settings.checkpoint_every == 0:
            self.save_checkpoint()

    def _keep_model(self) -> None:
        if self.world.is_main:
            weights = {name: value.detach().cpu() for name, value in self.final_model.state_dict().items()}
            checkpoint.save_model(self.describe(weights, self.step), self.folder / "model.pt")


class _Meter:
    """Means of the losses since it was made, and the speed."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._steps, self._images, self._begun = 0, 0, time.perf_counter()

    def add(self, losses: dict[str, float], num_images: int) -> None:
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._steps += 1
        self._images += num_images

    def summary(self) -> dict[str, float]:
        speed = self._images / (time.perf_counter() - self._begun)
        return {name: total / self._steps for name, total in self._sums.items()} | {"images_per_second": speed}


def step_seed(seed: int, step: int, rank: int, size: int) -> int:
    """What torch draws from in a step of one of `size` processes: 64 bits, which no other step of the run has.

    torch's generator on the CPU looks at the lower 32 only. These count the steps of all processes, from a place that
    hangs on the seed, so that they differ, too, up to 2^32 steps; a hash of everything would repeat itself within
    100,000. The upper 32 are of the seed alone: two runs of unlike seeds have no step in common.
    """
    start = int.from_bytes(blake2b(str(seed).encode(), digest_size=8).digest(), "big")
    return (start >> 32 << 32) + (start + step * size + rank) % 2**32
