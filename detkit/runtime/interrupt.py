"""Ctrl-C and SIGTERM taken between two steps instead of within one, so that a run can leave a checkpoint."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether somebody asked to stop; asked twice, it stops at once."""

    def __init__(self) -> None:
        self.asked = False

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def stop_between_steps(enabled: bool) -> Iterator[StopRequest]:
    """While entered, signals only set `asked`; not `enabled`, or outside the main thread, they do what they did."""
    request = StopRequest()
    if not enabled or threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request._receive) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
