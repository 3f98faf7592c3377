"""Where a cluster is: what was given, what Ray says in a job, and whether anybody answers there."""

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from tune_kd.errors import InputError

CONNECT_SECONDS = 5.0
RAY_ADDRESS = "RAY_ADDRESS"
IN_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray sets it for the command of a job, and for nothing else."""
JOB_FOLDER = "tune_kd"
USER = "TUNE_KD_USER"
"""Who submitted a search: on the cluster all of them run as one user."""


def own_cluster() -> str | None:
    """The cluster that the environment names, as it does in a job. The address of a jobs server is none to join."""
    address = os.environ.get(RAY_ADDRESS) or None
    return None if address and address.startswith(("http://", "https://")) else address


def working_folder() -> Path:
    """Where relative results go. A job's own folder is a copy that goes when the job ends, so a job uses its home."""
    return Path.home() / JOB_FOLDER if IN_JOB in os.environ else Path.cwd()


def silence(host: str, port: int) -> str | None:
    """Why nobody answers there, or nothing. Ray itself would try for minutes before it says so."""
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def jobs_server(given: str) -> str:
    """The address of a cluster's jobs server as a URL that answers."""
    url = given if "://" in given else f"http://{given}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        host, port = None, 0
    if host is None or parts.scheme not in ("http", "https"):
        raise InputError(
            f"--submit {given}: not the address of a jobs server. It is that of Ray's dashboard: write it as "
            "http://HOST:8265."
        )
    if reason := silence(host, port):
        raise InputError(
            f"--submit {given}: nobody answers there ({reason}). Give the address of Ray's dashboard, usually port "
            "8265 of the head node. It is there where the head was started with `ray start --head` and ray[default]; "
            "from elsewhere it needs a tunnel, such as `ray dashboard cluster.yaml` or `ssh -L 8265:localhost:8265`."
        )
    return url.rstrip("/")
