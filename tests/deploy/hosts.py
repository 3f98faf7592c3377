"""Hosts made of namespaces of this machine, each with its own address, processes, /tmp/ray, /dev/shm and home."""

import os
import secrets
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path

NEEDED = {"sshd": "openssh-server", "ssh-keygen": "openssh-client", "rsync": "rsync", "ip": "iproute2"}
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
START_SECONDS = 20.0

BOOT = """
set -eu
hostname {name}
mount --make-rprivate /
mkdir -p /tmp/ray
mount -t tmpfs tmpfs /tmp/ray
mount -t tmpfs tmpfs /dev/shm
# What a booted host has there is not this host's: no service manager, no sockets.
mount -t tmpfs tmpfs /run
mkdir -p /run/sshd
# The file system is the one of this machine, but root lives elsewhere.
mount --bind {home}/passwd /etc/passwd
mount --bind {home}/hosts /etc/hosts
ip link set lo up
export HOME={home}
echo up > {home}/booted
exec {service}
"""


def missing() -> str:
    """Why there can be no hosts here, or nothing."""
    if os.getuid() != 0:
        return "network namespaces need root"
    absent = sorted({package for tool, package in NEEDED.items() if not shutil.which(tool, path=SYSTEM_PATH)})
    if absent:
        return f"not installed: {', '.join(absent)}"
    tried = subprocess.run(["unshare", "--net", "--pid", "--mount", "--uts", "--fork", "true"], capture_output=True)
    return "" if tried.returncode == 0 else f"namespaces are not allowed: {tried.stderr.decode().strip()}"


@dataclass(frozen=True)
class Host:
    name: str
    address: str
    home: Path
    namespace: str
    link: str
    pid: int

    def command(self, *words: str) -> list[str]:
        """The command as it is given on this host, in its root's home and login environment."""
        enter = ["nsenter", f"--target={self.pid}", "--net", "--pid", "--mount", "--uts"]
        line = f"cd; . ~/.bashrc; {shlex.join(words)}"
        environment = ["env", "-i", f"HOME={self.home}", "USER=root", "LOGNAME=root", "LANG=C.UTF-8", "SHELL=/bin/bash"]
        return [*enter, *environment, f"PATH={SYSTEM_PATH}", "bash", "-c", line]

    def run(self, *words: str, timeout: float = 60, where: Path | None = None) -> subprocess.CompletedProcess[str]:
        inside = ("env", "-C", str(where), *words) if where else words
        return subprocess.run(
            self.command(*inside),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
        )

    def processes(self) -> dict[int, str]:
        """The command lines of what runs there, by this machine's process numbers, but for the host's own."""
        mine, found = os.readlink(f"/proc/{self.pid}/ns/pid"), {}
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and os.readlink(entry / "ns/pid") == mine:
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                    found[int(entry.name)] = line
            except OSError:
                continue  # gone meanwhile
        del found[self.pid]
        return {pid: line for pid, line in found.items() if line}

    def cut_off(self) -> None:
        """Takes its cable out."""
        ip("link", "set", self.link, "down")


@dataclass
class Network:
    """A switch and the hosts on it."""

    folder: Path
    tag: str = field(default_factory=lambda: secrets.token_hex(3))
    subnet: str = field(default_factory=lambda: f"198.18.{secrets.randbelow(254) + 1}")
    hosts: list[Host] = field(default_factory=list)

    @property
    def bridge(self) -> str:
        return f"tkd{self.tag}"

    def add(self, cleanup: ExitStack, name: str, key: Path | None = None) -> Host:
        """A host that runs an ssh server for the holder of a key, or, without one, nothing."""
        number = len(self.hosts) + 10
        home = self.folder / name
        home.mkdir()
        address, namespace, link = f"{self.subnet}.{number}", f"tkd-{self.tag}-{name}", f"t{self.tag}{number}"
        root_home(home)
        (home / "hosts").write_text(f"127.0.0.1 localhost\n{address} {name}\n")
        ip("netns", "add", namespace)
        cleanup.callback(ip, "netns", "del", namespace)
        ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        ip("link", "set", link, "master", self.bridge, "up")
        for words in (f"addr add {address}/24 dev eth0", "link set eth0 up", f"route add default via {self.subnet}.1"):
            ip("-n", namespace, *words.split())
        pid = boot(cleanup, name, namespace, home, sshd(home, key) if key else ["sleep", "infinity"])
        host = Host(name, address, home, namespace, link, pid)
        self.hosts.append(host)
        return host


@contextmanager
def network(folder: Path) -> Iterator[tuple[Network, ExitStack]]:
    made = Network(folder)
    with ExitStack() as cleanup:
        ip("link", "add", made.bridge, "type", "bridge")
        cleanup.callback(ip, "link", "del", made.bridge)
        ip("addr", "add", f"{made.subnet}.1/24", "dev", made.bridge)
        ip("link", "set", made.bridge, "up")
        yield made, cleanup


def boot(cleanup: ExitStack, name: str, namespace: str, home: Path, service: Sequence[str]) -> int:
    """Starts the host's first process; its number as this machine counts. When that one ends, all of the host ends."""
    script = BOOT.format(name=name, home=home, service=shlex.join(service))
    words = ["unshare", "--pid", "--mount", "--uts", "--fork", "--kill-child", "--mount-proc", "bash", "-c", script]
    log = cleanup.enter_context((home / "host.log").open("w"))
    outer = subprocess.Popen(
        ["ip", "netns", "exec", namespace, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log
    )
    cleanup.callback(outer.wait)
    cleanup.callback(outer.kill)
    deadline = time.monotonic() + START_SECONDS
    while not (home / "booted").exists():
        if outer.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{name} did not start: {(home / 'host.log').read_text()}")
        time.sleep(0.02)
    return int(Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()[0])


def sshd(home: Path, key: Path) -> list[str]:
    """An ssh server that lets in whoever has the key."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / "host_key")], check=True)
    shutil.copy(key.with_suffix(".pub"), home / "authorized_keys")
    settings = {
        "HostKey": home / "host_key",
        "AuthorizedKeysFile": home / "authorized_keys",
        "PermitRootLogin": "prohibit-password",
        "PasswordAuthentication": "no",
        "StrictModes": "no",
        "UsePAM": "no",
        "PidFile": "none",
    }
    (home / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    return [str(shutil.which("sshd", path=SYSTEM_PATH)), "-D", "-e", "-f", str(home / "sshd_config")]


def root_home(home: Path) -> None:
    lines = Path("/etc/passwd").read_text().splitlines()
    fields = next(line for line in lines if line.startswith("root:")).split(":")
    fields[5:] = [str(home), "/bin/bash"]
    others = [line for line in lines if not line.startswith("root:")]
    (home / "passwd").write_text("\n".join([":".join(fields), *others, ""]))
    (home / ".bashrc").touch()


def virtual_environment(folder: Path) -> None:
    """A new one that finds the packages of the one we run in, as if it had downloaded them, commands included."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (site / "ours.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    for library in ("ray", "mlflow"):
        for entry in distribution(library).entry_points.select(group="console_scripts"):
            script = folder / "bin" / entry.name
            script.write_text(f"#!{folder}/bin/python\nfrom {entry.module} import {entry.attr}\n{entry.attr}()\n")
            script.chmod(0o755)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def new_key(folder: Path) -> Path:
    key = folder / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    return key
