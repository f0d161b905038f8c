"""From `train.loggers` to a run's log: what is opened, and what is told where it cannot be."""

from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from detkit.build import loggers
from detkit.build.loggers import build_log, require_loggers
from detkit.config.loading import ConfigError, parse_config
from detkit.config.schema import Config
from detkit.engine.csv_log import CsvLog


def test_a_package_that_is_not_there(tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    tiny["train"]["loggers"] = ["csv", "mlflow", "wandb"]
    train = parse_config(tiny, "tiny").train
    require_loggers(train)
    monkeypatch.setattr(loggers, "find_spec", lambda name: None)
    with pytest.raises(ConfigError) as caught:
        require_loggers(train)
    expected = 'train.loggers: mlflow is not installed; get it with: pip install "detkit[mlflow]", or leave it out'
    assert str(caught.value) == expected
    tiny["train"]["loggers"] = ["csv"]  # needs none
    require_loggers(parse_config(tiny, "tiny").train)


@pytest.mark.parametrize(
    ("names", "message"), [(["csv", "csv"], "once"), (["tensorboard"], "'csv', 'mlflow' or 'wandb'")]
)
def test_names_that_do_not_fit(tiny: dict[str, Any], names: list[str], message: str) -> None:
    tiny["train"]["loggers"] = names
    with pytest.raises(ConfigError, match=message):
        parse_config(tiny, "tiny")


def test_the_config_is_in_tensorboard_once(tiny_config: Config, tmp_path: Path) -> None:
    opened = build_log(tiny_config, tmp_path)
    for start in (0, 2):
        opened(tmp_path, start).close()
    [value] = EventAccumulator(str(tmp_path)).Reload().Tensors("config/text_summary")
    text = value.tensor_proto.string_val[0].decode()
    assert "    train:\n" in text and "      batch_size: 2\n" in text


def test_a_run_without_loggers_writes_none(tiny_config: Config, tmp_path: Path) -> None:
    log = build_log(tiny_config, tmp_path)(tmp_path, 0)
    log.write(1, {"loss": 0.5})
    log.close()
    assert {path.name.partition(".")[0] for path in tmp_path.iterdir()} == {"log", "events"}
    assert not (tmp_path / "log.csv").exists()


def test_phases_have_names_of_their_own(tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[Path, int, Path, str, object]] = []

    class Recorded(CsvLog):
        """In the place of MLflow's, whose own test is tests/engine/test_mlflow_log.py."""

        def __init__(self, folder: Path, start: int, store: Path, name: str, parameters: dict[str, object]) -> None:
            opened.append((folder, start, store, name, parameters["train.lr"]))
            super().__init__(folder)

    monkeypatch.setattr(loggers, "MlflowLog", Recorded)
    tiny["train"]["loggers"] = ["mlflow"]
    run = tmp_path / "mine"
    phase = run / "rpn_1"
    phase.mkdir(parents=True)
    open_log = build_log(parse_config(tiny, "tiny"), run)
    open_log(run, 0).close()
    open_log(phase, 3).close()
    assert opened == [(run, 0, run / "mlflow", "mine", 0.001), (phase, 3, run / "mlflow", "mine/rpn_1", 0.001)]
