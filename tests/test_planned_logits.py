"""How often the teacher runs, and what room its logits take, before anything is run."""

import shutil
from pathlib import Path

import pytest

from tune_kd import plan
from tune_kd.data.views import Views
from tune_kd.names import DISTILLED
from tune_kd.planned_logits import cache_words, cached_seconds, runs_beside
from tune_kd.preparation import Prepared, prepare
from tune_kd.space.load import load
from tune_kd.teacher.logits import CacheKey, LogitCache

STUDY = """
study: planned
data: {dataset: digits, drawn: 200, evaluate_on: [scanned], teacher_on: [scanned]}
search: {kd.alpha: {uniform: [0.1, 1.0]}}
budget: {trials: 2, epochs: 9, repeats: 2}
"""


def todo(*settings: str) -> plan.Plan:
    return plan.make(load(STUDY, settings))


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(todo(), lambda text: None)


@pytest.mark.parametrize(
    ("settings", "runs"),
    [
        (["augment.kind=crop_flip+erasing"], 0),
        (["augment.kind=mixup"], 1),
        (["augment.kind=mixup", "kd.method=fitnet"], 2),
        (["search.augment.kind.choice=[flip,cutmix,mixup+flip,crop]"], 0.5),
        (["search.kd.method.choice=[kd,at]"], 0.5),
        (["conditions.kd.method=[at]"], 1),
    ],
)
def test_the_teacher_runs_beside_for_maps_and_for_mixed_pictures(settings: list[str], runs: float) -> None:
    made = todo(*settings)
    arm = next(arm for arm in made.arms if arm.name == DISTILLED)
    assert runs_beside(made.study, arm) == runs


def test_only_what_is_cached_is_filled_once(prepared: Prepared) -> None:
    none, banked, mixed, half = (
        cached_seconds(todo(f"search.augment.kind.choice={kinds}"), prepared, 100.0)
        for kinds in ("[none]", "[erasing]", "[mixup]", "[none,mixup]")
    )
    assert 0 == mixed < none == half < banked
    # A view of each of the images that students may have, by the epochs of the one distilled arm.
    images = sum(map(len, prepared.splits.student.values()))
    epochs = plan.expected_epochs(todo().study) + 2 * 9
    assert none == pytest.approx(images / 100 / epochs)


def test_the_room_that_is_told_is_the_room_that_is_taken(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNE_KD_CACHE", str(tmp_path / "cache"))
    made = todo("search.augment.kind.choice=[crop_flip,crop_flip+erasing,mixup]")
    lines = cache_words(made, prepared)
    for kind in ("crop_flip", "crop_flip+erasing"):
        augment = made.study.augment.model_copy(update={"kind": kind})
        views = Views.of(augment, 0)
        assert LogitCache.open(CacheKey("t", "i", views.key), (len(prepared.splits.labels), views.count, 10))
    taken = sum(file.stat().st_size for file in (tmp_path / "cache" / "logits").iterdir())
    assert lines == [
        f"Cache: the teacher's logits for 162 and 64 views of each of 1,997 images take {taken / 1e6:,.1f} MB in "
        f"{tmp_path / 'cache'}.",
        "Nothing of mixup and cutmix is cached: the teacher runs for every picture of every epoch.",
    ]
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(1, 0, 1_000_000))
    assert (
        "too much for a disk with 1.0 MB free, so the teacher runs instead: lower augment.bank"
        in (cache_words(todo("augment.kind=erasing"), prepared)[0])
    )
