"""The control whose teacher answers for another image."""

import torch
from torch import Tensor

from tune_kd import names, plan
from tune_kd.data.views import Views
from tune_kd.space.load import load
from tune_kd.space.schema import Augment
from tune_kd.space.study import searched_keys
from tune_kd.teacher.shuffled import Shuffled

IMAGES = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
TRAIN = torch.arange(5, 35)


class Told:
    """A guide whose answer is the image's number, and which remembers what it was shown."""

    def __init__(self) -> None:
        self.shown: dict[int, Tensor] = {}

    def __call__(self, index: Tensor, view: Tensor, pictures: Tensor) -> Tensor:
        self.shown |= dict(zip(index.tolist(), pictures, strict=True))
        return index[:, None].float()


def answers(views: Views, seed: int = 0) -> tuple[list[int], Told]:
    told = Told()
    guide = Shuffled(told, IMAGES, views, TRAIN, seed)  # type: ignore[arg-type]
    view = torch.zeros(len(TRAIN), dtype=torch.long)
    found = torch.cat([guide(TRAIN[part], view[part], IMAGES[TRAIN[part]]) for part in torch.arange(30).split(7)])
    return found[:, 0].int().tolist(), told


def test_each_image_has_the_answer_to_another_one_and_always_the_same() -> None:
    plain = Views.of(Augment(kind="none"), 0)
    found, told = answers(plain)
    assert sorted(found) == TRAIN.tolist()
    assert not any(own == other for own, other in zip(TRAIN.tolist(), found, strict=True))
    assert answers(plain)[0] == found
    assert answers(plain, seed=1)[0] != found
    # The teacher is shown the image that it is asked of, so that a cache keeps what is true of it.
    assert all(torch.equal(picture.float(), IMAGES[number].float()) for number, picture in told.shown.items())


def test_what_it_is_shown_is_the_view_of_that_image() -> None:
    views = Views.of(Augment(kind="crop_flip", pad=2), 0)
    _, told = answers(views)
    for number, picture in told.shown.items():
        index, view = torch.tensor([number]), torch.tensor([0])
        assert torch.equal(views.render(IMAGES[index], index, view)[0], picture)


def test_its_arm_is_tuned_as_the_distilled_one_is() -> None:
    study = load(
        "study: s\ncontrols: [scratch, random_teacher]\nconditions: {kd.method: [kd, dkd]}\n"
        "search: {kd.alpha: {uniform: [0, 1]}, train.lr: {loguniform: [0.001, 0.1]}}\n"
    )
    todo = plan.make(study)
    arms = [(arm.name, arm.cell.get("kd.method")) for arm in todo.arms]
    assert arms == [
        (names.DISTILLED, "kd"), (names.SCRATCH, None), (names.RANDOM_TEACHER, "kd"),
        (names.DISTILLED, "dkd"), (names.RANDOM_TEACHER, "dkd"),
    ]  # fmt: skip
    assert searched_keys(study, names.RANDOM_TEACHER) == searched_keys(study, names.DISTILLED)
    assert todo.arm({"kd.method": "dkd"}, names.RANDOM_TEACHER) == todo.arms[4]
