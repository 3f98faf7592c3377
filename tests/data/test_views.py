"""Views: numbered pictures of an image, always the same for the same number."""

import pytest
import torch
from torch.nn import functional

from tune_kd.data import views as module
from tune_kd.data.views import Chances, Program, Views
from tune_kd.space.schema import Augment

IMAGES = torch.randint(0, 256, (6, 3, 8, 10), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
INDEX = torch.arange(6)
KINDS = ["none", "flip", "crop", "crop_flip", "colour", "rotation", "crop_flip+colour+rotation"]


def views(kind: str, seed: int = 0, **more: int) -> Views:
    return Views.of(Augment(kind=kind, **more), seed)  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "count"), zip(KINDS, [1, 2, 81, 162, 64, 64, 64], strict=True))
def test_an_image_has_so_many_views(kind: str, count: int) -> None:
    assert views(kind).count == count


@pytest.mark.parametrize("kind", KINDS)
def test_a_view_does_not_depend_on_the_batch_it_is_in(kind: str) -> None:
    every = views(kind)
    number = Program(1).draw(every, INDEX, torch.zeros(6, dtype=torch.int64), 1)
    together = every.render(IMAGES, INDEX, number)
    for k in (0, 5):
        alone = every.render(IMAGES[k : k + 1], INDEX[k : k + 1], number[k : k + 1])
        assert torch.equal(together[k : k + 1], alone)


def test_crop_flip_lists_every_crop_of_the_padded_image_both_ways() -> None:
    every = views("crop_flip", pad=2)
    padded = functional.pad(IMAGES[:1], (2, 2, 2, 2))
    wanted = {
        bytes(side.contiguous().numpy().tobytes())
        for down in range(5)
        for right in range(5)
        for crop in [padded[:, :, down : down + 8, right : right + 10]]
        for side in (crop, crop.flip(-1))
    }
    number = torch.arange(every.count)
    shown = every.render(IMAGES[:1].expand(every.count, -1, -1, -1), torch.zeros_like(number), number)
    assert {bytes(picture.contiguous().numpy().tobytes()) for picture in shown} == wanted
    assert len(wanted) == every.count


def test_the_bank_follows_its_seed_and_its_image() -> None:
    zero = torch.zeros(6, dtype=torch.int64)
    first = views("rotation").render(IMAGES, INDEX, zero)
    assert torch.equal(first, views("rotation").render(IMAGES, INDEX, zero))
    assert not torch.equal(first, views("rotation", seed=1).render(IMAGES, INDEX, zero))
    same = IMAGES[:1].expand(6, -1, -1, -1)
    turned = views("rotation").render(same, INDEX, zero)
    assert len({picture.numpy().tobytes() for picture in turned}) == 6


def test_chance_never_reaches_one() -> None:
    """A 32-bit number near the top, as a float, rounds up to 1: the crop would fall off the padded image."""
    drawn = torch.stack([Chances(17, torch.arange(100_000), torch.tensor(17), "crop")(part) for part in range(20)])
    assert (drawn * 2**32).max() > 2**32 - 2**12
    assert drawn.max() < 1
    assert drawn.min() >= 0


def test_colour_stays_within_pixels_and_changes_them() -> None:
    shown = views("colour").render(IMAGES, INDEX, torch.zeros(6, dtype=torch.int64))
    assert shown.min() >= 0
    assert shown.max() <= 255
    assert not torch.equal(shown, IMAGES.float())


def shown(program: Program, images: int, turns: int, kind: str = "crop_flip") -> torch.Tensor:
    """Views by pass and image."""
    return torch.stack(
        [program.draw(views(kind), torch.arange(images), torch.full((images,), turn), turns) for turn in range(turns)]
    )


@pytest.mark.parametrize("program", [Program(0), Program(0, order=7)])
def test_draws_cover_the_list_evenly(program: Program) -> None:
    """Over the images of a pass, and over the passes of an image: as independent draws would."""
    drawn = shown(program, 1000, 162)
    for lines in (drawn, drawn.T):
        counts = torch.bincount(lines[:100].flatten(), minlength=162).float()
        expected = counts.sum() / 162
        assert abs(((counts - expected) ** 2 / expected).sum() - 161) < 5 * (2 * 161) ** 0.5
    # Of 162 draws about 63 % are different views.
    assert 0.62 < len(torch.unique(drawn.T * 1000 + torch.arange(1000)[:, None])) / drawn.numel() < 0.645
    halves = shown(program, 1000, 162, "flip").float()
    assert abs(halves.mean() - 0.5) < 0.01
    assert abs(halves.mean(0).std() - 0.5 / 162**0.5) < 0.004


def test_a_program_depends_on_its_seed_the_image_and_the_pass_alone() -> None:
    first = shown(Program(0), 50, 9)
    assert torch.equal(first[:4], shown(Program(0), 50, 4))  # a longer training begins as a shorter one
    some = torch.tensor([40, 3, 3])
    assert Program(0).draw(views("crop_flip"), some, torch.tensor([2, 8, 0]), 9).tolist() == [
        first[2, 40], first[8, 3], first[0, 3],
    ]  # fmt: skip
    assert not torch.equal(first, shown(Program(1), 50, 9))
    far = Program(0).draw(views("crop_flip"), some, torch.full((3,), 10**9), 10**12)
    assert far.max() < 162


def test_an_order_of_its_own_shows_the_same_views_of_each_image_otherwise_arranged() -> None:
    plain, one, other = (shown(Program(0, order), 200, 9) for order in (None, 1, 2))
    for arranged in (one, other):
        assert torch.equal(arranged.sort(0).values, plain.sort(0).values)
        # An image begins where it would without an order about once in nine times.
        assert 5 < int((arranged == plain).all(0).sum()) < 45
    assert not torch.equal(one, other)


def test_another_version_of_the_pictures_has_another_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = views("crop").key
    monkeypatch.setattr(module, "VERSION", 1_000)
    assert views("crop").key != before


def test_another_list_has_another_key() -> None:
    keys = {views(kind).key for kind in KINDS} | {views("colour", seed=1).key, views("crop", pad=3).key}
    assert len(keys) == len(KINDS) + 2
    assert views("crop", seed=1).key == views("crop").key  # nothing in it is drawn by seed
