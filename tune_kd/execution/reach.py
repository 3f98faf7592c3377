"""Whether every node of Ray's sees the storage: a path that looks the same need not be the same folder there."""

from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tune_kd.errors import InputError, StorageError
from tune_kd.storage.stores import Storage

ANSWER_SECONDS = 120.0


def check(storage: Storage) -> None:
    """Refuses a storage that one of the nodes does not see. A node that goes meanwhile is none."""
    here = ray.get_runtime_context().get_node_id()
    others = {
        node["NodeID"]: node["NodeManagerAddress"]
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU") and node["NodeID"] != here
    }
    look: Any = ray.remote(num_cpus=0, max_retries=0)(_look)
    asked = {
        look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(storage): node
        for node in others
    }
    answered, silent = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_SECONDS) if asked else ([], [])
    blind = {asked[each]: f"it did not answer within {ANSWER_SECONDS:.0f} seconds" for each in silent}
    for each in answered:
        try:
            if trouble := ray.get(each):
                blind[asked[each]] = trouble
        except ray.exceptions.RayError:
            continue
    if blind:
        lines = "\n".join(f"  {others[node]}: {trouble}" for node, trouble in blind.items())
        raise InputError(
            f"--storage {storage.shown}: {len(blind)} of the {len(others) + 1} machines of this Ray cannot use it:\n"
            f"{lines}\nGive --storage with a folder that all of them share (NFS), or with s3://BUCKET/PREFIX or "
            "gs://BUCKET/PREFIX and keys that may write there; or search on one machine, without --address."
        )


def _look(storage: Storage) -> str:
    try:
        storage.see()
    except (StorageError, InputError) as error:
        return str(error)
    return ""
