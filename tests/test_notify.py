"""--notify: what is posted, that a dead address harms nobody, and that no key in it is shown."""

import http.server
import json
import threading
from collections.abc import Iterator

import pytest

from tune_kd import notify, options
from tune_kd.errors import InputError


@pytest.fixture
def heard() -> Iterator[tuple[str, list[dict[str, object]]]]:
    got: list[dict[str, object]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/hook", got
        server.shutdown()


def test_a_search_is_told_from_start_to_end(heard: tuple[str, list[dict[str, object]]]) -> None:
    address, got = heard
    notice = notify.Notice(address, "first", {"study": "quickstart"})
    notice.tell("started")
    notice.close()
    notice.tell("finished", headline="helps in 4 of 4 cells")
    notice.close()
    assert [(one["event"], one["search"], one["study"]) for one in got] == [
        ("started", "first", "quickstart"),
        ("finished", "first", "quickstart"),
    ]
    assert got[1]["headline"] == "helps in 4 of 4 cells"


def test_a_dead_address_is_logged_without_its_key(caplog: pytest.LogCaptureFixture) -> None:
    notice = notify.Notice("http://127.0.0.1:9/hook?key=hush", "first", {})
    notice.tell("started")
    notice.close()
    assert "127.0.0.1 did not take 'started'" in caplog.text
    assert "hush" not in caplog.text


def test_without_an_address_nothing_happens() -> None:
    notice = notify.Notice(None, "first", {})
    notice.tell("started")
    notice.close()


@pytest.mark.parametrize("address", ["hook", "ftp://host/x"])
def test_what_is_no_web_address_is_refused(address: str) -> None:
    with pytest.raises(InputError, match="no web address"):
        options.parse(["--notify", address])


def test_each_end_has_its_event(heard: tuple[str, list[dict[str, object]]]) -> None:
    address, got = heard
    for error in (None, KeyboardInterrupt(), ValueError("the disk is full")):
        try:
            with notify.told(address, "first") as end:
                end["headline"] = "helps"
                if error:
                    raise error
        except (KeyboardInterrupt, ValueError):
            pass
    ends = ("finished", "stopped", "failed")
    assert [one["event"] for one in got] == [event for end in ends for event in ("started", end)]
    assert got[-1]["reason"] == "ValueError: the disk is full"
    assert got[1]["headline"] == "helps"
