"""Every augmentation passes this suite, and does what torchvision's function of that kind does."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from tune_kd.data.augment import colours, geometry, mixing, policies
from tune_kd.data.views import Program, Views
from tune_kd.space import augmentations
from tune_kd.space.schema import Augment
from tune_kd.training.images import Images

COUNT = 24
INDEX = torch.arange(COUNT)
LABELS = INDEX % 4
SHAPES = [(1, 8, 8), (3, 32, 32), (3, 15, 20)]
KINDS = augmentations.AUGMENTATIONS


def pictures(shape: tuple[int, int, int]) -> Tensor:
    """A bright shape on noise in each, so that none is even."""
    images = torch.randint(0, 120, (COUNT, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[:, :, shape[1] // 3 : shape[1] // 2, shape[2] // 4 : shape[2] // 2] += 130
    return images


def shown(kind: str, images: Tensor, seed: int = 0, turn: int = 0, **more: float) -> tuple[Tensor, Tensor]:
    """As a training shows them in a pass, in batches of seven."""
    views = Views.of(Augment(kind=kind, **more), seed)  # type: ignore[arg-type]
    program, turns = Program(seed), torch.full_like(INDEX, turn)
    found = views.render(images, INDEX, program.draw(views, INDEX, turns, 30))
    if not views.mixing:
        return found, torch.nn.functional.one_hot(LABELS, 4).float()
    return views.mix(found, LABELS, 4, 7, partial(program.chances, INDEX, turns))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_pictures_stay_pictures_and_most_are_changed(kind: str, shape: tuple[int, int, int]) -> None:
    images = pictures(shape)
    before = images.clone()
    found, labels = shown(kind, images)
    assert torch.equal(images, before)
    assert found.shape == images.shape
    assert found.dtype in (torch.uint8, torch.float32)
    assert torch.isfinite(found.float()).all()
    assert found.min() >= 0
    assert found.max() <= 255
    assert int((found.float() != images.float()).flatten(1).any(1).sum()) >= COUNT // 4
    assert labels.shape == (COUNT, 4)
    torch.testing.assert_close(labels.sum(1), torch.ones(COUNT))


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_and_the_pass_say_which(kind: str) -> None:
    images = pictures((3, 32, 32))
    first = shown(kind, images)
    for one, other in zip(first, shown(kind, images), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(first[0], shown(kind, images, seed=1)[0])
    assert not torch.equal(first[0], shown(kind, images, turn=1)[0])


@pytest.mark.parametrize("kind", KINDS)
def test_both_networks_see_one_view_at_their_own_size(kind: str) -> None:
    found, _ = shown(kind, pictures((3, 32, 32)))
    data = Images(torch.zeros(1, 3, 32, 32), LABELS, (0.0,) * 3, (1.0,) * 3, 4)
    small, large = (data.seen((0.0,) * 3, (1.0,) * 3, side).inputs(found) for side in (16, None))
    halved = torch.nn.functional.interpolate(large, (16, 16), mode="bilinear", antialias=True)
    torch.testing.assert_close(small, halved, rtol=1e-4, atol=1e-4)


def test_parts_are_applied_in_one_order_however_they_are_written() -> None:
    images = pictures((3, 32, 32))
    one, other = (shown(kind, images)[0] for kind in ("erasing+flip+trivialaugment", "flip+trivialaugment+erasing"))
    assert torch.equal(one, other)


def test_of_two_ways_to_mix_each_picture_goes_one() -> None:
    images = pictures((3, 32, 32))
    both, up, cut = (shown(kind, images)[0] for kind in ("mixup+cutmix", "mixup", "cutmix"))
    ways = [tuple(bool(torch.equal(both[k], way[k])) for way in (up, cut)) for k in range(COUNT)]
    assert set(ways) == {(True, False), (False, True)}


def test_a_mixed_label_says_of_what_the_picture_is() -> None:
    """Of even pictures the mean brightness says how much of each there is."""
    level = (INDEX + 1) * 10
    images = level.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 16, 16)
    views, turns = Views.of(Augment(kind="mixup+cutmix"), 0), torch.zeros_like(INDEX)
    found, labels = views.mix(images, INDEX, COUNT, 7, partial(Program(0).chances, INDEX, turns))
    torch.testing.assert_close(found.mean((1, 2, 3)), labels @ level.float(), rtol=1e-4, atol=1e-3)
    partners = labels.clone().fill_diagonal_(0).argmax(1)
    mixed = labels.diagonal() < 1
    wanted = torch.tensor([k - 1 if k % 7 else min(k + 7, COUNT) - 1 for k in range(COUNT)])
    assert torch.equal(partners[mixed], wanted[mixed])
    # Every share is as likely.
    many = torch.arange(20_000)
    share = mixing.mixup(torch.zeros(1), torch.zeros(1), Program(0).chances(many, many * 0, "mixup"))[1]
    assert abs(float(share.mean()) - 0.5) < 0.01
    assert abs(float(share.var()) - 1 / 12) < 0.002


# Against torchvision. Its own choices are drawn by it, so its functions are asked for ours.


def floats(shape: tuple[int, int, int] = (3, 32, 28)) -> Tensor:
    return pictures(shape).float()


def one_by_one(function: Callable[..., Tensor], images: Tensor, *amounts: Tensor) -> Tensor:
    """torchvision takes one amount for a batch; its floats go from 0 to 1."""
    rows = [function(images[k : k + 1] / 255, *(float(each[k]) for each in amounts)) for k in range(len(images))]
    return torch.cat(rows) * 255


AMOUNT = torch.linspace(-0.99, 0.99, COUNT)


@pytest.mark.parametrize(
    ("ours", "theirs", "amount"),
    [
        ("brightness", "Brightness", AMOUNT),
        ("contrast", "Contrast", AMOUNT),
        ("saturation", "Color", AMOUNT),
        ("sharpness", "Sharpness", AMOUNT),
        ("autocontrast", "AutoContrast", AMOUNT),
    ],
)
@pytest.mark.parametrize("shape", [(3, 32, 28), (1, 8, 8)], ids=str)
def test_colours_are_torchvisions(ours: str, theirs: str, amount: Tensor, shape: tuple[int, int, int]) -> None:
    # Private, but the one place that says what the name of an operation means to it.
    from torchvision.transforms.autoaugment import InterpolationMode, _apply_op

    def other(image: Tensor, much: float) -> Tensor:
        return _apply_op(image, theirs, much, InterpolationMode.BILINEAR, None)

    images = floats(shape)
    found = getattr(colours, ours)(images, amount)
    torch.testing.assert_close(found, one_by_one(other, images, amount), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("kind", ["ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"])
def test_moves_are_torchvisions(kind: str) -> None:
    from torchvision.transforms.autoaugment import InterpolationMode, _apply_op

    images = floats()
    number = ["ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"].index(kind) + 1
    amount = {"T": 0.45, "S": 0.99, "R": 135.0}[kind[0]] * torch.linspace(-1, 1, COUNT)
    pixels = amount * images.shape[3 if kind.endswith("X") else 2] if kind[0] == "T" else amount

    def other(image: Tensor, much: float) -> Tensor:
        return _apply_op(image, kind, much, InterpolationMode.BILINEAR, None)

    ours, theirs = policies.OPERATIONS[number].apply(images, amount), one_by_one(other, images, pixels)
    # It rounds angles of a shear to degrees on the way, where we do not: a pixel at an edge may differ.
    assert (ours - theirs).abs().quantile(0.99) < 1e-2


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_posterize_solarize_and_equalize_are_torchvisions_on_bytes(bits: int) -> None:
    from torchvision.transforms import functional

    images = pictures((3, 32, 28))
    some, like = images.float(), torch.zeros(COUNT)
    assert torch.equal(colours.posterize(some, like + bits), functional.posterize(images, bits).float())
    assert torch.equal(colours.solarize(some, like + 30.0 * bits), functional.solarize(images, 30.0 * bits).float())
    assert torch.equal(colours.equalize(some, like), functional.equalize(images).float())
    even = torch.full((COUNT, 3, 8, 8), 7.0)
    assert torch.equal(colours.equalize(even, like), even)


def test_resized_crop_is_torchvisions_of_the_same_rectangle() -> None:
    from torchvision.transforms import functional

    images = floats()
    tall, wide = torch.arange(COUNT) % 20 + 5.0, torch.arange(COUNT) % 17 + 11.0
    top, left = ((side - length) // 2 for side, length in zip(images.shape[-2:], (tall, wide), strict=True))

    def other(image: Tensor, *box: float) -> Tensor:
        return functional.resized_crop(image, *map(int, box), list(image.shape[-2:]), antialias=True)

    found = geometry.cut_out(images, top, left, tall, wide)
    torch.testing.assert_close(found, one_by_one(other, images, top, left, tall, wide), rtol=1e-4, atol=1e-2)


def test_resized_crops_are_of_the_areas_and_ratios_that_torchvisions_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """On average, over many pictures that are wider than high."""
    from torchvision.transforms import RandomResizedCrop

    height, width, many = 100, 140, torch.arange(2000)
    boxes: list[Tensor] = []
    monkeypatch.setattr(geometry, "cut_out", lambda images, *box: boxes.extend(box) or images)
    chance = Program(0).chances(many, many * 0, "x")
    geometry.resized_crop(torch.empty(2000, 3, 1, 1).expand(-1, -1, height, width), chance, Augment())
    torch.manual_seed(0)
    theirs = [RandomResizedCrop.get_params(torch.empty(3, height, width), [0.08, 1], [3 / 4, 4 / 3]) for _ in many]
    for ours, other in zip(boxes, torch.tensor(theirs).float().T, strict=True):
        assert abs(float(ours.mean() - other.mean())) < 2.5
        assert abs(float(ours.std() - other.std())) < 2
    top, left, tall, wide = boxes
    assert min(float(each.min()) for each in (top, left)) == 0
    assert (top + tall).max() <= height
    assert (left + wide).max() <= width
    assert float((tall * wide).min()) >= 0.07 * height * width


def test_erasing_is_torchvisions_with_the_mean() -> None:
    from torchvision.transforms import functional

    images = floats()
    chance = Program(3).chances(INDEX, INDEX * 0, "erasing")
    found = geometry.erasing(images, chance, Augment())
    hidden = (found != images).any(1)
    assert 5 < int(hidden.flatten(1).any(1).sum()) < COUNT - 5
    for k in hidden.flatten(1).any(1).nonzero().flatten().tolist():
        rows, columns = hidden[k].any(1).nonzero(), hidden[k].any(0).nonzero()
        top, left, bottom, right = (int(each) for each in (rows.min(), columns.min(), rows.max(), columns.max()))
        tall, wide = bottom + 1 - top, right + 1 - left
        wanted = functional.erase(images[k], top, left, tall, wide, images[k].mean((1, 2), keepdim=True))
        torch.testing.assert_close(found[k], wanted)
        assert tall * wide <= 0.4 * 32 * 28


@pytest.mark.parametrize("name", ["MixUp", "CutMix"])
def test_mixing_is_torchvisions_with_the_same_share(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It draws one share for a batch; ours is one for each image, so all are given the same here."""
    from torchvision.transforms import v2

    images, share, place = floats((3, 32, 32)), 0.3, (0.6, 0.25)

    def chance(part: int) -> Tensor:
        return torch.full((COUNT,), (share, place[0], place[1])[part])

    # cutmix draws how much of the first is left.
    ours, own = getattr(mixing, name.lower())(images, images.roll(1, 0), chance)
    whole = getattr(v2, name)(num_classes=4)
    monkeypatch.setattr(whole, "_dist", type("Given", (), {"sample": lambda self, *_: torch.tensor([share])})())
    drawn = iter([torch.tensor([int(place[1] * 32)]), torch.tensor([int(place[0] * 32)])])
    monkeypatch.setattr(torch, "randint", lambda *arguments, **more: next(drawn))
    theirs, labels = whole(images, LABELS)
    torch.testing.assert_close(ours, theirs)
    known = torch.nn.functional.one_hot(LABELS, 4).float()
    torch.testing.assert_close(own[:, None] * known + (1 - own[:, None]) * known.roll(1, 0), labels)


def test_policies_use_every_operation_and_steps_from_nothing_to_the_most() -> None:
    assert len(policies.OPERATIONS) == 14
    used: dict[int, list[Tensor]] = {}

    def listening(number: int, images: Tensor, amount: Tensor) -> Tensor:
        used.setdefault(number, []).append(amount)
        return images

    many = torch.arange(6000)
    blank = torch.zeros(6000, 3, 4, 4)
    chance = Program(0).chances(many, many * 0, "policies")
    before = policies.OPERATIONS
    heard = tuple(
        policies.Operation(partial(listening, k), each.wide, each.usual, each.signed) for k, each in enumerate(before)
    )
    policies.OPERATIONS = heard  # type: ignore[misc]
    try:
        policies.trivialaugment(blank, chance, Augment())
        wide, used = used, {}
        policies.randaugment(blank, chance, Augment())
    finally:
        policies.OPERATIONS = before  # type: ignore[misc]
    for number, operation in enumerate(before):
        amounts = torch.cat(wide[number])
        assert abs(len(amounts) - 6000 / 14) < 100
        ends = sorted([*operation.wide, *([-operation.wide[1]] if operation.signed else [])])
        assert float(amounts.min()) == pytest.approx(ends[0], rel=0.02, abs=0.02)
        assert float(amounts.max()) == pytest.approx(ends[-1], rel=0.02, abs=0.02)
        medium = operation.usual[0] + (operation.usual[1] - operation.usual[0]) * policies.STEP / policies.STEPS
        twice = torch.cat(used[number])
        assert abs(len(twice) - 2 * 6000 / 14) < 150
        torch.testing.assert_close(twice.abs(), torch.full_like(twice, abs(medium)))
