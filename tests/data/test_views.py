"""Views: numbered pictures of an image, always the same for the same number."""

import pytest
import torch
from torch.nn import functional

from tune_kd.data.views import Views
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
    number = every.draw(6, torch.Generator().manual_seed(1))
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
    """This one rounded up to 1, and the crop fell off the padded image."""
    every = views("crop+colour", seed=17)
    assert every.render(IMAGES[:1], torch.tensor([274]), torch.tensor([17])).shape == (1, 3, 8, 10)


def test_colour_stays_within_pixels_and_changes_them() -> None:
    shown = views("colour").render(IMAGES, INDEX, torch.zeros(6, dtype=torch.int64))
    assert shown.min() >= 0
    assert shown.max() <= 255
    assert not torch.equal(shown, IMAGES.float())


def test_draws_cover_the_list_evenly() -> None:
    drawn = views("crop_flip").draw(16_200, torch.Generator().manual_seed(0))
    counts = torch.bincount(drawn, minlength=162)
    assert counts.min() > 50
    assert counts.max() < 150


def test_another_list_has_another_key() -> None:
    keys = {views(kind).key for kind in KINDS} | {views("colour", seed=1).key, views("crop", pad=3).key}
    assert len(keys) == len(KINDS) + 2
    assert views("crop", seed=1).key == views("crop").key  # nothing in it is drawn by seed
