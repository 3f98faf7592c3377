"""Where checkpoints are kept, on a real S3 server (moto's): whole searches, one killed and resumed elsewhere."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE, wait_for
from tests.test_search import STUDY, Ran, check_same, command
from tune_kd import names, plan, results
from tune_kd.errors import InputError, StorageError, TuneKDError
from tune_kd.space.load import load
from tune_kd.storage import mirror
from tune_kd.storage.mirror import Mirror, chosen, fetch, remember
from tune_kd.storage.stores import MARK, Storage, _see
from tune_kd.training import checkpoint

KEY, SECRET = "AKIATESTING", "very+secret/word"


@dataclass(frozen=True)
class Server:
    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_ENDPOINT_URL": self.endpoint}

    @property
    def address(self) -> str:
        """Everything in the address itself, keys as well."""
        quoted = SECRET.replace("+", "%2B").replace("/", "%2F")
        host = self.endpoint.removeprefix("http://")
        return f"s3://{KEY}:{quoted}@bucket/kept?scheme=http&endpoint_override={host}&region=us-east-1"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    endpoint = f"http://127.0.0.1:{port}"
    try:
        deadline = time.time() + PATIENCE
        while True:
            try:
                request = urllib.request.Request(f"{endpoint}/bucket", method="PUT")
                urllib.request.urlopen(request, timeout=5).close()
                break
            except OSError:
                assert time.time() < deadline
                time.sleep(0.1)
        yield Server(endpoint)
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tune_kd.storage.stores.WAITS", ())


# Files.


@pytest.mark.parametrize("kind", ["folder", "s3", "s3 by environment", "fsspec"])
def test_what_is_written_is_read_back_and_fetched(
    kind: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "s3 by environment":
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
    addresses = {
        "folder": str(tmp_path / "nfs"),
        "s3": server.address,
        "s3 by environment": "s3://bucket/by-environment",
        "fsspec": f"memory://{tmp_path}/through",
    }
    storage = Storage.at(addresses[kind], "mine")
    storage.check()
    storage = storage.marked()
    storage.see()
    assert storage.read("none/there") is None
    storage.write("deep/file", b"one")
    storage.write("deep/file", b"two")
    assert storage.read("deep/file") == b"two"
    assert [storage.holds(name) for name in ("deep", "deep/file", "none")] == [True, True, False]
    found = storage.fetch("deep/file", tmp_path / "here")
    assert found is not None
    assert found.read_bytes() == b"two"
    assert storage.fetch("deep/none", tmp_path / "here") is None
    storage.leave()
    assert not storage.holds(MARK)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("s3://key:word@bucket/x", "s3://bucket/x/n"),
        ("s3://key:wo/rd@bucket/x?region=here", "s3://bucket/x/n?region=here"),
        ("s3://key@bucket/a@b", "s3://bucket/a@b/n"),
        ("abfs://files/x?account_key=word&y=1", "abfs://files/x/n?account_key=***&y=1"),
        ("gs://bucket/", "gs://bucket/n"),
        ("file:///srv/kept", "/srv/kept/n"),
    ],
)
def test_people_see_an_address_without_its_keys(address: str, shown: str) -> None:
    storage = Storage.at(address, "n")
    assert storage.shown == shown
    assert "word" not in repr(storage)
    assert storage.secret == ("key" in address)


def test_what_cannot_be_written_to_is_refused_with_the_reason(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    wrong = {
        server.address.replace("@bucket", "@nobody"): "bucket does not exist",
        str(tmp_path / "file"): "Not a directory",
        server.address.replace("region=", "bogus="): "bogus",
        "what://is/this": "Allowed are a folder",
        "s3://key:very secret@bucket/x": "cannot be used",
    }
    for address, word in wrong.items():
        with pytest.raises(InputError) as caught:
            Storage.at(address, "n").check()
        said = str(caught.value)
        assert word.lower() in said.lower() or (word == "cannot be used" and "can be used" in said), said
        assert "--storage" in said
        for secret in (KEY, SECRET, "very", "%2B"):
            assert secret not in said


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("unshare") is None, reason="root writes everywhere")
def test_a_folder_that_is_read_only_is_refused(tmp_path: Path) -> None:
    program = f"from tune_kd.storage.stores import Storage; Storage.at({str(tmp_path)!r}, 'n').check()"
    look = shutil.which("unshare")
    if os.geteuid() == 0:
        script = f'mount -t tmpfs -o ro none {tmp_path} || exit 77; exec {sys.executable} -c "{program}"'
        words = [str(look), "-m", "sh", "-c", script]
    else:
        tmp_path.chmod(0o500)
        words = [sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode == 77:
        pytest.skip("mounting is not allowed here")
    assert "InputError" in done.stderr
    assert "Read-only file system" in done.stderr or "Permission denied" in done.stderr


# A training's checkpoint.


def test_an_epoch_is_reported_once_its_checkpoint_is_stored(server: Server) -> None:
    storage = Storage.at(server.address, "training").marked()
    told: list[tuple[int, int]] = []

    def report(metrics: dict[str, Any]) -> None:
        content = storage.read("checkpoints/one.pt")
        assert content is not None
        told.append((metrics["epoch"], stored_epoch(content)))

    with storage.training("checkpoints/one.pt", report) as (saved, tell):
        assert not saved.exists()
        for epoch in (1, 2, 3):
            checkpoint.save(saved, {"epoch": epoch})
            tell({"epoch": epoch})
    assert told == [(1, 1), (2, 2), (3, 3)]
    with storage.training("checkpoints/one.pt", report) as (saved, tell):
        assert checkpoint.load(saved) == {"epoch": 3}
        tell({"epoch": 3})
    assert told[-1] == (3, 3)


def stored_epoch(content: bytes) -> int:
    import io

    import torch

    return int(torch.load(io.BytesIO(content), weights_only=True)["epoch"])


def test_an_epoch_whose_checkpoint_is_not_stored_is_not_reported(server: Server, monkeypatch: Any) -> None:
    storage = Storage.at(server.address, "unstored").marked()
    told: list[dict[str, Any]] = []

    def fail(self: Storage, name: str, content: bytes) -> None:
        raise OSError("AWS Error SLOW_DOWN")

    monkeypatch.setattr(Storage, "_write", fail)

    def train() -> None:
        with storage.training("one.pt", told.append) as (saved, tell):
            checkpoint.save(saved, {"epoch": 1})
            tell({"epoch": 1})

    with pytest.raises(StorageError, match="cannot be written to: AWS Error SLOW_DOWN"):
        train()
    assert told == []


def test_a_node_that_does_not_see_the_mark_trains_nothing(tmp_path: Path) -> None:
    storage = Storage.at(str(tmp_path), "local").marked()
    (tmp_path / "local" / MARK).unlink()
    _see.cache_clear()
    with pytest.raises(StorageError, match="does not share"), storage.training("one.pt", print):
        pass
    Storage.at(str(tmp_path), "local").marked()
    with pytest.raises(StorageError, match="another search has taken it"):
        storage.see()


# The copy of the results.


def begun(folder: Path, ledger: bytes = b'{"op_code":0}\n') -> Path:
    folder.mkdir()
    (folder / names.STUDY_FILE).write_text(STUDY)
    (folder / names.LEDGER_FILE).write_bytes(ledger)
    return folder


def test_a_search_goes_on_with_the_storage_it_was_begun_with(tmp_path: Path) -> None:
    folder = begun(tmp_path / "mine")
    address = "s3://key:word@bucket/kept?region=here"
    remember(chosen(address, tmp_path / "new", "mine"), folder)
    assert "word" not in (folder / names.STORAGE_FILE).read_text()
    assert chosen(None, folder, "mine").uri == "s3://bucket/kept/mine?region=here"
    other_way = chosen("s3://bucket/kept?region=there", folder, "another folder")
    assert other_way.uri == "s3://bucket/kept/mine?region=there"
    with pytest.raises(InputError, match="keeps its checkpoints in s3://bucket/kept/mine"):
        chosen("s3://bucket/other", folder, "mine")
    with pytest.raises(InputError, match=f"keeps its checkpoints in {tmp_path}/plain"):
        chosen(address, begun(tmp_path / "plain"), "plain")


def test_the_longer_ledger_wins_where_it_goes_on_from_the_shorter(tmp_path: Path) -> None:
    line = b'{"op_code":%d}\n'
    short, long, other = line % 0, line % 0 + line % 1, line % 0 + line % 2
    for number, (own, stored, after) in enumerate(
        [(short, long, long), (long, short, long), (short + b'{"op', long, long), (long, other, None)]
    ):
        folder, storage = begun(tmp_path / f"{number}", own), Storage.at(str(tmp_path / "kept"), str(number))
        storage.write(names.LEDGER_FILE, stored)
        if after is None:
            with pytest.raises(TuneKDError, match="different ways") as caught:
                Mirror(storage, folder).adopt(resume=True)
            assert str(folder) in str(caught.value)
            assert storage.shown in str(caught.value)
            after = own
        else:
            Mirror(storage, folder).adopt(resume=True)
        assert (folder / names.LEDGER_FILE).read_bytes() == after
        with pytest.raises(InputError, match="another --name"):
            Mirror(storage, folder).adopt(resume=False)


def test_the_copy_follows_the_ledger_and_stops_when_another_machine_goes_on(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "FIRST_SECONDS", 0.05)
    monkeypatch.setattr(mirror, "SECONDS", 0.05)
    folder = begun(tmp_path / "mine")
    storage = Storage.at(server.address, "followed").marked()
    copying = Mirror(storage, folder)
    copying.begin()
    with (folder / names.LEDGER_FILE).open("ab") as ledger:
        ledger.write(b'{"op_code":1}\n{"half')
    wait_for(lambda: storage.read(names.LEDGER_FILE) == b'{"op_code":0}\n{"op_code":1}\n')
    fetch(storage, tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / names.LEDGER_FILE).read_bytes() == storage.read(names.LEDGER_FILE)
    with pytest.raises(FileExistsError):
        fetch(storage, tmp_path / "elsewhere")
    Storage.at(server.address, "followed").marked()
    wait_for(lambda: copying.taken)
    storage.write(names.LEDGER_FILE, b"theirs")
    assert "another machine" in copying.end()
    assert storage.read(names.LEDGER_FILE) == b"theirs"


def test_machines_that_share_no_folder_agree_on_the_first_decision(
    server: Server, ray_address: str, tmp_path: Path
) -> None:
    import ray

    from tune_kd.execution.agreement import Agreement

    storage, model = Storage.at(server.address, "agreed"), "digits_student_tiny"
    file = Path(f"training.{model}{names.PRECISION_SUFFIX}")
    decide: Any = ray.remote(num_cpus=0)(lambda agree, number: agree(file, lambda: {"precision": number}))
    agree = Agreement.begun(storage)
    found = ray.get([decide.remote(agree, number) for number in range(4)])
    assert all(each == found[0] for each in found)
    # So does a search that goes on, with a register of its own.
    assert Agreement.begun(storage)(file, lambda: {"precision": "another"}) == found[0]
    # And so does its record.
    assert results.decided(plan.make(load(STUDY)), storage, tmp_path) == {f"training.{model}": found[0]}


# Whole searches.


def test_killed_and_resumed_on_another_machine_with_the_storage_alone(
    server: Server, ray_address: str, tmp_path: Path
) -> None:
    """Whose verdict is that of a search that was neither killed nor kept anywhere else."""
    # Long enough to be killed before its end: the storage is a second behind.
    long = STUDY.replace("epochs: 4, first_rung: 1", "epochs: 24, first_rung: 6")
    (tmp_path / "tiny.yaml").write_text(long)
    plain = run(tmp_path, ray_address, "tiny.yaml", "--name", "plain")
    begin = command(ray_address, "tiny.yaml", "--name", "broken", "--storage", server.address)
    process = subprocess.Popen(
        begin, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    storage = Storage.at(server.address, "broken")
    deadline = time.time() + PATIENCE
    while (storage.read(names.LEDGER_FILE) or b"").count(b'"intermediate_value"') < 3:
        assert time.time() < deadline
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    output = process.communicate()[0].decode()
    folder = tmp_path / "runs" / "broken"
    assert not (folder / names.VERDICT_FILE).exists()
    assert not list((folder / names.CHECKPOINT_DIR).glob("*.pt"))
    shutil.rmtree(folder)
    resumed = run(tmp_path, ray_address, "--resume", "--name", "broken", "--storage", server.address)
    check_same(resumed, plain)
    for name in (names.VERDICT_FILE, names.REPORT_FILE, names.LEDGER_FILE, "model/weights.pt"):
        assert storage.read(name) == (folder / name).read_bytes()
    assert not storage.holds(MARK)
    for weights in resumed.finals[names.WEIGHTS]:
        assert storage.holds(weights.removeprefix(f"{storage.place}/"))
    # A key is nowhere: not in what was said, nor in what was written, here or there.
    assert SECRET not in output + resumed.output
    assert KEY not in output + resumed.output
    quoted = server.address.partition("://")[2].partition("@")[0].encode()
    for path in [*tmp_path.rglob("*")]:
        if path.is_file():
            content = path.read_bytes()
            assert not any(word in content for word in (KEY.encode(), SECRET.encode(), quoted)), path
    again = run(tmp_path, ray_address, "tiny.yaml", "--name", "broken", "--out", "new", "--storage", server.address)
    assert again.code == 2
    assert "there is a search already" in again.output


def run(where: Path, address: str, *arguments: str) -> Ran:
    done = subprocess.run(
        command(address, *arguments),
        cwd=where,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
    )
    name = arguments[arguments.index("--name") + 1]
    return Ran(where / "runs" / name, done.returncode, done.stdout + done.stderr)


# Several nodes.


@contextmanager
def blind_node(ray_address: str, folder: Path) -> Iterator[None]:
    """Another node on this machine, with a mount namespace of its own in which `folder` is empty."""
    import ray

    ray_command = f"{sys.executable} -m ray.scripts.scripts start --address {ray_address} --num-cpus 1 --block"
    script = f"mount -t tmpfs none {folder} || exit 77; exec {ray_command}"
    with (folder.parent / "node.log").open("wb") as log:
        node = subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdout=log, stderr=log, cwd="/")
    try:
        wait_for(lambda: node.poll() is not None or alive(ray) == 2)
        if node.poll() == 77:
            pytest.skip("mounting is not allowed here")
        yield
    finally:
        node.terminate()
        node.wait(PATIENCE)
        wait_for(lambda: alive(ray) == 1)


def alive(ray: Any) -> int:
    return sum(node["Alive"] for node in ray.nodes())


@pytest.fixture
def unshare() -> None:
    allowed = shutil.which("unshare") and os.geteuid() == 0
    if not allowed or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("mount namespaces are not allowed here")


SMALL = ("--set", "resources.cpu=1", "--set", "budget={trials: 2, epochs: 2, first_rung: 1, complete: 1, repeats: 1}")


@pytest.mark.slow
def test_a_folder_that_a_node_does_not_see_is_refused_and_an_object_store_is_not(
    unshare: None, server: Server, ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = tmp_path / "where"
    where.mkdir()
    (where / "tiny.yaml").write_text(STUDY)
    with blind_node(ray_address, where):
        refused = run(where, ray_address, "tiny.yaml", "--name", "local", *SMALL)
        assert refused.code == 2, refused.output
        assert f"{where}/runs/local: 1 of the 2 machines" in refused.output
        assert "what the search has written is not there" in refused.output
        assert "s3://BUCKET/PREFIX" in refused.output
        assert "Traceback" not in refused.output
        # The keys are in the environment of the command only, not in that of the nodes.
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        kept = run(where, ray_address, "tiny.yaml", "--name", "kept", "--storage", "s3://bucket/nodes", *SMALL)
        assert kept.code == 0, kept.output
    assert set(kept.trials["state"]) <= {names.COMPLETE, names.PRUNED}


@pytest.mark.slow
def test_a_node_that_joins_late_and_does_not_see_the_folder_fails_no_training(
    unshare: None, ray_address: str, tmp_path: Path
) -> None:
    where = tmp_path / "where"
    where.mkdir()
    (where / "tiny.yaml").write_text(STUDY)
    more = ("--set", "resources.cpu=1", "--set", "budget.trials=20")
    process = subprocess.Popen(
        command(ray_address, "tiny.yaml", "--name", "late", *more),
        cwd=where, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    ledger = where / "runs" / "late" / names.LEDGER_FILE
    wait_for(lambda: process.poll() is not None or ledger.exists())
    with blind_node(ray_address, where):
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    assert "times a checkpoint could not be stored or read: this node does not share the storage" in output
    late = Ran(where / "runs" / "late", 0, output)
    assert len(late.trials) == 80
    assert set(late.trials["state"]) <= {names.COMPLETE, names.PRUNED}
