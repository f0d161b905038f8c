"""What is trained and where, from what a user names: a config, a folder of images, or both.

What is named is looked for before what reads it is imported: a mistyped name is told at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from detkit.config.packaged import find_config
from detkit.data.faults import check_folder, log_warning, tell_warnings
from detkit.engine.runs import RUNS
from detkit.runtime.gpu import has_gpu

if TYPE_CHECKING:
    from detkit.config.data import FormName
    from detkit.config.schema import Config

FOR_OWN_DATA = "own_data"  # the config where none is named
WITHOUT_GPU = "_cpu"  # what the name of its smaller sister ends with


@dataclass(frozen=True)
class Plan:
    """A run to train."""

    config: Config
    folder: Path  # of the run
    said: tuple[str, ...]  # what was found out on the way, for the user to read


def plan(
    config: str | Path | None,
    data: Path | None = None,
    form: FormName | None = None,
    run: Path | None = None,
    overrides: Sequence[str] = (),
) -> Plan:
    """The run that is meant.

    `config`: the name of one that comes with detkit, or a YAML file; None: the one for images of one's own, which
    needs `data`. `data`: a folder of images and annotations in place of the config's; `form`: of it, None: found out.
    `run`: the folder of the run; None: runs/<config>, or runs/<config>_<data>. `overrides`: key=value, such as
    train.lr=0.01. Raises ValueError where these do not go together or something is not there.
    """
    if config is None and data is None:
        raise ValueError("neither a config nor data is named; give one of them, such as the config demo")
    if form is not None and data is None:
        raise ValueError(f"form {form!r} says what the data are, but no data are named; name their folder, too")
    file = None if config is None else find_config(config)
    if data is not None:
        check_folder(data)

    from detkit.config.loading import load_config

    if data is None:
        assert file is not None
        return Plan(load_config(file, overrides), run or RUNS / file.stem, ())

    from detkit.build.data import to_train_on
    from detkit.data.formats.forms import describe_use, find_form

    found = find_form(data, form)
    said = []
    if file is None:
        name = config_for_own_data()
        file, said = find_config(name), [f"config: {name}"]
    section = to_train_on(found)
    tell_warnings(found.faults, data, log_warning)
    said += [found.describe(), describe_use(found)]
    # The same with and without a GPU: what comes next (scoring, detecting) need not ask which config was taken.
    name = f"{file.stem.removesuffix(WITHOUT_GPU)}_{data.resolve().name}"
    return Plan(load_config(file, overrides, section), run or RUNS / name, tuple(said))


def config_for_own_data() -> str:
    """The name of the config for images of one's own that this machine can train."""
    return FOR_OWN_DATA if has_gpu() else FOR_OWN_DATA + WITHOUT_GPU
