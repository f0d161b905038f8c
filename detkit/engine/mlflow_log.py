"""A run's numbers in MLflow: on the server that MLFLOW_TRACKING_URI names, else in files in the run's folder."""

import os
import re
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

STORE = "mlflow"  # folder of the files, for all phases of a run
RUN_FILE = "mlflow_run"  # holds the id of the run in MLflow, by which a resumed run goes on in it
EXPERIMENT = "detkit"  # unless MLFLOW_EXPERIMENT_NAME says otherwise
LARGEST_BATCH = 100  # parameters that MLflow takes at once; of metrics it takes more
LONGEST_VALUE = 500  # letters of a parameter


class MlflowLog:
    """Goes on in the run that was begun from `folder` before, and writes each metric of each step there once."""

    def __init__(self, folder: Path, start: int, store: Path, name: str, parameters: Mapping[str, object]) -> None:
        """`store`: folder of the files, if no server is named; `name` and `parameters`: of the run.

        Raises ValueError where MLflow cannot be written to.
        """
        # MLflow reads both when it is imported or first used. Without the first it reports its use to its makers;
        # without the second it refuses to write files, and anything else needs a server or a database.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        uri = os.environ.get("MLFLOW_TRACKING_URI") or store.absolute().as_uri()
        try:
            self._client = MlflowClient(tracking_uri=uri)
            self._run_id = self._known_run(folder / RUN_FILE, start) or self._new_run(name, parameters)
            self._written = self._written_before()
            self._client.update_run(self._run_id, "RUNNING")
        except MlflowException as error:
            raise ValueError(
                f"train.loggers: mlflow cannot write to {uri} ({_first_line(error)}); set MLFLOW_TRACKING_URI to what "
                "it can write to, or unset it, for files in the run's folder"
            ) from error
        (folder / RUN_FILE).write_text(self._run_id + "\n")
        self._is_lost = False

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """A server that fails does not end training: that is said, and the run goes on without it."""
        from mlflow.entities import Metric

        now = round(1000 * time.time())
        named = {metric_name(name): value for name, value in values.items()}
        metrics = [Metric(name, value, now, step) for name, value in named.items() if (name, step) not in self._written]
        with self._said_once(f"nothing is written from step {step} on"):
            for begin in range(0, 0 if self._is_lost else len(metrics), LARGEST_BATCH):
                self._client.log_batch(self._run_id, metrics[begin : begin + LARGEST_BATCH])

    def close(self, complete: bool) -> None:
        with self._said_once("it is not told that the run has ended"):
            if not self._is_lost:
                self._client.set_terminated(self._run_id, "FINISHED" if complete else "KILLED")

    @contextmanager
    def _said_once(self, consequence: str) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            self._is_lost = True
            print(
                f"mlflow: {consequence} ({_first_line(error)}); what is missing follows when the same command is given "
                "again",
                file=sys.stderr,
            )

    def _known_run(self, file: Path, start: int) -> str | None:
        """The run to go on in, where there is one. That of a training of which nothing was kept is taken back."""
        from mlflow.exceptions import MlflowException

        if not file.is_file():
            return None
        run_id = file.read_text().strip()
        try:
            if self._client.get_run(run_id).info.lifecycle_stage != "active":
                return None
        except MlflowException:  # another server's
            return None
        if start == 0:
            self._client.delete_run(run_id)
            return None
        return run_id

    def _new_run(self, name: str, parameters: Mapping[str, object]) -> str:
        from mlflow.entities import Param

        experiment_name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        experiment = self._client.get_experiment_by_name(experiment_name)
        number = self._client.create_experiment(experiment_name) if experiment is None else experiment.experiment_id
        run_id: str = self._client.create_run(number, run_name=name).info.run_id
        params = [Param(key, str(value)[:LONGEST_VALUE]) for key, value in parameters.items()]
        for begin in range(0, len(params), LARGEST_BATCH):
            self._client.log_batch(run_id, params=params[begin : begin + LARGEST_BATCH])
        return run_id

    def _written_before(self) -> set[tuple[str, int]]:
        """Metric and step of all that the run holds."""
        names = self._client.get_run(self._run_id).data.metrics
        return {(name, m.step) for name in names for m in self._client.get_metric_history(self._run_id, name)}


def metric_name(name: str) -> str:
    """In the letters that MLflow takes; a slash none of them: of files, loss and loss/rpn would ask for loss twice."""
    return re.sub(r"[^\w\-.: ]", "_", name.replace("/", "."))


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
