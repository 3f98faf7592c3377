"""Ctrl-C, once: the search stops at its next event, with nothing half written. Twice: at once. A polite kill too."""

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
        at_once, self.asked = self._at_once or self.asked, True
        if at_once:
            raise KeyboardInterrupt

    def look(self) -> None:
        """Here a wish is heard that was only noted, or whose exception was ignored, as while an object is deleted."""
        if self.asked:
            raise KeyboardInterrupt

    @contextmanager
    def gently(self) -> Iterator[None]:
        """Meanwhile the first wish to stop only is noted: whoever works looks at it between any two events."""
        self.look()
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
