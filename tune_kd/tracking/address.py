"""Where the tracking store is: checked before anything is written, and never shown with its password."""

import os
import re
import shlex
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from tune_kd.errors import InputError, did_you_mean
from tune_kd.tracking import view

SERVERS: Final = ("http", "https")
DATABASES: Final = ("sqlite", "postgresql", "mysql", "mssql")
DATABRICKS: Final = "databricks"
ENVIRONMENT: Final = "MLFLOW_TRACKING_URI"
SQLITE: Final = "sqlite:///"
MLFLOW_UI: Final = "http://127.0.0.1:5000"
"""Where `mlflow ui` listens unless it is told otherwise."""
_EXAMPLES: Final = "http://HOST:5000, https://HOST, sqlite:////FOLDER/mlflow.db or postgresql://HOST/NAME"
_SQLITE_HEADER: Final = b"SQLite format 3\0"
_USER_INFO: Final = re.compile(r"://[^/\s'\"]*@")
_SECRET: Final = re.compile(r"\b(password|passwd|pwd|token|secret)=[^&\s'\"]+", re.IGNORECASE)


def redact(text: str) -> str:
    """The text without the user names, passwords and tokens of the addresses in it."""
    return _SECRET.sub(r"\1=***", _USER_INFO.sub("://***@", text))


@dataclass(frozen=True)
class Address:
    """A checked address. `uri` may hold a password and is only for MLflow; people see `shown`."""

    uri: str

    @property
    def shown(self) -> str:
        return redact(self.uri)

    @property
    def database(self) -> Path | None:
        """The file of an SQLite store."""
        return Path(self.uri.removeprefix(SQLITE)) if self.uri.startswith(SQLITE) else None

    @property
    def artifacts(self) -> Path | None:
        """Where files of new experiments go: `mlartifacts`, as `mlflow ui` has it. A server decides for itself."""
        if _scheme(self.uri) not in DATABASES:
            return None
        return (self.database.parent if self.database else Path.cwd()) / "mlartifacts"

    @property
    def command(self) -> str:
        """What starts MLflow's page over this store, from any folder; nothing where a server shows it anyway."""
        served = _scheme(self.uri) in (*SERVERS, DATABRICKS)
        return "" if served else f"mlflow ui --backend-store-uri {shlex.quote(self.shown)}"

    def page(self, experiment_id: str, search: str) -> str:
        """The table of a search's runs; of a store without a server, where its command will show it."""
        if _scheme(self.uri) == DATABRICKS:
            return self.shown
        server = MLFLOW_UI if self.command else self.shown
        return view.page(server, experiment_id, search) if experiment_id else server


def resolve(uri: str | None) -> Address:
    """The address given, else MLFLOW_TRACKING_URI, else `mlflow.db` here, where a plain `mlflow ui` looks."""
    uri = uri or os.environ.get(ENVIRONMENT) or f"{SQLITE}{Path.cwd() / 'mlflow.db'}"
    scheme = _scheme(uri)
    if scheme == "sqlite":
        return Address(f"{SQLITE}{_sqlite_file(uri)}")
    if scheme in SERVERS:
        _check_server(uri)
    elif scheme not in (*DATABASES, DATABRICKS, *_plugins()):
        raise _unusable(uri, scheme)
    return Address(uri)


def _scheme(uri: str) -> str:
    """`postgresql+psycopg2://…` → postgresql; a path has none."""
    if uri == DATABRICKS:
        return uri
    return uri.partition("://")[0].partition("+")[0].lower() if "://" in uri else ""


def _plugins() -> list[str]:
    return [entry.name for entry in entry_points(group="mlflow.tracking_store")]


def _unusable(uri: str, scheme: str) -> InputError:
    start = f"The tracking address '{redact(uri)}' (--tracking-uri or {ENVIRONMENT}) cannot be used: "
    if scheme in ("", "file"):
        path = Path(uri.removeprefix("file://")).absolute()
        file = path if path.suffix == ".db" else path / "mlflow.db"
        hint = f"Give {SQLITE}{file}, or one of {_EXAMPLES}."
        return InputError(f"{start}MLflow no longer writes to plain folders. {hint}")
    hint = did_you_mean(scheme, (*SERVERS, *DATABASES))
    return InputError(f"{start}MLflow knows no '{scheme}://'.{hint} Allowed are {_EXAMPLES}.")


def _check_server(uri: str) -> None:
    try:
        parts: SplitResult | None = urlsplit(uri)
        usable = parts is not None and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InputError(
            f"The tracking address '{redact(uri)}' (--tracking-uri or {ENVIRONMENT}) has no host, or no port between "
            f"1 and 65535. Write it as http://HOST:PORT."
        )


def _sqlite_file(uri: str) -> Path:
    """The absolute file of an SQLite address, which must be a store already or not be there yet."""
    name = uri.partition("://")[2].removeprefix("/")
    start = f"The tracking address '{redact(uri)}' (--tracking-uri or {ENVIRONMENT}) cannot be used: "
    if name in ("", ":memory:") or "?" in name:
        raise InputError(f"{start}it names no file that stays. Write it as {SQLITE}/FOLDER/mlflow.db.")
    file = Path(name).absolute()
    if not file.parent.is_dir():
        raise InputError(f"{start}the folder {file.parent} is not there. Make it, or give another folder.")
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise InputError(f"{start}{file} cannot be written. Give a file in a folder of yours.")
    if file.exists() and not _is_store(file):
        raise InputError(f"{start}{file} is not an SQLite database. Give another name; it will be made.")
    return file


def _is_store(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        return stream.read(len(_SQLITE_HEADER)) in (b"", _SQLITE_HEADER)
