"""From `train.loggers` to a run's log."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from detkit.config.loading import ConfigError, flatten
from detkit.config.schema import Config
from detkit.config.train import LoggerName, Train
from detkit.engine.csv_log import CsvLog
from detkit.engine.logs import Logger, RunLog
from detkit.engine.mlflow_log import STORE, MlflowLog
from detkit.engine.wandb_log import WandbLog


def require_loggers(train: Train) -> None:
    """Raises ConfigError where the package of a logger is not installed."""
    for name in train.loggers:
        if name != "csv" and find_spec(name) is None:
            raise ConfigError(
                f'train.loggers: {name} is not installed; get it with: pip install "detkit[{name}]", or leave it out'
            )


def build_log(config: Config, run: Path) -> Callable[[Path, int], RunLog]:
    """What opens the log in a folder, `run` or that of one of its phases, after so many steps."""

    def open_log(folder: Path, start: int) -> RunLog:
        name = "/".join([run.resolve().name, *folder.relative_to(run).parts])
        log = RunLog(folder, start, [_logger(kind, name, folder, start) for kind in config.train.loggers])
        if start == 0:
            log.text("config", config.to_yaml())
        return log

    def _logger(kind: LoggerName, name: str, folder: Path, start: int) -> Logger:
        content = config.model_dump(mode="json")
        match kind:
            case "csv":
                return CsvLog(folder)
            case "mlflow":
                return MlflowLog(folder, start, run / STORE, name, dict(flatten(content)))
            case "wandb":
                return WandbLog(folder, start, name, content)

    return open_log
