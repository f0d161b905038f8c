"""`train`: how the parameters are learned."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from detkit.config.base import Count, Fraction, NotNegative, Positive, Section

LoggerName = Literal["csv", "mlflow", "wandb"]
# auto: bf16 on what is fast in it, else fp32 (engine/precision.py); a run's config.yaml has what it came to.
PrecisionName = Literal["auto", "fp32", "bf16", "fp16"]


class SGD(Section):
    kind: Literal["sgd"]
    momentum: Fraction = 0.9
    weight_decay: NotNegative = 5e-4
    bias_rate: Positive = 1.0  # factor on the rate of biases; Caffe: 2
    decay_norm_and_bias: bool = True  # Caffe: no decay of biases
    new_layer_rate: Positive = 1.0  # factor on the rate of the classifier and the box layer; R-CNN: 10


class AdamW(Section):
    kind: Literal["adamw"]
    weight_decay: NotNegative = 0.05
    bias_rate: Positive = 1.0
    decay_norm_and_bias: bool = False
    new_layer_rate: Positive = 1.0


class StepSchedule(Section):
    kind: Literal["step"]
    drops: tuple[Count, ...]  # steps at which the rate is multiplied by `factor`
    factor: Fraction = 0.1


class CosineSchedule(Section):
    kind: Literal["cosine"]
    final: Fraction = 0.0  # of the rate, at the last step


class Train(Section):
    kind: Literal["joint", "alternating"] = "joint"  # of a Faster R-CNN: in one go, or in four steps (section 3.2)
    # Steps of the four phases of alternating training; null: as 80k, 40k, 80k, 40k are to 70k (py-faster-rcnn).
    alternating_steps: tuple[Count, Count, Count, Count] | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    steps: Count
    batch_size: Count  # images a step, of all processes and accumulated parts together
    accumulate: Count = 1  # parts a step's batch is computed in, to fit in memory
    lr: Positive
    lr_batch: Count | None = None  # the batch `lr` is for; null: the batch_size of the config file
    optimizer: Annotated[SGD | AdamW, Field(discriminator="kind")]
    schedule: Annotated[StepSchedule | CosineSchedule, Field(discriminator="kind")]
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    warmup_factor: Fraction = 0.1  # the rate starts at this part of itself and rises linearly
    precision: PrecisionName = "fp32"
    clip_norm: Positive | None = None
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None  # decay a step of the averaged weights; null: no average
    # Steps between scorings of the val split, which is scored at the end, too; null: never. A run of fewer steps is a
    # try: nothing is scored in it, and model.pt has its last weights.
    eval_every: Count | None = None
    checkpoint_every: Count = 1000
    log_every: Count = 20
    loggers: tuple[LoggerName, ...] = ()  # that get the numbers beside log.jsonl and TensorBoard

    @model_validator(mode="after")
    def _divisible(self) -> "Train":
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of accumulate {self.accumulate}")
        return self

    @model_validator(mode="after")
    def _each_logger_once(self) -> "Train":
        if len(set(self.loggers)) < len(self.loggers):
            raise ValueError(f"loggers {', '.join(self.loggers)}: name each of them once")
        return self
