import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tune_kd.data import digits
from tune_kd.data.sources import Asked, Dataset, Source
from tune_kd.data.splits import Splits, parse_mix, split, student_indices
from tune_kd.errors import InputError
from tune_kd.space.schema import Data, Split

DIGITS = digits.Settings(drawn=10)
FOLDER = Data(dataset="folder", split=Split(test=0.2, validation=0.1, teacher=0.3))


def make(sizes: dict[str, int], classes: int = 4, test: int = 0) -> Dataset:
    """Random images, each its own; labels in turn."""
    rng = np.random.default_rng(0)

    def source(own: str, size: int) -> Source:
        images = rng.integers(256, size=(size, 1, 4, 4), dtype=np.uint8)
        return Source(own, images, np.arange(size, dtype=np.int64) % classes)

    official = source("test", test) if test else None
    named = tuple(f"class{number}" for number in range(classes))
    return Dataset("made", named, {own: source(own, size) for own, size in sizes.items()}, official, ())


@pytest.fixture(scope="module")
def splits() -> Splits:
    return split(make({"a": 400, "b": 200, "c": 300}), FOLDER, seed=1)


def parts_of(splits: Splits) -> list[np.ndarray]:
    return [splits.teacher, splits.validation, splits.test, *splits.student.values()]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(40, 120), min_size=1, max_size=4),
    st.tuples(*[st.one_of(st.integers(4, 10), st.floats(0.12, 0.3))] * 3),
    st.integers(0, 9),
)
def test_every_image_is_in_exactly_one_part(sizes: list[int], shares: tuple[float, ...], seed: int) -> None:
    dataset = make({f"s{number}": size for number, size in enumerate(sizes)})
    data = Data(dataset="folder", split=Split(test=shares[0], validation=shares[1], teacher=shares[2]))
    splits = split(dataset, data, seed)
    together = np.concatenate(parts_of(splits))
    assert np.sort(together).tolist() == list(range(sum(sizes)))
    for part, share in zip((splits.test, splits.validation, splits.teacher), shares, strict=True):
        assert len(part) == (share if isinstance(share, int) else round(share * sum(sizes)))
        counts = np.bincount(splits.labels[part], minlength=4)
        assert counts.max() - counts.min() <= 2


def test_a_share_is_spread_over_the_sources(splits: Splits) -> None:
    origin = np.repeat([0, 1, 2], [400, 200, 300])
    assert np.bincount(origin[splits.test]).tolist() == [80, 40, 60]


def test_the_seed_decides_and_digests_say_so() -> None:
    dataset = make({"a": 200})
    first, again, other = (split(dataset, FOLDER, seed) for seed in (0, 0, 1))
    assert first.digests == again.digests
    assert set(first.digests) == {"teacher", "validation", "test", "student/a", "images"}
    assert first.digests["images"] == other.digests["images"]
    assert first.digests["test"] != other.digests["test"]
    np.testing.assert_array_equal(first.student["a"], again.student["a"])


def test_digests_see_one_pixel_and_one_label() -> None:
    dataset = make({"a": 200})
    source = dataset.sources["a"]
    before = split(dataset, FOLDER, seed=0)
    images, labels = source.images.copy(), source.labels.copy()
    images[before.test[0], 0, 0, 0] ^= 1
    labels[before.teacher[0]] = (labels[before.teacher[0]] + 1) % 4
    for changed in (Source("a", images, source.labels), Source("a", source.images, labels)):
        altered = dataclasses.replace(dataset, sources={"a": changed})
        assert split(altered, FOLDER, seed=0).digests["images"] != before.digests["images"]


def test_a_larger_share_or_another_source_leaves_the_test_images_alone() -> None:
    before = split(make({"a": 200}), FOLDER, seed=0)
    more = FOLDER.model_copy(update={"split": Split(test=0.2, validation=0.3, teacher=0.1)})
    assert split(make({"a": 200}), more, seed=0).digests["test"] == before.digests["test"]
    only_a = FOLDER.model_copy(update={"evaluate_on": ("a",), "teacher_on": ("a",)})
    both = split(make({"a": 200, "b": 100}), only_a, seed=0)
    assert both.digests["test"] == before.digests["test"]
    assert len(both.student["b"]) == 100


def test_exact_copies_never_stand_on_both_sides() -> None:
    dataset = make({"a": 200})
    images, labels = dataset.sources["a"].images, dataset.sources["a"].labels
    twice = dataclasses.replace(dataset, sources={name: Source(name, images, labels) for name in ("a", "b")})
    splits = split(twice, FOLDER.model_copy(update={"evaluate_on": ("a",), "teacher_on": ("b",)}), seed=0)
    students = np.concatenate(list(splits.student.values()))
    assert len(students) > 100
    parts = (splits.teacher, splits.validation, splits.test, students)
    contents = [{splits.images[index].tobytes() for index in part} for part in parts]
    for first, second in itertools.combinations(contents, 2):
        assert not first & second


def test_overlap_gives_the_teacher_all_that_students_have() -> None:
    splits = split(make({"a": 200, "b": 100}), FOLDER.model_copy(update={"overlap": True}), seed=0)
    assert set(splits.teacher) == set(splits.student["a"]) | set(splits.student["b"])
    assert not set(splits.teacher) & (set(splits.test) | set(splits.validation))
    assert len(splits.teacher) == 300 - len(splits.test) - len(splits.validation)


def test_official_test_images_are_the_test_unless_the_study_names_sources() -> None:
    dataset = make({"a": 200, "b": 100}, test=50)
    data = FOLDER.model_copy(update={"dataset": "cifar10"})
    assert split(dataset, data, seed=0).test.tolist() == list(range(300, 350))
    named = split(dataset, data.model_copy(update={"evaluate_on": ("b",)}), seed=0)
    assert set(named.test) | set(named.validation) <= set(range(200, 300))
    assert len(named.test) == 20


def test_digits_are_judged_on_scanned_ones_unless_told_otherwise() -> None:
    judged = dataclasses.replace(make({"scanned": 200, "drawn": 100}), judged=digits.load(DIGITS, Asked()).judged)
    splits = split(judged, DIGITS, seed=0)
    assert max(*splits.test, *splits.validation, *splits.teacher) < 200
    assert len(splits.student["drawn"]) == 100


def test_a_loaded_teacher_needs_no_images() -> None:
    splits = split(make({"a": 100}), FOLDER.model_copy(update={"split": Split(teacher=0)}), seed=0)
    assert len(splits.teacher) == 0


def test_every_prefix_of_a_student_order_is_balanced(splits: Splits) -> None:
    order = splits.student["a"]
    for size in range(4, len(order), 7):
        counts = np.bincount(splits.labels[order[:size]], minlength=4)
        assert counts.max() - counts.min() <= 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.05, 1), min_size=1, max_size=3), st.integers(4, 60), st.integers(1, 15))
def test_a_smaller_size_is_a_prefix_and_keeps_the_shares(weights: list[float], size: int, more: int) -> None:
    splits = split(make({"a": 400, "b": 200, "c": 300}), FOLDER, seed=1)
    source = "+".join(f"{name}*{weight}" for name, weight in zip("abc", weights, strict=False))
    small, large = (student_indices(splits, source, count, None) for count in (size, size + more))
    assert len(set(large.tolist())) == size + more
    assert large[:size].tolist() == small.tolist()
    for (name, share), _ in zip(parse_mix(source), weights, strict=True):
        own = np.isin(large, splits.student[name])
        assert abs(own.sum() - share * len(large)) <= 1
        assert set(large[own]) == set(splits.student[name][: own.sum()])


def test_mixes_of_two_are_rounded_shares(splits: Splits) -> None:
    def counts(source: str, size: int, weight: float | None = None) -> list[int]:
        chosen = student_indices(splits, source, size, weight)
        return [int(np.isin(chosen, splits.student[name]).sum()) for name in "ab"]

    assert counts("a+b", 50) == [25, 25]
    assert counts("a*0.7 + b*0.3", 50) == [35, 15]
    assert counts("a*7+b*3", 50) == [35, 15]
    assert counts("a+b", 50, weight=0.1) == [5, 45]
    assert counts("a", 50, weight=0.1) == [50, 0]


def test_all_is_everything_once_or_the_largest_mix_with_its_shares(splits: Splits) -> None:
    everything = student_indices(splits, "all", "all", None)
    assert sorted(everything) == sorted(np.concatenate(list(splits.student.values())))
    lengths = {name: len(pool) for name, pool in splits.student.items()}
    assert len(student_indices(splits, "a", "all", None)) == lengths["a"]
    assert len(student_indices(splits, "a+b", "all", None)) == 2 * lengths["b"]
    assert len(student_indices(splits, "a*0.75+b*0.25", "all", None)) == lengths["a"] / 0.75 // 1


@pytest.mark.parametrize(
    ("source", "size", "weight", "parts"),
    [
        ("aa", 10, None, ["data.source", "'aa'", "Did you mean 'a'?", "a, b, c, all"]),
        ("a", 161, None, ["data.size: 161", "'a'", "at most 160", "'all'"]),
        ("a+b", 161, None, ["data.size: 161", "at most 160", "a 160", "b 80"]),
        ("a", 3, None, ["data.size: 3", "4 classes"]),
        ("a+b+c", 10, 0.5, ["data.weight: 0.5", "'a+b+c'", "a+b"]),
        ("a*1+b*2", 10, 0.5, ["data.weight: 0.5", "without weights"]),
        ("a+a", 10, None, ["data.source", "'a+a'", "twice"]),
        ("a+", 10, None, ["data.source", "'a+'", "Allowed"]),
        ("a*0.5+b", 10, None, ["data.source", "only some"]),
        ("a*x+b*1", 10, None, ["data.source", "'x'", "above 0"]),
        ("a*-1+b*1", 10, None, ["data.source", "'-1'", "above 0"]),
        ("a*nan+b*1", 10, None, ["data.source", "'nan'"]),
        ("", 10, None, ["data.source", "leaves one out"]),
    ],
)
def test_messages_name_the_key_the_value_and_what_is_allowed(
    source: str, size: int, weight: float | None, parts: list[str]
) -> None:
    dataset = make({"a": 400, "b": 200, "c": 300})
    splits = split(dataset, FOLDER, seed=1)
    with pytest.raises(InputError) as caught:
        student_indices(splits, source, size, weight)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"evaluate_on": ("d",)}, ["data.evaluate_on", "'d'", "a, b"]),
        ({"teacher_on": ("bb",)}, ["data.teacher_on", "Did you mean 'b'?"]),
        ({"split": Split(test=500)}, ["data.split.test: 500", "300"]),
        ({"split": Split(test=3)}, ["data.split.test: 3", "4 classes"]),
        ({"split": Split(test=0.6, validation=0.4)}, ["data.split.teacher", "class 'class0' has no image left"]),
        (
            {"split": Split(test=0.5, validation=0.3, teacher=0.3)},
            ["data.split.teacher: 0.3 asks for 90", "of 60 still free"],
        ),
    ],
)
def test_splits_that_cannot_be_say_why(change: dict[str, object], parts: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        split(make({"a": 200, "b": 100}), FOLDER.model_copy(update=change), seed=0)
    for part in parts:
        assert part in str(caught.value)


def test_a_source_that_lacks_a_class_is_refused_when_it_is_used() -> None:
    dataset = make({"a": 200, "b": 100})
    lame = dataset.sources["b"]
    keep = lame.labels != 2
    sources = {"a": dataset.sources["a"], "b": Source("b", lame.images[keep], lame.labels[keep])}
    data = FOLDER.model_copy(update={"evaluate_on": ("a",), "teacher_on": ("a",)})
    splits = split(dataclasses.replace(dataset, sources=sources), data, seed=0)
    assert len(student_indices(splits, "a", 20, None)) == 20
    with pytest.raises(InputError, match="source 'b' has no image of class 'class2'"):
        student_indices(splits, "a+b", 20, None)
