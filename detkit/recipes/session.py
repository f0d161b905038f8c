"""What every way of training has in common: the run's folder, its data, and a Trainer for each phase."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from detkit.build.batches import build_batches
from detkit.build.loggers import build_log
from detkit.build.training import build_optimizer, build_train_settings
from detkit.config.schema import Config
from detkit.config.train import Train
from detkit.data.dataset import DetectionDataset
from detkit.data.pipeline.loader import Shard
from detkit.engine.checkpoint import SavedModel, save_model
from detkit.engine.distributed import World
from detkit.engine.inference import prepare
from detkit.engine.stages import StageTimes
from detkit.engine.trainer import Trainer, Validation


@dataclass(frozen=True)
class Session:
    """A run under way."""

    config: Config
    dataset: DetectionDataset  # the training images, with proposals where the detector takes them
    folder: Path
    world: World
    times: StageTimes

    def trainer(
        self, model: nn.Module, train: Train, dataset: DetectionDataset, folder: Path, validate: Validation | None
    ) -> Trainer:
        """A trainer of `model` by `train`, with its files in `folder`, at the step it was stopped at."""
        prepare(model, self.world.device)
        config = self.config.model_copy(update={"train": train})
        trainer = Trainer(
            model,
            build_optimizer(train, model),
            build_train_settings(train),
            build_batches(config, dataset, Shard(self.world.rank, self.world.size, train.accumulate)),
            self.describe,
            validate,
            folder,
            self.world,
            build_log(config, self.folder),
        )
        trainer.load_checkpoint()
        return trainer

    def fit(self, model: nn.Module, train: Train, dataset: DetectionDataset, name: str) -> None:
        """Train `model` whole, or to the end of what is left; its final weights are in it afterwards.

        The files of the phase `name` are in a folder of that name, so that the same call finds them finished.
        """
        folder = self.folder / name
        if self.world.is_main:
            folder.mkdir(exist_ok=True)
        self.world.barrier()
        trainer = self.trainer(model, train, dataset, folder, None)
        if trainer.step < train.steps:
            if self.world.is_main:
                print(f"{name}: step {trainer.step} of {train.steps}")
                with self.times(name):
                    trainer.run()
            else:
                trainer.run()
        model.load_state_dict(trainer.final_model.state_dict())
        model.eval()

    def describe(self, weights: dict[str, Tensor], step: int) -> SavedModel:
        return SavedModel(self.config.model_dump(mode="json"), self.dataset.classes, weights, step)

    def finish(self, model: nn.Module, step: int, phases: Sequence[str]) -> None:
        """Write model.pt, then remove the checkpoints of the phases that led to it; their logs stay."""
        if self.world.is_main:
            weights = {name: value.detach().cpu() for name, value in model.state_dict().items()}
            save_model(self.describe(weights, step), self.folder / "model.pt")
            for phase in phases:
                for name in ("checkpoint.pt", "model.pt"):
                    (self.folder / phase / name).unlink(missing_ok=True)
        self.world.barrier()
