"""Errors in one line, and progress on a terminal and elsewhere."""

import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count

import pytest
from pydantic import BaseModel

from detkit.runtime import console
from detkit.runtime.console import StepProgress, run_tool, track


class Clock:
    """Stands in for time.monotonic."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(console, "monotonic", clock)
    return clock


def raising(error: BaseException) -> Callable[[], int]:
    def main() -> int:
        raise error

    return main


def exit_status(main: Callable[[], int]) -> int | str | None:
    with pytest.raises(SystemExit) as exit:
        run_tool(main)
    return exit.value.code


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | environment, timeout=60
    )


# --- run_tool


@pytest.mark.parametrize("status", [0, 1])
def test_the_status_of_main_is_the_exit_status(status, capsys):
    assert exit_status(lambda: status) == status
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("train.lr: -1 is not above 0"), "error: train.lr: -1 is not above 0\n"),
        (ValueError("two faults:\n  the first\n\n  the second\n"), "error: two faults: the first the second\n"),
        (ValueError(), "error: ValueError\n"),
        (OSError("disk full"), "error: disk full\n"),
        (FileNotFoundError(2, "No such file or directory", "a.yaml"), "error: a.yaml: No such file or directory\n"),
        (PermissionError(13, "Permission denied", b"a.yaml"), "error: a.yaml: Permission denied\n"),
        (BrokenPipeError(32, "Broken pipe"), "error: [Errno 32] Broken pipe\n"),  # not our output: a worker's pipe
    ],
)
def test_what_a_user_can_mend_is_one_line_and_status_2(error, line, capsys):
    assert exit_status(raising(error)) == 2
    assert capsys.readouterr().err == line


def test_a_failed_validation_is_one_line(capsys):
    class Section(BaseModel):
        lr: float

    def main() -> int:
        Section.model_validate({"lr": "fast"})
        return 0

    assert exit_status(main) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "lr" in lines[0]


def test_the_traceback_of_a_users_error_can_be_asked_for(capsys, monkeypatch):
    monkeypatch.setenv("DETKIT_TRACEBACK", "1")
    assert exit_status(raising(ValueError("bad"))) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback (most recent call last)")
    assert shown.endswith("\nerror: bad\n")


def test_an_error_of_ours_keeps_its_traceback():
    with pytest.raises(KeyError, match="boxes"):
        run_tool(raising(KeyError("boxes")))


def test_an_interrupt_has_the_status_shells_give_it(capsys):
    assert exit_status(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_argparse_keeps_its_own_exit(capsys):
    assert exit_status(raising(SystemExit(0))) == 0


def test_a_reader_that_leaves_early_is_no_error():
    code = (
        "from detkit.runtime.console import run_tool\nrun_tool(lambda: [print('line') for _ in range(100_000)] and 0)"
    )
    tool = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert tool.stdout is not None and tool.stderr is not None
    tool.stdout.readline()
    tool.stdout.close()
    assert tool.stderr.read() == b""
    tool.stderr.close()
    assert tool.wait(timeout=60) == 141


# --- plain lines


def test_track_yields_every_item_and_says_nothing_of_a_short_loop(clock, capsys):
    assert list(track("abc", "reading")) == ["a", "b", "c"]
    assert list(track([], "reading")) == []
    assert capsys.readouterr().err == ""


def test_track_prints_a_line_at_most_every_five_seconds_and_a_last_one(clock, capsys):
    for _ in track(range(6), "reading"):
        clock.now += 2
    assert capsys.readouterr().err.splitlines() == [
        "reading: 3/6 (50%), 2.0 s each, ETA 0:00:06",  # at 6 s
        "reading: 6/6 (100%), 2.0 s each, took 0:00:12",  # at 12 s, in place of the line that was due
    ]


def test_track_counts_on_without_a_total(clock, capsys):
    def items() -> Iterator[int]:
        for item in range(4):
            clock.now += 3
            yield item

    assert list(track(items(), "reading")) == [0, 1, 2, 3]
    assert capsys.readouterr().err.splitlines() == [
        "reading: 2, 3.0 s each",
        "reading: 4, 3.0 s each",
        "reading: 4, 3.0 s each, took 0:00:12",
    ]


def test_track_takes_the_total_of_items_that_have_no_length(clock, capsys):
    for _ in track(iter(range(100)), "reading", total=100):
        clock.now += 0.25
    assert "reading: 20/100 (20%), 4.0/s, ETA 0:00:20" in capsys.readouterr().err.splitlines()


def test_a_loop_left_early_prints_no_last_line(clock, capsys):
    for item in track(count(), "reading"):
        clock.now += 1
        if item == 7:
            break
    with pytest.raises(ValueError, match="bad"), StepProgress(5, 0, "training"):
        clock.now += 60
        raise ValueError("bad")
    assert capsys.readouterr().err == "reading: 5, 1.0/s\n"


def test_step_progress_of_a_resumed_run_counts_time_from_its_start(clock, capsys):
    with StepProgress(total=1000, start=900, label="training") as progress:
        for step in range(901, 1001):
            clock.now += 0.5
            progress.update(step, f"loss {step / 1000:.2f}, 8 img/s")
    assert capsys.readouterr().err.splitlines() == [
        "training: 920/1000 (92%), loss 0.92, 8 img/s, ETA 0:00:40",
        "training: 940/1000 (94%), loss 0.94, 8 img/s, ETA 0:00:30",
        "training: 960/1000 (96%), loss 0.96, 8 img/s, ETA 0:00:20",
        "training: 980/1000 (98%), loss 0.98, 8 img/s, ETA 0:00:10",
        "training: 1000/1000 (100%), loss 1.00, 8 img/s, took 0:00:50",
    ]


def test_a_run_that_was_complete_already_says_nothing(clock, capsys):
    with StepProgress(total=10, start=10, label="training"):
        pass
    assert capsys.readouterr().err == ""


def test_standard_output_is_left_to_the_tool():
    done = run_python("from detkit.runtime.console import track\nfor i in track(range(3), 'reading'): print(i)")
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n1\n2\n", "")


# --- a terminal


def run_on_terminal(code: str) -> tuple[str, str]:
    """What the code wrote on standard output, a pipe, and what on standard error, a terminal 100 columns wide."""
    leader, follower = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    tool = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=follower, env=environment)
    os.close(follower)
    shown = b""
    try:
        while piece := os.read(leader, 4096):
            shown += piece
    except OSError:  # how Linux tells that the other end was closed
        pass
    finally:
        os.close(leader)
    output = tool.communicate(timeout=60)[0].decode()
    assert tool.returncode == 0, shown.decode()
    return output, shown.decode()


def test_a_terminal_gets_a_bar_and_a_pipe_gets_the_output():
    output, shown = run_on_terminal(
        "from detkit.runtime.console import track\nfor i in track(range(3), 'reading'): print(i)"
    )
    assert output == "0\n1\n2\n"
    for part in ("reading", "3/3", "ETA"):
        assert part in shown


def test_bars_may_be_nested_and_text_is_not_markup():
    code = """
from detkit.runtime.console import StepProgress, track
with StepProgress(1000, 998, "training") as progress:
    for step in (999, 1000):
        list(track(range(4), "scoring [bold]"))
        progress.update(step, "loss [0.5]")
"""
    _, shown = run_on_terminal(code)
    for part in ("training", "1000/1000", "loss [0.5]", "scoring [bold]", "4/4"):
        assert part in shown


def test_a_terminal_that_cannot_move_its_cursor_gets_lines():
    code = (
        "import os; os.environ['TERM'] = 'dumb'\n"
        "from detkit.runtime.console import track\nlist(track('abc', 'reading'))"
    )
    assert run_on_terminal(code)[1] == ""
