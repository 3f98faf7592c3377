"""--serve: a result folder's report on loopback, always the newest."""

import http.server
from functools import partial
from pathlib import Path
from typing import Final

from tune_kd.errors import InputError
from tune_kd.names import REPORT_FILE

HOST: Final = "127.0.0.1"


class Handler(http.server.BaseHTTPRequestHandler):
    """Gives the report, and nothing else of the folder."""

    def __init__(self, report: Path, *arguments: object) -> None:
        self._report = report
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        known = self.path.partition("?")[0] in ("/", f"/{REPORT_FILE}")
        try:
            body = self._report.read_bytes() if known else b""
        except OSError:
            body = b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        # A search writes it anew while it runs.
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """A page that renews itself would fill the terminal."""


def server(folder: Path, port: int) -> http.server.ThreadingHTTPServer:
    """Ready to serve; port 0 takes any that is free."""
    if not (folder / REPORT_FILE).is_file():
        raise InputError(f"{folder}: there is no {REPORT_FILE}. Give the result folder of a search that has begun.")
    try:
        return http.server.ThreadingHTTPServer((HOST, port), partial(Handler, folder / REPORT_FILE))
    except OSError as error:
        raise InputError(f"--serve {port}: {error.strerror}. Give another port, or 0 for any that is free.") from None


def serve(folder: Path, port: int) -> None:
    """Until Ctrl-C."""
    with server(folder, port) as serving:
        print(f"report: http://{HOST}:{serving.server_address[1]}/   (Ctrl-C ends it)", flush=True)
        try:
            serving.serve_forever()
        except KeyboardInterrupt:
            print()
