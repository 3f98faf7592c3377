"""Broken study files, each with what its message must say: the key, the value, what is allowed, the nearest name."""

from pathlib import Path

import pytest

from tune_kd.errors import InputError
from tune_kd.space.load import load

HEAD = "study: broken\n"
SEARCHABLE = "data.source, data.size, data.weight, augment.kind, student.model, student.image_size, kd.method"
CYCLE = "search: {kd.alpha: {uniform: [0, 1], when: {train.lr: 1}}, train.lr: {choice: [1, 2], when: {kd.alpha: 0.5}}}"

BROKEN = {
    "unknown section": ("tudent: {}", ["tudent = {}", "unknown key", "Did you mean 'student'?", "Keys here: study,"]),
    "unknown key": ("kd: {alhpa: 0.5}", ["kd.alhpa = 0.5", "unknown key", "Did you mean 'alpha'?", "method, alpha, t"]),
    "key of another section": ("temperature: 4", ["temperature = 4: unknown key", "'temperature' under 'kd'?"]),
    "dotted constant": ("kd.alpha: 0.5", ["kd.alpha = 0.5: unknown key", "Did you mean 'alpha' under 'kd'?"]),
    "unknown key two levels down": ("teacher: {train: {lrr: 1}}", ["teacher.train.lrr = 1", "Did you mean 'lr'?"]),
    "wrong type": ("budget: {trials: many}", ['budget.trials = "many"', "Allowed: a whole number above 0."]),
    "fraction for a whole number": ("budget: {epochs: 2.5}", ["budget.epochs = 2.5", "a whole number above 0"]),
    "truth for a number": ("train: {batch_size: true}", ["train.batch_size = true", "a whole number at least 2"]),
    "word for a truth": ("control: no", ['control = "no"', "Allowed: true or false."]),
    "above the range": ("kd: {alpha: 1.5}", ["kd.alpha = 1.5", "Allowed: a number from 0 to 1."]),
    "a search without validation": (
        "data: {split: {validation: 0}}\nsearch: {train.lr: {choice: [1, 2]}}\ntrain: {keep: last}\n"
        "teacher: {checkpoint: t.pt}",
        ["data.split.validation = 0.0: trials are compared on validation images"],
    ),
    "the best of nothing": (
        "data: {split: {validation: 0}}\ntrain: {keep: last}",
        ['teacher.train.keep = "best": looks at validation images'],
    ),
    "the plateau of nothing": (
        "data: {split: {validation: 0}}\ntrain: {keep: last, schedule: plateau}\nteacher: {checkpoint: t.pt}",
        ['train.schedule = "plateau": looks at validation images'],
    ),
    "an average of weights without a file": (
        "teacher: {model: timm.resnet50, pretrained: true, ema: true}",
        ["teacher.ema = true: is for a file of weights: teacher.checkpoint, or teacher.pretrained with a file's name"],
    ),
    "not positive": ("train: {lr: -1e-3}", ["train.lr = -0.001", "Allowed: a number above 0."]),
    "infinite": ("train: {lr: 1e999}", ["train.lr = Infinity", "a number above 0"]),
    "one of two types": ("data: {size: big}", ['data.size = "big"', "a whole number above 0 or all"]),
    "a text for a list": ("data: {teacher_on: scanned}", ['data.teacher_on = "scanned"', "a list, each item text"]),
    "wrong item of a list": (
        "train: {milestones: [0.5, 2]}",
        ["train.milestones = 2", "each item a number above 0 and"],
    ),
    "unknown early stopping": (
        "budget: {early_stopping: ashaa}",
        ['budget.early_stopping = "ashaa"', "one of auto, asha, stop, median, none", "Did you mean 'asha'?"],
    ),
    "section is no mapping": ("kd: 4", ["kd = 4", "Allowed: keys and values; keys: method, alpha"]),
    "low above high": (
        "search: {kd.alpha: {uniform: [0.9, 0.1]}}",
        ["search.kd.alpha = [0.9, 0.1]", "impossible range"],
    ),
    "low equals high": ("search: {train.batch_size: {int: [4, 4]}}", ["search.train.batch_size = [4, 4]", "low end"]),
    "log of zero": ("search: {train.lr: {loguniform: [0, 1]}}", ["search.train.lr = [0, 1]", "a lower end above 0"]),
    "range of one number": ("search: {kd.alpha: {uniform: 0.5}}", ["search.kd.alpha = 0.5", "Write [low, high]"]),
    "range of words": ("search: {kd.alpha: {uniform: [low, high]}}", ['= ["low", "high"]', "Write [low, high]"]),
    "range beyond the key": (
        "search: {kd.alpha: {uniform: [0, 2]}}",
        ["search.kd.alpha = [0, 2]", "reaches 2", "allows only a number from 0 to 1"],
    ),
    "range touches a forbidden end": (
        "search: {train.lr: {uniform: [0, 0.1]}}",
        ["search.train.lr = [0, 0.1]", "reaches 0", "allows only a number above 0"],
    ),
    "int beyond the key": (
        "search: {train.batch_size: {int: [0, 64]}}",
        ["search.train.batch_size = ", "reaches 0", "a whole number at least 2"],
    ),
    "fractions for whole numbers": (
        "search: {train.batch_size: {uniform: [16, 64]}}",
        ["search.train.batch_size = [16, 64]", "a whole number at least 2", "Write {int: [low, high]}"],
    ),
    "range for a choice": (
        "search: {kd.method: {uniform: [0, 1]}}",
        ["search.kd.method = [0, 1]", "one of kd, dkd, dist", "Write {choice: [...]}"],
    ),
    "fractions in int": ("search: {train.batch_size: {int: [0.5, 2]}}", ["[0.5, 2]", "must be whole numbers"]),
    "step too wide": ("search: {data.size: {int: [1, 9], step: 20}}", ["search.data.size.step = 20", "from 1 to 8"]),
    "log of an int from zero": (
        "search: {train.warmup_epochs: {int: [0, 9], log: true}}",
        ["search.train.warmup_epochs.log = true", "a lower end above 0"],
    ),
    "choice with a bad value": (
        "search: {kd.method: {choice: [kd, dkb]}}",
        ['search.kd.method.choice = "dkb"', "one of kd, dkd, dist", "Did you mean 'dkd'?"],
    ),
    "choice of a list": ("search: {data.size: {choice: [[1]]}}", ["search.data.size.choice = [1]", "whole number"]),
    "choice twice": ("search: {kd.alpha: {choice: [1, 1.0]}}", ["search.kd.alpha.choice = 1.0", "list twice"]),
    "empty grid": ("search: {kd.alpha: {grid: []}}", ["search.kd.alpha.grid = []", "Name at least one value"]),
    "bare list": (
        "search: {kd.alpha: [0.1, 0.9]}",
        ["search.kd.alpha = [0.1, 0.9]", "{choice: [...]}", "{grid: [...]}"],
    ),
    "unknown domain": (
        "search: {kd.alpha: {unifrom: [0, 1]}}",
        ["search.kd.alpha = ", "exactly one of uniform, loguniform, int", "Did you mean 'uniform'?"],
    ),
    "two domains": ("search: {kd.alpha: {uniform: [0, 1], choice: [1]}}", ["search.kd.alpha", "exactly one of"]),
    "unknown option": (
        "search: {kd.alpha: {uniform: [0, 1], wehn: {kd.method: kd}}}",
        ["search.kd.alpha.wehn", "Did you mean 'when'?", "Beside uniform may stand only: when"],
    ),
    "bad constant in search": ("search: {kd.alpha: 7}", ["search.kd.alpha = 7", "a number from 0 to 1"]),
    "key not searchable": (
        "search: {train.milestones: {choice: [1]}}",
        ["search.train.milestones", "cannot vary between trials", "as a constant in its section", SEARCHABLE],
    ),
    "unknown searched key": (
        "search: {lr: {uniform: [0, 1]}}",
        ["search.lr", "unknown key", "Did you mean 'train.lr'?"],
    ),
    "dotted and nested": (
        "search: {kd.alpha: {uniform: [0, 1]}, kd: {alpha: {uniform: [0, 1]}}}",
        ["search.kd.alpha", "stands here twice"],
    ),
    "search is a list": ("search: [kd.alpha]", ['search = ["kd.alpha"]', "must hold keys and values"]),
    "empty condition": (
        "conditions: {data.size: []}",
        ["conditions.data.size = []", "Name at least one value: a whole"],
    ),
    "condition of nothing": (
        "conditions: {data.size: }",
        ["conditions.data.size = null: empty", "Name at least one value"],
    ),
    "condition is no list": ("conditions: {data.size: 100}", ["conditions.data.size = 100", "Write [100]"]),
    "level twice": ("conditions: {data.size: [100, all, 100]}", ["conditions.data.size = 100", "list twice"]),
    "level of a wrong type": (
        "conditions: {data.size: [100, small]}",
        ['conditions.data.size = "small"', "a whole number above 0 or all"],
    ),
    "unknown condition": ("conditions: {data.sise: [1]}", ["conditions.data.sise = [1]", "Did you mean 'data.size'?"]),
    "too many cells": (
        f"conditions: {{data.size: {list(range(1, 50))}, train.batch_size: {list(range(2, 51))}}}",
        ["conditions: 2401 cells, more than 1000", "Take levels out"],
    ),
    "condition and search": (
        "conditions: {kd.alpha: [0.1]}\nsearch: {kd.alpha: {uniform: [0, 1]}}",
        ["kd.alpha: stands under conditions and under search", "keep one"],
    ),
    "first is no list": ("first: {kd.alpha: 0.9}", ['first = {"kd.alpha": 0.9}', "must be a list of settings"]),
    "first not searched": (
        "search: {kd.alpha: {uniform: [0, 1]}}\nfirst: [{kd.temperature: 4}]",
        ["first[1].kd.temperature = 4.0", "not searched", "Searched: kd.alpha."],
    ),
    "first outside its domain": (
        "search: {kd.alpha: {uniform: [0.1, 1]}}\nfirst: [{kd.alpha: 0.5}, {kd: {alpha: 0}}]",
        ["first[2].kd.alpha = 0.0", 'outside search.kd.alpha: {"uniform": [0.1, 1.0]}'],
    ),
    "first of a wrong type": (
        "search: {kd.alpha: {uniform: [0.1, 1]}}\nfirst: [{kd.alpha: high}]",
        ['first[1].kd.alpha = "high"', "a number from 0 to 1"],
    ),
    "when on an unknown key": (
        "search: {kd.alpha: {uniform: [0, 1], when: {kd.methd: dkd}}}",
        ["search.kd.alpha.when.kd.methd", "unknown key", "Did you mean 'kd.method'?"],
    ),
    "when of no value of the parent": (
        "search: {kd.alpha: {uniform: [0, 1], when: {kd.method: dkb}}}",
        ["search.kd.alpha.when.kd.method", '"dkb"', "one of kd, dkd, dist", "Did you mean 'dkd'?"],
    ),
    "when never true of a condition": (
        "conditions: {kd.method: [kd, dist]}\nsearch: {kd.rest_weight: {uniform: [0, 1], when: {kd.method: dkd}}}",
        ['search.kd.rest_weight.when.kd.method = ["dkd"]', 'conditions.kd.method is ["kd", "dist"]'],
    ),
    "when never true of a search": (
        "search: {kd.alpha: {uniform: [0, 1], when: {kd.temperature: 9}}, kd.temperature: {uniform: [1, 4]}}",
        ["search.kd.alpha.when.kd.temperature = [9.0]", 'search.kd.temperature is {"uniform": [1.0, 4.0]}'],
    ),
    "when in a circle": (CYCLE, ["search.kd.alpha.when", "kd.alpha → train.lr → kd.alpha", "Take one"]),
    "when on itself": (
        "search: {kd.alpha: {uniform: [0, 1], when: {kd.alpha: 1}}}",
        ["search.kd.alpha.when", "kd.alpha → kd.alpha"],
    ),
    "grid larger than the budget": (
        "search: {kd.alpha: {grid: [0.1, 0.2, 0.3]}, data.size: {grid: [1, 2]}}\nbudget: {trials: 5}",
        ["budget.trials = 5", "the grid's 6 points", "Set it to at least 6"],
    ),
    "first rung after the end": (
        "budget: {epochs: 3, first_rung: 4}",
        ["budget.first_rung = 4", "more than budget.epochs, 3"],
    ),
    "complete beyond the trials": ("budget: {trials: 2, complete: 3}", ["budget.complete = 3", "budget.trials, 2"]),
    "checkpoint of an unknown kind": (
        "teacher: {checkpoint: 'https://example.org/x.pt'}",
        ["teacher.checkpoint", "a file of weights or an MLflow address models:/name/version"],
    ),
    "half-weighted mix": ("data: {source: drawn*0.7+scanned}", ['data.source = "drawn*0.7+scanned"', "a*0.7+b*0.3"]),
    "mix with a gap": ("data: {source: drawn+}", ['data.source = "drawn+"', "a mix such as a+b"]),
    "mix with itself": ("conditions: {data.source: [drawn+drawn]}", ['conditions.data.source = "drawn+drawn"', "a+b"]),
    "weight without a mix": ("data: {source: drawn, weight: 0.3}", ["data.weight = 0.3", 'without weights: ["drawn"]']),
    "searched weight without a mix": (
        "search: {data.weight: {uniform: [0.1, 0.9]}}\nconditions: {data.source: [a, a*0.2+b*0.8, a+b+c]}",
        ["data.weight: no data.source is a mix of two without weights"],
    ),
    "folder without root": (
        "data: {dataset: folder}",
        ["data.root: missing", "the folder that holds a folder for each source"],
    ),
    "modes are no mapping": ("modes: [replicate]", ['modes = ["replicate"]', "must hold names and what each changes"]),
    "a mode is no mapping": ("modes: {replicate: 1}", ["modes.replicate = 1", "must hold keys and values"]),
    "unknown mode": (
        "mode: replicat\nmodes: {replicate: {budget.repeats: 1}}",
        ['mode = "replicat": no such mode.', "Did you mean 'replicate'?", "Modes of this study: search, replicate."],
    ),
    "wrong key in a mode": (
        "mode: short\nmodes: {short: {budget: {trails: 1}}}",
        ["budget.trails = 1", "unknown key", "Did you mean 'trials'?"],
    ),
    "empty part in a mode": ("mode: short\nmodes: {short: {kd..alpha: 1}}", ['modes = "kd..alpha"', "part of a key"]),
    "published is no list": ("published: {scratch: 0.5}", ["published = ", "a list, each item keys and values"]),
    "published in percent": (
        "published: [{source: x, scratch: 69.51}]",
        ["published = 69.51", "keys: source, cell, teacher"],
    ),
    "published for an unknown condition": (
        "published: [{source: x, cell: {kd.alhpa: 1}}]",
        ["published[1].cell.kd.alhpa = 1", "Did you mean 'kd.alpha'?"],
    ),
    "key of another data set": (
        "data: {dataset: folder, root: x, drawn: 10}",
        ["data.drawn = 10: unknown key", "It belongs to data.dataset=digits.", "Keys here: dataset"],
    ),
    "size where there is none": (
        "data: {dataset: cifar10, image_size: 64}",
        ["data.image_size = 64: unknown key", "It belongs to data.dataset=folder"],
    ),
    "data set that is no name": ("data: {dataset: [1]}", ["data.dataset = [1]", "one of digits, cifar10"]),
    "data that is no section": ("data: folder", ['data = "folder"']),
    "unknown data set": ("data: {dataset: cifar}", ['data.dataset = "cifar"', "Did you mean 'cifar10'?"]),
    "augmentation misspelt": (
        "teacher: {augment: {kind: flip+color}}",
        [
            'teacher.augment.kind = "flip+color"',
            "flip, crop, crop_flip, resized_crop, rotation, colour",
            "Did you mean 'colour'?",
        ],
    ),
    "augmentation with none": (
        "augment: {kind: none+flip}",
        ['augment.kind = "none+flip"', "none, or different parts"],
    ),
    "augmentation searched wrongly": (
        "search: {augment.kind: {choice: [zoom]}}",
        ["search.augment.kind.choice", "zoom"],
    ),
    "no model": ("student: {model: ' '}", ["student.model", "text that is not empty"]),
    "unusable name": ("study: my study", ['study = "my study"', "letters, digits, - and _"]),
    "negative seed": ("seed: -1", ["seed = -1", "a whole number at least 0"]),
    "no name": ("study:", ["study: missing", "a name in letters, digits"]),
}


@pytest.mark.parametrize(("text", "says"), BROKEN.values(), ids=BROKEN.keys())
def test_message_names_key_value_and_what_is_allowed(text: str, says: list[str], tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(text if text.startswith("study:") else HEAD + text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        load(file)
    message = str(error.value)
    assert message.startswith(f"{file}: ")
    assert "\n" not in message, "one problem, one line"
    for fragment in says:
        assert fragment in message


def test_every_problem_has_a_line_up_to_ten() -> None:
    with pytest.raises(InputError) as error:
        load("study: x y\nkd: {alpha: 2, alhpa: 1}\nsearch: {kd.method: {choice: [a, b]}, lr: 1}\nfirst: 3\n")
    assert [line.split(" =")[0] for line in str(error.value).splitlines()] == [
        "The study: 7 problems.",
        "  study",
        "  kd.alpha",
        "  kd.alhpa",
        "  search.kd.method.choice",
        "  search.kd.method.choice",
        "  search.lr",
        "  first",
    ]
    with pytest.raises(InputError, match=r"12 problems(.*\n){11}  … and 2 more\.$"):
        load("study: x\n" + "".join(f"key{number}: 1\n" for number in range(12)))


UNREADABLE = {
    "empty": ("", ["empty", "study: my_study"]),
    "only comments": ("# nothing\n", ["empty", "study: my_study"]),
    "a list": ("- a\n- b\n", ['["a", "b"] is not a study', "keys and values"]),
    "a text": ("just words\n", ['"just words" is not a study']),
    "bad indentation": ("study: x\n  kd: 1\n", [", line 2: cannot be read as YAML", "indentation"]),
    "a tab": ("study: x\nkd:\n\talpha: 1\n", [", line 3: cannot be read", "no tabs"]),
    "open bracket": ("study: x\nsearch: {kd.alpha: [0, 1\n", [", line 3: cannot be read"]),
    "key twice": ("study: x\nseed: 1\nseed: 2\n", [", line 3: ", 'the key "seed" stands here twice. Keep one.']),
    "inner key twice": ("study: x\nkd: {alpha: 0, alpha: 1}\n", [", line 2: ", 'the key "alpha" stands here twice']),
    "key is a number": ("study: x\n5: y\n", [", line 2: ", "the key 5 is not text. Put it in quotes"]),
    "two documents": ("study: x\n---\nstudy: y\n", [", line 2: cannot be read", "expected a single document"]),
    "alias": ("study: &a x\nquestion: *a\n", [", line 2: ", "an alias"]),
    "python object": ("study: !!python/object/apply:os.system [ls]\n", [", line 1: ", "a tag"]),
    "too deep": ("study: " + "[" * 40 + "]" * 40 + "\n", [", line 1: ", "too many levels"]),
    "control character": ("study: \x01\n", ["a character that it does not allow"]),
    "impossible character": ('study: "\\UFFFFFFFF"\n', ["a character that it does not allow"]),
    "half a character": ('study: "\\uD800"\n', ["a character that it does not allow"]),
}


@pytest.mark.parametrize(("text", "says"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_unreadable_text_is_explained_with_its_line(text: str, says: list[str], tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        load(file)
    for fragment in [f"{file}", *says]:
        assert fragment in str(error.value)


def test_files_that_are_no_studies_are_refused(tmp_path: Path) -> None:
    binary, huge = tmp_path / "model.pt", tmp_path / "huge.yaml"
    binary.write_bytes(b"\x80\x04\xff\x00")
    huge.write_text("# x\n" * 30_000)
    for source, says in (
        (binary, "not a text file"),
        (huge, "larger than 100,000 bytes"),
        (tmp_path, "a folder, not a study"),
        (tmp_path / "missing.yaml", "no such study"),
        ("nowhere", '"nowhere": no such study'),
        ("a\0b", "no such study"),
        ("x" * 5000, "no such study"),
        ("", "a folder, not a study"),
    ):
        with pytest.raises(InputError, match=says):
            load(source)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("budget.trials", "--set budget.trials: not understood. Write KEY=VALUE"),
        ("=5", "not understood"),
        ("kd..alpha=1", "not understood"),
        ("kd.alpha=[", "--set kd.alpha=[, line 1: cannot be read as YAML"),
        ("kd.alpah=0.5", "with --set kd.alpah=0.5: kd.alpah = 0.5: unknown key. Did you mean 'alpha'?"),
        ("mode=replicate", 'mode = "replicate": no such mode. Modes of this study: search.'),
        ("kd.alpha.x=1", 'kd.alpha = {"x": 1}: not allowed. Allowed: a number from 0 to 1.'),
        ("search.kd.alpha.uniform=[0, 3]", "search.kd.alpha = [0, 3]: reaches 3"),
        ("conditions.kd.alpha.x=1", 'conditions.kd.alpha = {"x": 1}: must be a list'),
        ("first.1=2", 'first = {"1": 2}: must be a list'),
    ],
)
def test_a_wrong_override_is_named(override: str, says: str) -> None:
    with pytest.raises(InputError) as error:
        load(HEAD, [override])
    assert says in str(error.value)
