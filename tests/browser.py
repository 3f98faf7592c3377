"""A headless Chromium that tests can ask questions: pages are opened, waited for, and looked at by JavaScript."""

import asyncio
import base64
import shutil
import subprocess
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NEEDED = pytest.mark.skipif(PROGRAM is None, reason="no Chromium here: install chromium to look at pages in it")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
         "--hide-scrollbars", "--allow-file-access-from-files", "--remote-debugging-port=0")  # fmt: skip
PATIENCE = 120.0
"""Seconds for whatever the browser is asked for; the machine may be busy."""


class Browser:
    """One page of a browser, by Chrome's DevTools protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, loop: asyncio.AbstractEventLoop) -> None:
        self._socket, self._loop, self._number = socket, loop, 0

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        self._number += 1
        return self._wait(self._call(self._number, method, parameters))

    def look(self, address: str, width: int = 1280, height: int = 900, dark: bool = False, paper: bool = False) -> None:
        """Opens a page, of a screen so large, in a system that is light or dark; or as it would be printed."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="print" if paper else "", features=[scheme])
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def ask(self, script: str) -> Any:
        """The value of an expression in the page, also of a promise."""
        done = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait(self, script: str) -> Any:
        """The first value that is true in the page."""
        end = time.monotonic() + PATIENCE
        while not (value := self.ask(script)):
            assert time.monotonic() < end, f"it did not happen: {script}\n{self.ask('document.body.innerText')[-2000:]}"
            time.sleep(0.1)
        return value

    def picture(self, file: Path, whole: bool = True) -> None:
        """What is seen, as a PNG."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        file.write_bytes(base64.b64decode(data))

    def _wait(self, doing: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
        return self._loop.run_until_complete(asyncio.wait_for(doing, PATIENCE))

    async def _call(self, number: int, method: str, parameters: dict[str, object]) -> dict[str, Any]:
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            answer = await self._socket.receive_json()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return dict(answer["result"])


@contextmanager
def opened(profile: Path) -> Iterator[Browser]:
    """A browser of its own, ended afterwards."""
    command = [str(PROGRAM), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    loop = asyncio.new_event_loop()
    try:
        port = _port(profile / "DevToolsActivePort")
        session, socket = loop.run_until_complete(_connect(port))
        yield Browser(socket, loop)
        loop.run_until_complete(session.close())
    finally:
        process.terminate()
        process.wait()
        loop.close()


def _port(file: Path) -> int:
    end = time.monotonic() + PATIENCE
    while not file.exists() or not file.read_text().strip():
        assert time.monotonic() < end, "the browser did not start"
        time.sleep(0.05)
    return int(file.read_text().splitlines()[0])


async def _connect(port: int) -> tuple[aiohttp.ClientSession, aiohttp.ClientWebSocketResponse]:
    session = aiohttp.ClientSession()
    async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
        page = next(each for each in await answer.json() if each["type"] == "page")
    return session, await session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0)
