"""MLflow: the only place that knows it. See `Tracker`; nothing here imports mlflow before its thread needs it."""

from tune_kd.tracking.address import resolve
from tune_kd.tracking.runs import PARENT
from tune_kd.tracking.tracker import TAG_NOTE, SearchInfo, SearchStatus, Tracker
from tune_kd.tracking.weights import download_weights
from tune_kd.tracking.writer import Delivery

__all__ = ["PARENT", "TAG_NOTE", "Delivery", "SearchInfo", "SearchStatus", "Tracker", "download_weights", "resolve"]
