"""--notify: tells a web address as JSON that a search began and how it ended. What cannot be told is logged."""

import json
import logging
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

SECONDS: Final = 10.0
LOG: Final = logging.getLogger(__name__)


class Notice:
    """Sends in a thread, in order: neither a slow nor a dead address holds up a search. Without one it says nothing."""

    def __init__(self, address: str | None, search: str, facts: Mapping[str, Any]) -> None:
        self._address, self._search, self._facts = address, search, facts
        self._last: threading.Thread | None = None

    def tell(self, event: str, **more: Any) -> None:
        """`started`, `finished`, `stopped` or `failed`, with what is known then."""
        if self._address is None:
            return
        body = {"event": event, "search": self._search, "at": time.time(), **self._facts, **more}
        self._last = threading.Thread(target=_post, args=(self._address, body, self._last), name="notify", daemon=True)
        self._last.start()

    def close(self) -> None:
        """Waits for what was sent, as a program that ends takes its threads along."""
        if self._last:
            self._last.join(2 * SECONDS)


@contextmanager
def told(address: str | None, search: str, **facts: Any) -> Iterator[dict[str, Any]]:
    """Says that something begins, and how it ended: what is put into the dictionary goes along with the end."""
    notice, end = Notice(address, search, facts), dict[str, Any](event="finished")
    notice.tell("started")
    try:
        yield end
    except KeyboardInterrupt:
        end["event"] = "stopped"
        raise
    except BaseException as error:
        end |= {"event": "failed", "reason": f"{type(error).__name__}: {error}"}
        raise
    finally:
        notice.tell(end.pop("event"), **end)
        notice.close()


def _post(address: str, body: Mapping[str, Any], before: threading.Thread | None) -> None:
    if before:
        before.join()
    data = json.dumps(body, ensure_ascii=False, default=str).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            answer.read(1)
    except (OSError, ValueError) as error:
        # The address may hold a key, so the log has its host alone.
        LOG.warning("--notify: %s did not take '%s': %s", urlsplit(address).hostname, body["event"], error)
