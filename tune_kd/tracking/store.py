"""A quiet connection to an MLflow store, which is created whole or not at all."""

import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tune_kd.errors import TuneKDError
from tune_kd.storage import files
from tune_kd.tracking.address import ENVIRONMENT, SQLITE, Address

if TYPE_CHECKING:
    from mlflow import MlflowClient

_ENVIRONMENT: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
}
"""We retry ourselves, from the disk, and say once what is wrong; MLflow would hang on a dead server for minutes."""


def connect(address: Address) -> "MlflowClient":
    """Takes seconds the first time (MLflow's import, a new store's migrations), so never called by a search's loop."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    if address.database and not address.database.exists():
        _create(address.database)
    return MlflowClient(address.uri, os.environ.get("MLFLOW_REGISTRY_URI", address.uri))


def _create(file: Path) -> None:
    """Migrate under another name, then link: a kill, or a second search, never meets a half-made store."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    temporary = file.with_name(f".{file.name}.{os.getpid()}.new")
    temporary.unlink(missing_ok=True)
    try:
        made = SqlAlchemyStore(f"{SQLITE}{temporary}", str(file.parent / "mlartifacts"))  # type: ignore[no-untyped-call]
        made.engine.dispose()
        files.appear(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


def experiment_id(client: "MlflowClient", name: str, address: Address) -> str:
    """The experiment's id; made where it is missing, with files in absolute folders on this machine."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        folder = str(address.artifacts / re.sub(r"[^\w.-]+", "-", name)) if address.artifacts else None
        try:
            return str(client.create_experiment(name, folder))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # Another search made it in between.
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise TuneKDError(
            f"The MLflow experiment '{name}' was deleted. Bring it back with `{ENVIRONMENT}={address.shown} "
            f"mlflow experiments restore --experiment-id {found.experiment_id}`, or give --experiment another name."
        )
    return str(found.experiment_id)
