"""Ctrl-C, once: the search stops at its next event, with nothing half written. Twice: at once. A polite kill too."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether somebody has had enough. Outside of `gently` there is nothing that a sudden end could harm."""

    def __init__(self) -> None:
        self.asked = False
        self._at_once = True

    def ask(self, number: int = 0, frame: FrameType | None = None) -> None:
        # Between taking logging's lock and using it, an exception would keep the lock for ever, and whatever makes a
        # logger would wait for it.
        logs = frame is not None and frame.f_code.co_filename == logging.__file__
        at_once, self.asked = (self._at_once or self.asked) and not logs, True
        if at_once:
            raise KeyboardInterrupt

    @contextmanager
    def gently(self) -> Iterator[None]:
        """Meanwhile the first wish to stop only is noted: whoever works looks at it between any two events."""
        if self.asked:  # where it could not be heard, or was ignored, as while an object is deleted
            raise KeyboardInterrupt
        self._at_once = False
        try:
            yield
        finally:
            self._at_once = True


@contextmanager
def heard(stop: Stop) -> Iterator[None]:
    """The system's signals reach it, also where a shell that began this in the background has switched Ctrl-C off.

    Only a main thread can listen. In another one the program around it decides what a signal means.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, stop.ask)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
