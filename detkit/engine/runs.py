"""Folders of runs by their place: the newest, and which there are where one is asked for that is not."""

from difflib import SequenceMatcher
from pathlib import Path

RUNS = Path("runs")  # where training writes unless told otherwise
MODEL = "model.pt"
FILES = (".pt", ".pth", ".safetensors")  # suffixes by which a name is that of a file; a run's may have others: v1.2
SHOWN = 5  # runs that an error names


def newest_run(runs: Path = RUNS) -> Path:
    """The run folder whose model.pt was written last."""
    found = finished_runs(runs)
    if not found:
        raise ValueError(f"no run with a {MODEL} in {runs}/; name a run or a {MODEL}, or train one: detkit train")
    return found[0]


def finished_runs(runs: Path = RUNS) -> list[Path]:
    """The run folders that hold a model.pt, the newest first."""
    models = sorted(runs.glob(f"*/{MODEL}"), key=lambda model: model.stat().st_mtime, reverse=True)
    return [model.parent for model in models]


def find_weights(path: Path) -> Path:
    """The file of weights that `path` stands for: itself, or the model.pt of a run's folder.

    Raises ValueError, which names the runs there are, where it is not there.
    """
    file = path / MODEL if path.is_dir() else path
    if not file.is_file():
        raise ValueError(missing_run(path))
    return file


def missing_run(path: Path) -> str:
    """What is said of a run, or a file of weights, that is not there: what is there instead, and which runs there are.

    These are the runs beside it, else those of runs/, the likest name first.
    """
    if path.is_dir() and (path / "config.yaml").is_file():
        fault = f"this run has no {MODEL} yet, which training writes when it ends; give the command that began it again"
    elif path.is_dir():
        fault = f"no run: this folder holds no {MODEL}"
    else:
        fault = "no such file" if path.suffix in FILES else "no such run"
    wanted = path.parent if path.suffix in FILES else path
    found = finished_runs(wanted.parent) or finished_runs()
    if not found:
        return f"{path}: {fault}"
    likest = sorted(found, key=lambda run: SequenceMatcher(None, run.name, wanted.name).ratio(), reverse=True)
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    newest = f"; the newest is {found[0]}" if len(found) > 1 else ""
    return f"{path}: {fault}; there are {', '.join(map(str, likest[:SHOWN]))}{more}{newest}"
