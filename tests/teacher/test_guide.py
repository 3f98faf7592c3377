"""A cached logit is what the teacher says."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tune_kd.data.views import Views
from tune_kd.models import build
from tune_kd.space.schema import Augment
from tune_kd.teacher.guide import FEWEST, FP16, Block, Guide, Resident, _fits, at_once
from tune_kd.teacher.making import Teacher
from tune_kd.training.images import Images


@pytest.fixture(scope="module")
def data() -> Images:
    random = np.random.default_rng(0)
    pixels = torch.from_numpy(random.integers(0, 256, (200, 3, 32, 32), dtype=np.uint8))
    return Images(pixels, torch.arange(200) % 10, (0.5,) * 3, (0.25,) * 3, 10)


def test_a_logit_does_not_depend_on_which_images_it_was_computed_with(data: Images) -> None:
    model = build("resnet20_a", classes=10, in_shape=(3, 32, 32))
    made = Teacher("resnet20_a", model.state_dict(), data.mean, data.std, data.shape, 10)
    guide = Guide(made, None, torch.device("cpu"))
    together = guide.run(data.images[: FEWEST + 10])
    for k in (0, 7, FEWEST - 1, FEWEST, FEWEST + 9):
        assert torch.equal(guide.run(data.images[k : k + 1])[0], together[k])


def test_on_a_gpu_the_teacher_runs_as_many_small_images_at_once_as_it_takes_to_pay() -> None:
    for size, many in ((8, 16_384), (32, 1024), (64, 256), (224, FEWEST)):
        assert at_once(torch.device("cuda"), (3, size, size)) == many
        assert at_once(torch.device("cpu"), (3, size, size)) == FEWEST


def test_the_same_weights_at_another_size_have_other_logits(data: Images) -> None:
    weights = build("resnet8", classes=10, in_shape=(3, 32, 32)).state_dict()
    index, view, views = torch.arange(20), torch.zeros(20, dtype=torch.long), Views.of(Augment(kind="none"), 0)
    for side in (32, 16):
        made = Teacher("resnet8", weights, data.mean, data.std, (3, side, side), 10)
        shown = data.images[index][:, :, :side, :side]
        guide = Guide.of(made, data, "sizes", views)
        assert torch.allclose(guide(index, view, shown), guide.run(shown).float(), atol=2e-3)
        assert guide.images_run == 40


def test_logits_kept_on_the_device_are_those_of_the_file(data: Images, tmp_path: Path) -> None:
    model = build("resnet8", classes=10, in_shape=(3, 32, 32))
    made = Teacher("resnet8", model.state_dict(), data.mean, data.std, data.shape, 10)
    guide = Guide.of(made, data, "resident", Views.of(Augment(kind="flip"), 0))
    assert guide._cache is not None
    guide._resident = Resident(guide._cache, torch.device("cpu"))  # as on a GPU, where it is made when it fits
    index, view = torch.arange(100), torch.arange(100) % 2
    pictures = data.images[index]
    first = guide(index, view, pictures)
    asked = guide.images_run
    guide._cache.filled[:] = 0  # what is asked again must come from the device
    assert torch.equal(guide(index.flip(0), view.flip(0), pictures.flip(0)), first.flip(0))
    assert guide.images_run == asked == 100
    assert torch.equal(first, guide.run(pictures).float())


@pytest.mark.parametrize(("share", "fits"), [(1.0, True), (0.25, True), (0.06, False)])
def test_logits_are_kept_on_a_gpu_where_they_leave_room_in_the_trainings_own_share(
    monkeypatch: pytest.MonkeyPatch, share: float, fits: bool
) -> None:
    """CIFAR-100's of all crops and flips, 1.5 GiB, on a card of 32 GiB."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 32 * 2**30))
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda device: share)
    cache = SimpleNamespace(logits=SimpleNamespace(nbytes=50_000 * 162 * 100 * 2))
    assert _fits(cache, torch.device("cuda")) is fits  # type: ignore[arg-type]
    assert not _fits(cache, torch.device("cpu"))  # type: ignore[arg-type]


class Friends:
    """Neighbours in this process: whoever asks gets everything that was ever offered."""

    def __init__(self) -> None:
        self.blocks: dict[str, list[Block]] = defaultdict(list)
        self.asked = 0

    def ask(self, cache: str) -> Iterator[Block]:
        self.asked += 1
        yield from self.blocks[cache]

    def offer(self, cache: str, block: Block) -> None:
        self.blocks[cache].append(block)


class Broken(Friends):
    """They fail after the first block, and hear nothing."""

    def ask(self, cache: str) -> Iterator[Block]:
        self.asked += 1
        yield self.blocks[cache][0]
        raise RuntimeError

    def offer(self, cache: str, block: Block) -> None:
        raise RuntimeError


@pytest.fixture(scope="module")
def resnet(data: Images) -> Teacher:
    model = build("resnet8", classes=10, in_shape=(3, 32, 32))
    return Teacher("resnet8", model.state_dict(), data.mean, data.std, data.shape, 10)


def guide_on(
    machine: Path, friends: Friends | None, resnet: Teacher, data: Images, monkeypatch: pytest.MonkeyPatch
) -> Guide:
    """With a cache of its own."""
    monkeypatch.setenv("TUNE_KD_CACHE", str(machine))
    return Guide.of(resnet, data, "shared", Views.of(Augment(kind="flip"), 0), neighbours=friends)


def ask(guide: Guide, data: Images, first: int, last: int) -> torch.Tensor:
    index = torch.arange(first, last)
    return guide(index, index % 2, data.images[index])


def test_what_a_neighbour_has_computed_is_not_computed_again(
    resnet: Teacher, data: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    friends = Friends()
    one = guide_on(tmp_path / "one", friends, resnet, data, monkeypatch)
    other = guide_on(tmp_path / "other", friends, resnet, data, monkeypatch)
    computed = torch.cat([ask(one, data, 0, 60), ask(one, data, 60, 120)])
    assert torch.equal(ask(other, data, 0, 120), computed)
    assert (one.images_run, other.images_run) == (120, 0)
    # The rest is run, and nothing but the rest is told.
    more = ask(other, data, 100, 150)
    assert torch.equal(more[:20], computed[100:])
    assert other.images_run == 30
    told = [images for blocks in friends.blocks.values() for images, _, _ in blocks]
    assert np.array_equal(np.concatenate(told), np.arange(150))
    # Who knows everything asks nobody.
    before = friends.asked
    ask(other, data, 0, 150)
    assert friends.asked == before
    assert other.images_run == 30


def test_neighbours_that_fail_are_made_up_for_by_the_teacher(
    resnet: Teacher, data: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    friends, broken = Friends(), Broken()
    one = guide_on(tmp_path / "one", friends, resnet, data, monkeypatch)
    computed = torch.cat([ask(one, data, 0, 60), ask(one, data, 60, 120)])
    broken.blocks = friends.blocks
    other = guide_on(tmp_path / "other", broken, resnet, data, monkeypatch)
    assert torch.equal(ask(other, data, 0, 120), computed)
    assert other.images_run == 60


def test_without_room_for_a_cache_nothing_is_exchanged(resnet: Teacher, data: Images) -> None:
    friends = Friends()
    guide = Guide(resnet, None, torch.device("cpu"), neighbours=friends)
    ask(guide, data, 0, 10)
    assert guide.images_run == 10
    assert not friends.asked
    assert not friends.blocks


def test_a_logit_beyond_half_precision_stays_finite(data: Images) -> None:
    model = build("lightnn", classes=10, in_shape=data.shape)
    weights = {key: value * 1e8 if key.endswith("bias") else value for key, value in model.state_dict().items()}
    sure = Teacher("lightnn", weights, data.mean, data.std, data.shape, 10)
    logits = Guide(sure, None, torch.device("cpu")).run(data.images[:3].float())
    assert float(logits.float().abs().max()) == FP16
