"""The console command: what it lists and refuses, and that nothing slow is imported before it is needed."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import pytest

from detkit.cli import make_proposals, make_shapes
from detkit.cli.command import FORMS
from detkit.cli.main import COMMANDS, dispatch, full_parser
from detkit.config.data import FormName
from detkit.data.synthetic.shapes import COUNTS
from detkit.recipes.proposals import METHODS
from tests.conftest import FAST

REPOSITORY = Path(__file__).parents[2]
SLOW = (
    "torch",
    "torchvision",
    "cv2",
    "albumentations",
    "sklearn",
    "matplotlib",
    "numba",
    "pycocotools",
    "rich",
    "timm",
)


def modules_after(code: str) -> set[str]:
    """Which of the slow libraries a fresh Python has imported at the end of `code`."""
    told = f"{code}\nimport sys; print(*[name for name in {SLOW!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", told], env=FAST, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_help_lists_every_command_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch([]) == 0
    lines = capsys.readouterr().out.splitlines()
    for command in COMMANDS.values():
        assert any(line.split(maxsplit=1) == [command.name, command.summary] for line in lines), command.name
    assert max(map(len, lines)) <= 100


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["--version"]) == 0
    assert capsys.readouterr().out == f"detkit {version('detkit')}\n"


def test_a_mistyped_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["trian"]) == 2
    assert "no command 'trian'; did you mean train?" in capsys.readouterr().err
    assert dispatch(["qqq"]) == 2
    assert "check-data" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_each_explains_itself_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        dispatch([name, "--help"])
    output = capsys.readouterr().out
    assert output.startswith(f"usage: detkit {name} ")
    assert f"detkit {name}" in output.split("example", maxsplit=1)[1]


def test_every_tool_of_a_checkout_is_a_command() -> None:
    tools = {path.stem.replace("_", "-") for path in (REPOSITORY / "tools").glob("*.py")}
    assert tools == set(COMMANDS) - {"configs", "doctor", "completion"}


def test_help_and_import_need_nothing_slow() -> None:
    code = f"""
import contextlib, io, detkit
from detkit.cli import make_proposals, make_shapes
from detkit.cli.main import dispatch
with contextlib.redirect_stdout(io.StringIO()):
    dispatch([])
    for name in {list(COMMANDS)!r}:
        with contextlib.suppress(SystemExit):
            dispatch([name, "--help"])
"""
    assert modules_after(code) == set()


@pytest.mark.parametrize(
    "words",
    [
        ["train", "demo", "trian.steps=3"],
        ["train", "demo", "train.steps=many"],
        ["train", "no_such_config"],
        ["train", "missing.yaml"],
        ["train", "--data", "missing"],
        ["eval", "missing", "--voc07"],
        ["detect", "missing", "image.jpg", "--out", "found"],
        ["check-data", "missing"],
        ["convert-data", "missing", "--to", "coco", "--out", "there"],
        ["configs"],
    ],
)
def test_what_is_wrong_is_told_at_once(words: list[str], tmp_path: Path) -> None:
    code = f"""
import contextlib, os
from detkit.cli import make_proposals, make_shapes
from detkit.cli.main import dispatch
os.chdir({str(tmp_path)!r})
with contextlib.suppress(ValueError, OSError):
    dispatch({words!r})
"""
    assert modules_after(code) == set()


def test_the_choices_of_the_parser_are_those_of_the_code() -> None:
    assert make_proposals.METHODS == METHODS
    assert dict(COUNTS) == make_shapes.COUNTS
    assert get_args(FormName) == FORMS


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "tcsh"])
def test_completion_knows_commands_and_options(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "check-data" in script and "min-score" in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_the_tree_of_parsers_takes_what_the_commands_take() -> None:
    arguments = full_parser().parse_args(["eval", "runs/mine", "--voc07"])
    assert arguments.run == Path("runs/mine") and arguments.voc07
