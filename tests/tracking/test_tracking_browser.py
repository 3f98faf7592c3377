"""MLflow's own page in a real browser: who follows the printed address sees trials, accuracies and curves."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import NEEDED, Browser, opened
from tests.tracking.stores import FirstSearch, Server, finish
from tune_kd import names
from tune_kd.tracking import SearchInfo, Tracker

pytestmark = NEEDED
EPOCHS = 3


@pytest.fixture(scope="module")
def searched(first_search: FirstSearch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address that a search prints, with its server behind it, and the run of one trial."""
    folder = tmp_path_factory.mktemp("store")
    shutil.copyfile(first_search.folder / "mlflow.db", folder / "mlflow.db")
    for search in ("other", "ours"):
        tracker = tell(search, folder)
    server = Server(folder)
    server.start()
    here = f"http://127.0.0.1:{server.port}"
    page = tracker.page.replace("http://127.0.0.1:5000", here)
    yield page, page.partition("?")[0] + f"/{tracker.run_ids['trial-1']}/model-metrics"
    server.kill()


def tell(search: str, folder: Path) -> Tracker:
    info = SearchInfo(search, f"{search} search", settings=["kd.alpha"], note="**Does it help?**")
    tracker = Tracker.start(
        uri=f"sqlite:///{folder / 'mlflow.db'}", experiment="tests", search=info, spool=folder / search
    )
    for number in range(3):
        key = f"trial-{number}"
        tags = {names.TAG_CELL: "drawn", names.TAG_ARM: names.DISTILLED}
        tracker.trial_started(key, name=f"{search} {number}", params={"kd.alpha": f"0.12{number}"}, tags=tags)
        for epoch in range(EPOCHS):
            tracker.metrics(key, {names.VAL_ACCURACY: 0.5 + 0.1 * epoch}, epoch + 1, time.time())
        best = {names.BEST_VAL_ACCURACY: 0.7 + 0.011 * number}
        tracker.trial_ended(key, state=names.COMPLETE, stop_reason="", ended=time.time(), metrics=best)
    assert finish(tracker).refused == 0
    return tracker


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with opened(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def test_the_printed_address_shows_the_trials_of_this_search_best_first(
    searched: tuple[str, str], mlflow: Browser
) -> None:
    mlflow.look(searched[0], width=1800)
    mlflow.wait("document.body.innerText.includes('ours 2')")
    mlflow.wait("document.body.innerText.includes('kd.alpha')")
    text = mlflow.ask("document.body.innerText")
    assert "No data" not in text
    assert "other 0" not in text
    rows = mlflow.ask(
        "[...document.querySelectorAll('a')].map(one => one.innerText).filter(one => /^ours \\d/.test(one))"
    )
    assert rows == ["ours 2", "ours 1", "ours 0"]
    for shown in (names.BEST_VAL_ACCURACY, "0.722", "0.121"):
        assert shown in text


def test_a_trial_has_its_curve(searched: tuple[str, str], mlflow: Browser) -> None:
    mlflow.look(searched[1], width=1800)
    mlflow.wait("document.body.innerText.includes('val_accuracy')")
    assert mlflow.wait("document.querySelectorAll('.scatterlayer path.js-line').length")
