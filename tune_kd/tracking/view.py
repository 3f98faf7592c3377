"""The table in which MLflow's page shows one search: our columns, best first. Written for MLflow 3.17.

A view is a tag of the experiment, and part of the address that opens it; MLflow's own "share" button makes the same.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final

from tune_kd import names

TAG: Final = "mlflow.sharedViewState."
MOST_SETTINGS: Final = 12
"""An experiment's tag holds 5,000 signs, and a screen fewer columns."""


def key(search: str) -> str:
    """A name of the view, as it stands in addresses."""
    return f"tune_kd-{search[:12]}"


def page(server: str, experiment_id: str, search: str) -> str:
    """The address of a search's table. Without the type of its work MLflow opens an overview that says "No data"."""
    where = f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs"
    return f"{where}?workflowType=machine_learning&viewStateShareKey={key(search)}"


def tags(search: str, settings: Sequence[str], metric: str = names.ACCURACY) -> Mapping[str, str]:
    """The experiment's tag that is the view; `settings` are those that the search varies."""
    best = names.best_validated(metric)
    columns = [
        f"tags.`{names.TAG_CELL}`",
        f"tags.`{names.TAG_ARM}`",
        f"tags.`{names.TAG_STATE}`",
        *(f"metrics.`{name}`" for name in dict.fromkeys([best, names.tested(metric), names.TEST_ACCURACY])),
        *(f"params.`{name}`" for name in settings[:MOST_SETTINGS]),
    ]
    state = {
        "searchFilter": f"tags.`{names.TAG_SEARCH}` = '{search}'",
        "orderByKey": f"metrics.`{best}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": columns,
    }
    return {TAG + key(search): json.dumps(state, separators=(",", ":"))}
