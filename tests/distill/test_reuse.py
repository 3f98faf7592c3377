"""SimKD: what is trained, counted, exported and read back is the student with the teacher's classifier."""

from pathlib import Path

import pytest
import torch

from tune_kd import names, plan, results
from tune_kd.champion import Winner, export_winner
from tune_kd.distill import taps
from tune_kd.distill.pairs import pairs
from tune_kd.distill.reuse import Reused
from tune_kd.errors import InputError
from tune_kd.models import build
from tune_kd.models.cutting import after, until
from tune_kd.plan import Arm
from tune_kd.planned_networks import network_words, times_the_work
from tune_kd.preparation import prepare
from tune_kd.space.load import load
from tune_kd.space.study import constants
from tune_kd.teacher.guide import Guide
from tune_kd.teacher.making import Teacher
from tune_kd.training import checkpoint, measures
from tune_kd.training.export import read
from tune_kd.training.images import Images, as_tensor
from tune_kd.training.train import Job, train
from tune_kd.tuning.entry import Entry

CPU = torch.device("cpu")
COLOUR = (3, 32, 32)


@pytest.mark.parametrize("name", ["resnet8x4", "resnet20_a", "deepnn", "keras_student", "torchvision.mobilenet_v2"])
def test_a_network_that_is_cut_and_joined_again_is_the_same(name: str) -> None:
    torch.manual_seed(0)
    model = build(name, classes=7, in_shape=COLOUR).eval()
    look = taps.network(model, COLOUR, CPU)
    ((path, _),) = pairs(look, look, "auto", "last")
    pictures = torch.randn(3, *COLOUR)
    with torch.no_grad():
        whole, maps = taps.run(model, pictures, [path])
        first, rest = until(model, path), after(model, path)
        torch.testing.assert_close(first(pictures), maps[path])
        torch.testing.assert_close(rest(maps[path]), whole)
    count = measures.parameter_count(first) + measures.parameter_count(rest)
    assert count == measures.parameter_count(model)


def test_its_projector_has_as_many_weights_as_was_published() -> None:
    looks = [
        taps.network(build(name, classes=100, in_shape=COLOUR), COLOUR, CPU) for name in ("resnet8x4", "resnet32x4")
    ]
    pair = pairs(*looks, "auto", "last")[-1]
    made = Reused(looks[0], looks[1], pair, 2)
    assert measures.parameter_count(made.projector) == 214_016
    # Both have a classifier of 256 x 100, so nothing else is more than the student's own.
    assert measures.parameter_count(made) == 1_233_540 + 214_016
    more = Reused(looks[0], looks[1], pair, 8)
    assert measures.macs(made, COLOUR) > measures.macs(more, COLOUR) > measures.macs(looks[0].module, COLOUR)


def test_a_network_whose_way_depends_on_what_it_sees_is_refused() -> None:
    class Chooses(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Conv2d(3, 4, 3)

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            maps: torch.Tensor = self.layer(pictures)
            return maps.mean((2, 3)) if maps.sum() > 0 else maps.amax((2, 3))

    with pytest.raises(InputError, match="Chooses cannot be cut at 'layer'"):
        until(Chooses(), "layer")


def test_a_front_of_models_is_refused_as_their_costs_are_others() -> None:
    with pytest.raises(InputError, match=r"simkd.*a front has one size for each model"):
        load(
            "study: s\nkd: {method: simkd, alpha: 1.0}\nobjectives: [accuracy, size]\n"
            "search: {student.model: {choice: [digits_student, digits_student_tiny]}}\n"
        )


STUDY = """
study: reused
data: {drawn: 60, evaluate_on: [scanned], teacher_on: [scanned]}
teacher: {model: digits_teacher}
kd: {method: simkd, alpha: 1.0}
precision: fp32
train: {lr: 0.01, batch_size: 32}
budget: {trials: 1, epochs: 2}
"""


def test_what_is_exported_holds_projector_and_classifier_and_is_read_back(tmp_path: Path) -> None:
    study = load(STUDY)
    todo = plan.make(study)
    prepared = prepare(todo, lambda text: None)
    splits = prepared.splits
    images = Images(as_tensor(splits.images), as_tensor(splits.labels), prepared.mean, prepared.std, 10)
    torch.manual_seed(0)
    weights = build("digits_teacher", classes=10, in_shape=prepared.shape).state_dict()
    teacher = Teacher("digits_teacher", weights, prepared.mean, prepared.std, prepared.shape, 10)
    job = Job(study, as_tensor(splits.student["drawn"]), as_tensor(splits.validation), 1, 2)
    rows: list[dict[str, float]] = []
    model = train(job, images, Guide(teacher, None, CPU), rows.append, tmp_path / "s.pt")
    assert isinstance(model, Reused)
    assert [row[names.WEIGHT_CE] for row in rows] == [0.0, 0.0]
    assert rows[1][names.LOSS_KD] < rows[0][names.LOSS_KD]
    own = {key: value for key, value in model.state_dict().items() if key.startswith("classifier.")}
    assert own
    assert all(torch.equal(value, weights[key.removeprefix("classifier.")]) for key, value in own.items())
    (tmp_path / "s.best").write_bytes(checkpoint.packed(model.state_dict()))
    entry = Entry(0, Arm(0, names.DISTILLED, {}), 0, 0, constants(study), 1, names.FINAL)
    exported = export_winner(tmp_path / "model", todo, prepared, Winner(entry, tmp_path / "s.best", 0.5))
    pixels = as_tensor(splits.images[:9])
    with torch.no_grad():
        expected = model.eval()(images.inputs(pixels))
        torch.testing.assert_close(exported(pixels), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(read(tmp_path / "model")(pixels), expected, rtol=1e-4, atol=1e-5)


def test_a_plan_and_the_table_of_trials_count_all_of_it() -> None:
    study = load(STUDY, ["conditions.kd.method=[kd,simkd]", "kd.alpha=0.9"])
    todo = plan.make(study)
    prepared = prepare(todo, lambda text: None)
    student, teacher = (build(f"digits_{name}", classes=10, in_shape=prepared.shape) for name in ("student", "teacher"))
    looks = [taps.network(each, prepared.shape, CPU) for each in (student, teacher)]
    whole = Reused(looks[0], looks[1], pairs(looks[0], looks[1], "auto", "last")[-1], 2)
    count, macs = measures.parameter_count(whole), measures.macs(whole, prepared.shape)
    (said,) = [line for line in network_words(todo, prepared) if "makes of" in line]
    assert f"a network of {count:,} and {macs:,}" in said
    by_name = {(arm.name, arm.cell.get("kd.method")): arm for arm in todo.arms}
    plain, reused = (by_name[names.DISTILLED, method] for method in ("kd", "simkd"))
    scratch = next(arm for arm in todo.arms if arm.name == names.SCRATCH)
    work = [times_the_work(study, arm, "digits_student", prepared) for arm in (scratch, plain, reused)]
    assert work == [1, 1, pytest.approx(macs / measures.macs(student, prepared.shape))]
    size = results.sizes(todo, prepared)
    entries = [Entry(0, arm, 0, 0, constants(study) | dict(reused.cell), 1, names.TRIAL) for arm in (scratch, reused)]
    assert list(map(size, entries)) == [measures.parameter_count(student), count]
    smaller = Entry(0, reused, 0, 0, {**entries[1].config, "kd.simkd_factor": 8}, 1, names.TRIAL)
    assert size(entries[0]) < size(smaller) < count
