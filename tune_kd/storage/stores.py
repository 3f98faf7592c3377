"""Where a search keeps its checkpoints: a folder that every node sees, or an object store that every node reaches."""

import functools
import os
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import unquote

from tune_kd import names
from tune_kd.errors import InputError, StorageError
from tune_kd.storage import files

Report = Callable[[dict[str, Any]], None]
Result = TypeVar("Result")

OBJECT_STORES: Final = ("s3", "gcs", "abfs")
"""Where folders make themselves, as pyarrow names them."""

MARK: Final = ".tune_kd-mark"
"""Holds a random word while a search runs: who reads it there sees the same storage as the search does."""

WAITS: Final = (1.0, 4.0, 10.0)
"""Seconds before each new attempt at a store that does not answer; its own client has tried several times by then."""

GOOGLE_LIMIT: Final = "retry_limit_seconds=30"
"""Google's client would try for a quarter of an hour before it says that nobody is there."""

CARRIED: Final = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"),
)
"""What workers on other machines need of the environment. Names of files are of no use there."""

_KEYS: Final = re.compile(r"://[^/?@]*@|://[^/?@:]*:[^?@]*@")
_SECRET: Final = re.compile(r"\b(\w*(?:password|secret|token|signature|key))=[^&\s'\"]+", re.IGNORECASE)


@dataclass(frozen=True)
class Storage:
    """One search's place. The address may hold keys: people see `shown`, and nothing else is ever written down."""

    uri: str = field(repr=False)
    mark: str = field(default="", repr=False)
    environment: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @classmethod
    def at(cls, address: str, name: str = "") -> "Storage":
        """The place of that name under an address that the user gave."""
        address = address.removeprefix("file://")
        if "://" not in address:
            return cls(str(Path(address).expanduser().absolute() / name))
        base, question, query = address.partition("?")
        environment = tuple((key, os.environ[key]) for key in CARRIED if key in os.environ)
        uri = base.rstrip("/") + (f"/{name}" if name else "") + question + query
        return cls(uri, environment=environment)

    @property
    def folder(self) -> Path | None:
        """The folder, where it is one."""
        return None if "://" in self.uri else Path(self.uri)

    @property
    def checkpoints(self) -> Path:
        """Their folder on this machine; where they are kept elsewhere, only what is below it means something."""
        return (self.folder or Path()) / names.CHECKPOINT_DIR

    @property
    def shown(self) -> str:
        return _SECRET.sub(r"\1=***", _KEYS.sub("://", self.uri))

    @property
    def secret(self) -> bool:
        """Whether the address holds keys."""
        return self.shown != self.uri

    @property
    def place(self) -> str:
        """What tells it from another storage; how it is reached may change."""
        return self.shown.partition("?")[0].rstrip("/")

    # Whole files, by their names below the place.

    def read(self, name: str) -> bytes | None:
        """None where there is no such file."""
        return self._try(lambda: self._read(name), "be read")

    def write(self, name: str, content: bytes) -> None:
        """Whole or not at all: object stores put like that by themselves."""
        self._try(lambda: self._write(name, content), "be written to")

    def holds(self, name: str) -> bool:
        """A file or a folder."""
        return self._try(lambda: self._holds(name), "be read")

    def fetch(self, name: str, folder: Path) -> Path | None:
        """The file as one of this machine, below `folder` where it has to be brought."""
        if self.folder is not None:
            return self.folder / name if (self.folder / name).exists() else None
        content = self.read(name)
        if content is None:
            return None
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path, content)
        return path

    # A training's checkpoint.

    @contextmanager
    def training(self, name: str, report: Report) -> Iterator[tuple[Path, Report]]:
        """A checkpoint's file on this node, and the way to report an epoch: never before its checkpoint is stored."""
        _see(self)
        if self.folder is not None:
            yield self.folder / name, report
            return
        with tempfile.TemporaryDirectory(prefix="tune_kd-") as scratch:
            saved = Path(scratch) / Path(name).name
            content = self.read(name)
            if content is not None:
                saved.write_bytes(content)
            with ThreadPoolExecutor(1) as beside:
                uploads = _Uploads(saved, content, lambda new: beside.submit(self.write, name, new), report)
                try:
                    yield saved, uploads.report
                finally:
                    uploads.settle()

    # Before the first trial, and on every node.

    def check(self) -> None:
        """Writes a probe there, reads it back and deletes it."""
        word = secrets.token_hex(8)
        try:
            self._write(f"{MARK}-{word}", word.encode())
            if self._read(f"{MARK}-{word}") != word.encode():
                raise OSError("what was written there is not what is read back")
            self._delete(f"{MARK}-{word}")
        except InputError:
            raise
        except Exception as error:  # the clients of other stores raise what they like
            where = (
                "Is the folder there, and yours to write to?"
                if self.folder
                else "Does the bucket exist, and may the keys in the environment (AWS_ACCESS_KEY_ID, … or Google's) "
                "write, read and delete there?"
            )
            raise InputError(
                f"--storage {self.shown}: a probe could not be written and read back ({self._reason(error)}). {where} "
                "Give another --storage, or leave it out to search on one machine."
            ) from error

    def marked(self) -> "Storage":
        """Itself, as the search's that runs now."""
        own = replace(self, mark=secrets.token_hex(8))
        own.write(MARK, own.mark.encode())
        return own

    def see(self) -> None:
        """Fails where this process does not see what the search sees."""
        found = self.read(MARK)
        if found is None or found.decode() != self.mark:
            what = "another search has taken it since" if found else "what the search has written is not there"
            raise StorageError(f"this node does not share the storage {self.shown} with the search: {what}")

    def taken(self) -> bool:
        """Whether another search has been begun on it since."""
        found = self.read(MARK)
        return found is not None and found.decode() != self.mark

    def leave(self) -> None:
        """Takes the mark away; whoever has marked it since keeps theirs."""
        if self.mark and not self.taken():
            self._try(lambda: self._delete(MARK), "be written to")

    # How it is done.

    def _read(self, name: str) -> bytes | None:
        try:
            if self.folder is not None:
                return (self.folder / name).read_bytes()
            system, path = _filesystem(self)
            with system.open_input_stream(f"{path}/{name}") as stream:
                content: bytes = stream.read()
                return content
        except FileNotFoundError:
            return None

    def _holds(self, name: str) -> bool:
        if self.folder is not None:
            return (self.folder / name).exists()
        from pyarrow.fs import FileType

        system, path = _filesystem(self)
        return bool(system.get_file_info(f"{path}/{name}").type != FileType.NotFound)

    def _write(self, name: str, content: bytes) -> None:
        if self.folder is not None:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            files.replace(self.folder / name, content)
            return
        system, path = _filesystem(self)
        if system.type_name not in OBJECT_STORES:
            system.create_dir(f"{path}/{name}".rpartition("/")[0], recursive=True)
        with system.open_output_stream(f"{path}/{name}") as stream:
            stream.write(content)

    def _delete(self, name: str) -> None:
        if self.folder is not None:
            (self.folder / name).unlink(missing_ok=True)
            return
        system, path = _filesystem(self)
        system.delete_file(f"{path}/{name}")

    def _try(self, what: Callable[[], Result], words: str) -> Result:
        """Another attempt where an object store does not answer, and a reason without secrets where none helps."""
        waits = list(WAITS) if self.folder is None else []
        while True:
            try:
                return what()
            except InputError:
                raise
            except Exception as error:  # the clients of other stores raise what they like
                if not waits:
                    raise StorageError(f"the storage {self.shown} cannot {words}: {self._reason(error)}") from error
                time.sleep(waits.pop(0))

    def _reason(self, error: Exception) -> str:
        return reason(error, self.uri, dict(self.environment))


class _Uploads:
    """Uploads each checkpoint while the next epoch is trained, and passes a report on once its checkpoint is stored."""

    def __init__(self, saved: Path, stored: bytes | None, put: Callable[[bytes], Future[None]], report: Report) -> None:
        self._saved = saved
        self._stored = stored
        self._put = put
        self._report = report
        self._under_way: tuple[Future[None] | None, dict[str, Any]] | None = None

    def report(self, metrics: dict[str, Any]) -> None:
        self.settle()
        content = self._saved.read_bytes()
        # Epochs that are told again after a kill are stored already.
        self._under_way = (self._put(content) if content != self._stored else None), metrics
        self._stored = content

    def settle(self) -> None:
        if self._under_way is None:
            return
        (upload, metrics), self._under_way = self._under_way, None
        if upload is not None:
            upload.result()
        self._report(metrics)


@functools.lru_cache(maxsize=1)
def _see(storage: Storage) -> None:
    """Once in a process."""
    try:
        storage.see()
    except InputError as error:  # the search could use it, so it is this node that cannot
        raise StorageError(str(error)) from error


@functools.lru_cache(maxsize=1)
def _filesystem(storage: Storage) -> tuple[Any, str]:
    """The store and the path in it. Imported here: a search in a local folder does not wait for it."""
    import pyarrow as pa
    from pyarrow import fs

    os.environ.update(storage.environment)
    uri = storage.uri
    if uri.startswith(("gs://", "gcs://")) and "retry_limit_seconds=" not in uri:
        uri += ("&" if "?" in uri else "?") + GOOGLE_LIMIT
    try:
        system, path = fs.FileSystem.from_uri(uri)
    except pa.ArrowInvalid as error:
        if "Unrecognized filesystem type" not in str(error):
            raise _unusable(storage, error) from None
        try:
            import fsspec

            other, path = fsspec.core.url_to_fs(storage.uri)
        except (ImportError, ValueError) as error:
            raise _unusable(storage, error) from None
        system = fs.PyFileSystem(fs.FSSpecHandler(other))
    return system, str(path).rstrip("/")


def _unusable(storage: Storage, error: Exception) -> InputError:
    return InputError(
        f"--storage {storage.shown}: not an address that can be used ({storage._reason(error)}). Allowed are a folder, "
        "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, or another address that pyarrow or an installed fsspec package knows. "
        "Keys belong into the environment (AWS_ACCESS_KEY_ID, …)."
    )


def reason(error: Exception, uri: str, environment: Mapping[str, str]) -> str:
    """The first line of an error, without the keys that an address or the environment holds."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0].partition(" (Request ID")[0]
    authority = uri.partition("://")[2].partition("?")[0].rpartition("@")[0]
    keys = {value for name, value in environment.items() if "KEY" in name or "TOKEN" in name}
    for word in sorted({authority, *authority.split(":"), *map(unquote, authority.split(":")), *keys}, key=len)[::-1]:
        if word:
            text = text.replace(word, "***")
    return _SECRET.sub(r"\1=***", text)[:400]
