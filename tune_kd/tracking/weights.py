"""A registered model's weights, to teach with."""

from pathlib import Path

from tune_kd.errors import InputError
from tune_kd.tracking import store
from tune_kd.tracking.address import redact, resolve
from tune_kd.tracking.champion import WEIGHTS


def download_weights(model: str, tracking_uri: str | None, folder: Path) -> Path:
    """The file of weights of `models:/name/version` or `models:/name@alias`; nothing that was pickled is opened."""
    fetched = folder / WEIGHTS
    if fetched.is_file():
        return fetched  # an alias may have moved on since, but a search keeps its teacher
    address = resolve(tracking_uri)
    store.connect(address)
    from mlflow import set_tracking_uri
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    (folder / "model").mkdir(parents=True, exist_ok=True)
    # A models:/ address is looked up in the process's own store, whatever else is said.
    set_tracking_uri(address.uri)
    try:
        found = Path(download_artifacts(artifact_uri=model, dst_path=str(folder / "model"), tracking_uri=address.uri))
    except (MlflowException, OSError) as error:
        reason = redact(str(error).strip().partition("\n")[0])
        raise InputError(
            f"teacher.checkpoint {model}: MLflow at {address.shown} does not give it out ({reason}). "
            "Check the name, the version or @alias, and --tracking-uri."
        ) from error
    if not (found / WEIGHTS).is_file():
        raise InputError(
            f"teacher.checkpoint {model}: the model holds no {WEIGHTS}, and other forms would have to be unpickled, "
            "which runs whatever is in them. Save its state_dict with torch.save and give that file."
        )
    return (found / WEIGHTS).replace(fetched)
