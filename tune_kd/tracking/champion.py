"""The winner as an MLflow model that loads without this package, registered under the alias `champion`."""

import copy
import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tune_kd import names
from tune_kd.errors import TuneKDError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

ALIAS: Final = "champion"
WEIGHTS: Final = "weights.pt"
"""Beside the program: what another search needs to take the winner as its teacher."""
TAG_DIGEST: Final = f"{names.TAG_PREFIX}model"
_TAG_VERSIONS: Final = "mlflow.modelVersions"


def pack(module: "torch.nn.Module", example: "np.ndarray[Any, Any]", weights: Path, folder: Path) -> None:
    """Write the model as an MLflow folder. torch.export's format is the one that MLflow loads without unpickling."""
    import numpy as np
    import torch
    from mlflow.models import ModelSignature
    from mlflow.pytorch import save_model
    from mlflow.types import Schema, TensorSpec

    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    images = np.ascontiguousarray(np.resize(example, (2, *example.shape[1:])), dtype=np.float32)
    model = copy.deepcopy(module).cpu().eval()
    with torch.no_grad():
        classes = model(torch.from_numpy(images)).shape[1]
    float32 = np.dtype("float32")
    signature = ModelSignature(
        Schema([TensorSpec(float32, (-1, *images.shape[1:]))]), Schema([TensorSpec(float32, (-1, classes))])
    )
    temporary = folder.with_suffix(".new")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        save_model(
            model,
            str(temporary),
            signature=signature,
            input_example=images,
            pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}", f"numpy=={np.__version__}"],
            serialization_format="pt2",
        )
    except Exception as error:  # torch.export raises many kinds for a user's own model.
        reason = str(error).strip().partition("\n")[0]
        raise TuneKDError(f"The winner cannot be exported for MLflow (torch.export): {reason}") from error
    shutil.copy(weights, temporary / WEIGHTS)
    temporary.replace(folder)


def digest(module: "torch.nn.Module") -> str:
    """What tells one winner from the next: its weights, as the exported files hold the time."""
    total = hashlib.sha256()
    for name, values in sorted(module.state_dict().items()):
        total.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        total.update(values.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()[:16]


def register(client: "MlflowClient", experiment_id: str, run_id: str, spool: Path, champion: Mapping[str, str]) -> None:
    """Log, register and name it; every step is looked up first, so that telling it twice makes one version."""
    name, mark = champion["name"], champion["digest"]
    versions = client.search_model_versions(f"name = '{name}'")
    same = [version for version in versions if version.run_id == run_id and version.tags.get(TAG_DIGEST) == mark]
    if same:
        client.set_registered_model_alias(name, ALIAS, same[0].version)
        return
    model = _logged_model(client, experiment_id, run_id, spool / champion["folder"], mark)
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, description="Winners of tune_kd searches.")
    version = client.create_model_version(
        name, model.artifact_location, run_id, {TAG_DIGEST: mark}, description=champion["note"], model_id=model.model_id
    )
    if _TAG_VERSIONS not in client.get_logged_model(model.model_id).tags:
        link = json.dumps([{"name": name, "version": version.version}])
        client.set_logged_model_tags(model.model_id, {_TAG_VERSIONS: link})
    client.set_registered_model_alias(name, ALIAS, version.version)


def _logged_model(client: "MlflowClient", experiment_id: str, run_id: str, folder: Path, mark: str) -> "LoggedModel":
    """The run's model with its files; one that an earlier attempt left unfinished is used again."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    query = f"source_run_id = '{run_id}' AND tags.`{TAG_DIGEST}` = '{mark}'"
    found = client.search_logged_models([experiment_id], query)
    model = found[0] if found else client.create_logged_model(experiment_id, ALIAS, run_id, {TAG_DIGEST: mark})
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
    description = Model.load(str(folder))
    description.model_id, description.run_id = model.model_id, run_id
    description.artifact_path = model.artifact_location
    description.save(str(folder / "MLmodel"))
    client.log_model_artifacts(model.model_id, str(folder))
    return client.finalize_logged_model(model.model_id, "READY")
