"""What a search has left in its folder, as objects."""

import html
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tune_kd import names
from tune_kd.errors import InputError
from tune_kd.request import Request
from tune_kd.space.load import load
from tune_kd.space.study import Study

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from tune_kd.summary.typed import Verdict

FRAME_HEIGHT = 720


class Result:
    """Read when it is asked for, so that a search under way can be looked at as well."""

    def __init__(
        self, folder: Path, request: Request | None = None, given: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        self.folder = folder.absolute()
        self._request = request
        self._given = given
        if not (self.folder / names.STUDY_FILE).is_file():
            raise InputError(
                f"{folder}: there is no search. Give the folder of one: it holds {names.STUDY_FILE} and, once it has "
                f"ended, {names.VERDICT_FILE}."
            )

    @cached_property
    def study(self) -> Study:
        return load(self.folder / names.STUDY_FILE)

    @property
    def verdict(self) -> "Verdict":
        from tune_kd.summary.typed import read_verdict

        return read_verdict(self.folder)

    @property
    def trials(self) -> "pd.DataFrame":
        """A row a trial."""
        return self._table(names.TRIALS_FILE)

    @property
    def finals(self) -> "pd.DataFrame":
        """A row a final."""
        return self._table(names.FINALS_FILE)

    @property
    def report(self) -> Path:
        return self._file(names.REPORT_FILE)

    @property
    def best(self) -> dict[str, Any]:
        """The winner's settings, by the keys of a study."""
        return dict(self._facts["config"])

    def model(self) -> "nn.Module":
        """The winner in eval mode, on the CPU. It takes pixels (uint8, 0…255) and normalises them by itself."""
        from tune_kd.training.export import read

        return read(self.folder / names.MODEL_DIR)

    def extend(
        self,
        *,
        trials: int | None = None,
        epochs: int | None = None,
        repeats: int | None = None,
        seconds: float | None = None,
        **keywords: Any,
    ) -> "Result":
        """Goes on with a larger budget, given in all and not on top; the keywords are those of `tune_kd.search`.

        What is not given stays as this search had it, where it was made in this process, or as its folder says.
        """
        from tune_kd.api import search

        grown = {"trials": trials, "epochs": epochs, "repeats": repeats, "seconds": seconds}
        settings = {f"budget.{key}": value for key, value in grown.items() if value is not None}
        known: dict[str, Any] = dict(self._given)
        if asked := self._request:
            known |= {key: getattr(asked, key) for key in ("name", "tracking_uri", "experiment", "address", "storage")}
        return search(settings=settings, out=self.folder, resume=True, **(known | keywords))

    @property
    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self._file(f"{names.MODEL_DIR}/model.json").read_text(encoding="utf-8"))
        return facts

    def _table(self, file: str) -> "pd.DataFrame":
        import pandas as pd

        return pd.read_parquet(self._file(file))

    def _file(self, name: str) -> Path:
        path = self.folder / name
        if not path.exists():
            raise InputError(f"{path}: there is no such file; the search has not come so far. Go on with `extend()`.")
        return path

    def __repr__(self) -> str:
        if not (self.folder / names.VERDICT_FILE).exists():
            return f"<tune_kd.Result {self.folder}: no verdict yet>"
        verdict = self.verdict
        answers = ", ".join(f"{_where(cell.cell)}: {cell.word}" for cell in verdict.cells)
        return f"<tune_kd.Result {self.folder}: {answers}>"

    def _repr_html_(self) -> str:
        """The whole report, in a frame of its own, so that neither its style nor its script meets the notebook's."""
        if not (self.folder / names.REPORT_FILE).exists():
            return html.escape(repr(self))
        page = html.escape(self.report.read_text(encoding="utf-8"), quote=True)
        style = f"width:100%;height:{FRAME_HEIGHT}px;border:0"
        return f'<iframe srcdoc="{page}" style="{style}" title="tune_kd report"></iframe>'


def _where(cell: Any) -> str:
    return ", ".join(f"{key.partition('.')[2]}={level}" for key, level in cell.items()) or "the whole study"
