"""What the command line tools show: errors in one line, and how far a long loop has come."""

import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sized
from datetime import timedelta
from functools import cache
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Protocol, Self, TypeVar

if TYPE_CHECKING:  # rich is for terminals alone, and slow to import
    from rich.console import Console

T = TypeVar("T")

USER_ERROR = 2  # exit status, as argparse has it
INTERRUPTED = 128 + 2  # as shells report the signals SIGINT
READER_GONE = 128 + 13  # and SIGPIPE


def run_tool(main: Callable[[], int]) -> NoReturn:
    """Run a tool's `main` and exit with the status it returns.

    ValueError and OSError are what a user can mend: one line on standard error and status 2, after the traceback if
    DETKIT_TRACEBACK=1 is set. Any other exception is our bug and keeps its traceback.
    """
    try:
        status = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = INTERRUPTED
    except (ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            status = _leave_quietly()
        else:
            status = _report(error)
    # Loading processes that are still at work are ended at exit. That is no fault, but torch would report each.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    sys.exit(status)


def _report(error: ValueError | OSError) -> int:
    if os.environ.get("DETKIT_TRACEBACK") == "1":
        traceback.print_exception(error)
    print(f"error: {_one_line(error)}", file=sys.stderr)
    return USER_ERROR


def _one_line(error: ValueError | OSError) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    lines = (line.strip() for line in str(error).splitlines())
    return " ".join(line for line in lines if line) or type(error).__name__


def _reader_is_gone() -> bool:
    """Whether standard output or error leads to nobody, as in `tool | head -1`; pipes inside a tool can break too."""
    streams = select.poll()
    for descriptor in (1, 2):
        streams.register(descriptor, 0)  # hang-ups and errors are told without asking
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in streams.poll(0))


def _leave_quietly() -> int:
    """Send the rest of the output nowhere, so that the interpreter's own flush at exit finds nothing to complain of."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    return READER_GONE


def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """Yield the items and show how many are done: a bar on a terminal, elsewhere a line every 5 seconds."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    begun = monotonic()
    with StepProgress(total, 0, label, seconds_between_lines=5) as progress:
        for done, item in enumerate(items, start=1):
            yield item
            progress.update(done, _rate(done, monotonic() - begun))


class StepProgress:
    """How far a loop of numbered steps has come: a bar on a terminal, elsewhere plain lines on standard error.

    `start` is the number of steps done before, in a run that was resumed; rate and time left count from there.
    A loop shorter than the time between two lines prints none; a longer one that ends well prints a last line.
    Loops may be nested.
    """

    def __init__(self, total: int | None, start: int, label: str, seconds_between_lines: float = 10) -> None:
        on_terminal = sys.stderr.isatty() and not _console().is_dumb_terminal
        self._view: _View = (
            _Bar(total, start, label) if on_terminal else _Lines(total, start, label, seconds_between_lines)
        )

    def __enter__(self) -> Self:
        self._view.open()
        return self

    def update(self, step: int, text: str = "") -> None:
        """Tell that `step` steps are done, those before a resume included; `text` (loss, speed) is shown beside."""
        self._view.update(step, text)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._view.close(complete=kind is None)


class _View(Protocol):
    def open(self) -> None: ...
    def update(self, step: int, text: str) -> None: ...
    def close(self, complete: bool) -> None: ...


class _Bar:
    def __init__(self, total: int | None, start: int, label: str) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=_console(),
            refresh_per_second=4,
            speed_estimate_period=300,  # seconds: a step on a CPU can take many
            redirect_stdout=sys.stdout.isatty(),  # what goes to a file must not be drawn above the bar
        )
        self._task = self._progress.add_task(label, total=total, completed=start, text="")

    def open(self) -> None:
        self._progress.start()

    def update(self, step: int, text: str) -> None:
        self._progress.update(self._task, completed=step, text=text)

    def close(self, complete: bool) -> None:
        self._progress.stop()


class _Lines:
    def __init__(self, total: int | None, start: int, label: str, seconds_between: float) -> None:
        self._total = total
        self._start = start
        self._label = label
        self._seconds_between = seconds_between

    def open(self) -> None:
        self._step = self._start
        self._text = ""
        self._begun = self._last_line = monotonic()

    def update(self, step: int, text: str) -> None:
        self._step = step
        self._text = text
        now = monotonic()
        if now - self._last_line >= self._seconds_between and step != self._total:
            self._last_line = now
            self._print(self._time_left(now - self._begun))

    def close(self, complete: bool) -> None:
        seconds = monotonic() - self._begun
        if complete and seconds >= self._seconds_between:
            self._print(f"took {_duration(seconds)}")

    def _time_left(self, seconds: float) -> str:
        done = self._step - self._start
        if self._total is None or done <= 0:
            return ""
        return f"ETA {_duration(seconds / done * (self._total - self._step))}"

    def _print(self, time: str) -> None:
        count = str(self._step)
        if self._total:
            count += f"/{self._total} ({self._step / self._total:.0%})"
        details = ", ".join(part for part in (count, self._text, time) if part)
        print(f"{self._label}: {details}", file=sys.stderr, flush=True)


@cache
def _console() -> "Console":
    """One for all bars: rich stacks those that share a console."""
    from rich.console import Console

    return Console(stderr=True)


def _rate(done: int, seconds: float) -> str:
    """Items per second, or seconds per item where those are many."""
    if done == 0 or seconds <= 0:
        return ""
    return f"{done / seconds:.1f}/s" if done >= seconds else f"{seconds / done:.1f} s each"


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
