"""The page itself: self-contained, escaped, accessible, and no larger than it may be."""

import html.parser
import json
import re
from collections import Counter

import pandas as pd
import pytest
import yaml

from tune_kd import names
from tune_kd.summary import judge, opinions, words, write
from tune_kd.summary.page.markup import Markup, el, safe
from tune_kd.summary.page.report import _computed, _tiles

from . import synthetic

EVIL = "<script>alert(1)</script>\"'&"


class Page(html.parser.HTMLParser):
    """Elements with their attributes, and whether tags nest."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.unbalanced = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = synthetic.write_folder(tmp_path_factory.mktemp("search"))
    write(folder)
    return (folder / names.REPORT_FILE).read_text()


@pytest.fixture(scope="module")
def page(report):
    return Page(report)


def test_nothing_is_loaded_from_anywhere(report, page):
    assert "://" not in report
    assert not any("src" in attributes for _, attributes in page.elements)
    assert all(attributes["href"].startswith("#") for attributes in page.all("a"))
    assert not page.all("link")
    policy = next(one["content"] for one in page.all("meta") if one.get("http-equiv"))
    assert policy.startswith("default-src 'none'")


def test_tags_nest_and_ids_are_unique(page):
    assert not page.unbalanced
    assert not page.open
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    assert {one["href"][1:] for one in page.all("a")} <= set(ids)


def test_the_answer_stands_before_everything_else(report):
    places = [report.index(text) for text in ("<h1>", 'class="lead"', 'class="answers"', "<h2", "<table", "<svg")]
    assert places == sorted(places)


def test_every_section_is_there(page):
    wanted = ["verdict", "accuracy", "settings", "curves", "cost", "classes", "time", "run"]
    assert [one["id"] for one in page.all("section")] == wanted


def test_every_chart_has_a_text_in_its_place(page):
    charts = [one for one in page.all("svg") if one.get("aria-hidden") != "true"]
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert len(charts) > 20
    for chart in charts:
        assert chart["role"] == "img"
        assert {chart["aria-labelledby"], chart["aria-describedby"]} <= ids


def test_every_table_has_caption_and_headers(report, page):
    tables = re.findall(r"<table.*?</table>", report, re.DOTALL)
    assert len(tables) >= 5
    for table in tables:
        assert "<caption>" in table
        assert table.count("<tr") == table.count('scope="row"') + 1
    assert all(one.get("scope") in ("row", "col") for one in page.all("th"))


def test_the_numbers_of_the_verdict_are_on_the_page(report):
    assert "99.1" in report
    assert "python -m tune_kd.search quickstart --seed 0" in report
    assert synthetic.FACTS["git_commit"] in report
    assert synthetic.FACTS["digests"]["test"] in report


def test_the_time_that_was_paid_for_is_added_up(report, tmp_path):
    folder = synthetic.write_folder(tmp_path)
    spent = sum(pd.read_parquet(folder / name)["seconds"].sum() for name in (names.TRIALS_FILE, names.FINALS_FILE))
    minutes, seconds = divmod(round(spent), 60)
    assert f"All trainings of students together took {minutes} min {seconds:02d} s" in report


def test_a_control_that_several_cells_share_was_paid_for_once(tmp_path):
    folder = synthetic.write_folder(tmp_path)
    trials, finals = (pd.read_parquet(folder / name) for name in (names.TRIALS_FILE, names.FINALS_FILE))
    finals = finals.assign(started=range(len(finals)))
    alone = _computed(trials, finals, {})
    assert _computed(trials, pd.concat([finals, finals[finals["arm"] == names.SCRATCH]]), {}) == alone
    assert "together took" in alone


def test_the_winner_in_int8_stands_beside_its_figures_in_32_bits(tmp_path):
    folder = synthetic.write_folder(tmp_path)
    write(folder)
    assert "In int8" not in (folder / names.REPORT_FILE).read_text()
    edited = json.loads((folder / names.VERDICT_FILE).read_text())
    edited["facts"]["int8"] = {"test_accuracy": 0.971, "test_accuracy_fp32": 0.975, "bytes": 40_000,
                               "bytes_fp32": 120_000, "milliseconds": 0.5, "milliseconds_fp32": 0.7}  # fmt: skip
    (folder / names.VERDICT_FILE).write_text(json.dumps(edited))
    write(folder)
    said = (
        "97.1 % on the same test images (97.5 % in 32 bits), 40 KB (120 KB) as ONNX, and takes 0.5 ms an image (0.7 ms)"
    )
    assert said in (folder / names.REPORT_FILE).read_text()


def test_what_else_is_known_of_each_gain_stands_beside_it(tmp_path):
    verdict = write(synthetic.write_folder(tmp_path))
    page = (tmp_path / names.REPORT_FILE).read_text(encoding="utf-8")
    _, _, below = page.partition("How sure, and how")
    for cell in verdict["cells"]:
        gain, lost = cell["gain"], cell["lost"][names.DISTILLED]
        assert f"{gain['correlation']:+.2f}".replace("-", words.MINUS) in below
        assert words.interval(gain["trimmed"]) in below
        assert f"{lost['lost']} of {lost['of']}, at most {100 * lost['at_most']:.0f} %" in below
    none = json.loads(json.dumps(verdict))
    for cell in none["cells"]:
        cell["gain"] |= {"low": None, "trimmed": None}
    assert opinions.table(none) is None


def test_finals_are_counted_as_they_were_trained(tmp_path):
    """The control of several cells stands in the table for each of them; other controls' finals and those that came to
    nothing are finals as well, but only the former were tested."""
    folder = synthetic.write_folder(tmp_path)
    finals = pd.read_parquet(folder / names.FINALS_FILE)
    finals["started"] = finals[names.CELL_PREFIX + "data.source"].map({"drawn": 1.0, "scanned": 2.0})
    alike = finals[finals["arm"] == names.SCRATCH]
    smoothed = alike[alike["started"] == 1.0].assign(arm=names.SMOOTHED, started=3.0, mlflow_run_id="")
    lost = smoothed.assign(started=4.0, **{names.TEST_ACCURACY: None})
    table = pd.concat([finals, alike, smoothed, lost], ignore_index=True)
    page = _tiles(judge(yaml.safe_load((folder / names.STUDY_FILE).read_text()), pd.DataFrame(), table, {}, {}), table)
    (shown,) = (tile["value"] for tile in page if tile["name"] == "Finals")
    key = ["arm", "seed", "started", "mlflow_run_id"]
    assert int(shown) == len(finals.drop_duplicates(key)) + len(smoothed.drop_duplicates(key))
    assert int(shown) < len(table)


def test_hours_of_processors_and_gpus_are_told_where_they_are_known(tmp_path):
    folder = synthetic.write_folder(tmp_path)
    edited = json.loads((folder / names.VERDICT_FILE).read_text())
    edited["facts"][names.HOURS] = {"cpu": 0.5, "gpu": 0.125}
    (folder / names.VERDICT_FILE).write_text(json.dumps(edited))
    write(folder)
    report = (folder / names.REPORT_FILE).read_text()
    assert "0.5 CPU-hours, 0.125 GPU-hours; the teacher is apart." in report
    assert "about 2 Wh of processors, an estimate (4 W a core" in report


def test_the_runs_in_mlflow_are_a_command_and_an_address(tmp_path):
    folder = synthetic.write_folder(tmp_path)
    told = {"command": "mlflow ui --backend-store-uri sqlite:////x/mlflow.db", "page": "http://127.0.0.1:5000/#/a?b&c"}
    for page, links in ((told["page"], [told["page"]]), ("javascript:alert(1)", [])):
        facts = synthetic.FACTS | {"mlflow": told | {"page": page}}
        (folder / names.VERDICT_FILE).write_text(json.dumps({"teacher": synthetic.TEACHER, "facts": facts}))
        write(folder)
        text = (folder / names.REPORT_FILE).read_text()
        assert told["command"] in text
        assert [one["href"] for one in Page(text).all("a") if not one["href"].startswith("#")] == links


def test_what_a_user_wrote_is_escaped(tmp_path):
    plan = synthetic.Plan(
        conditions={"data.source": [EVIL, "b"]}, truth={(EVIL,): (0.7, 0.1), ("b",): (0.8, 0)}, trials=12
    )
    folder = synthetic.write_folder(tmp_path, plan)
    study = yaml.safe_load((folder / names.STUDY_FILE).read_text()) | {"study": EVIL, "question": EVIL}
    (folder / names.STUDY_FILE).write_text(yaml.safe_dump(study))
    facts = synthetic.FACTS | {"classes": [EVIL] * 10, "notes": [EVIL], EVIL: EVIL, "phases": {EVIL: 1.0}}
    teacher = synthetic.TEACHER | {"model": EVIL}
    (folder / names.VERDICT_FILE).write_text(json.dumps({"teacher": teacher, "facts": facts}))
    trials = pd.read_parquet(folder / names.TRIALS_FILE).assign(stop_reason=EVIL)
    trials.to_parquet(folder / names.TRIALS_FILE)
    write(folder)
    text = (folder / names.REPORT_FILE).read_text()
    assert text.count("<script>") == 1
    assert "alert(1)</script>&quot;" not in text
    assert not Page(text).unbalanced


def test_sections_without_data_are_left_out(tmp_path):
    folder = synthetic.write_folder(tmp_path, synthetic.Plan(trials=12))
    (folder / names.VERDICT_FILE).unlink()
    wanted = ["arm", "seed", names.TEST_ACCURACY, "cell.data.source", "cell.data.size"]
    pd.read_parquet(folder / names.FINALS_FILE)[wanted].to_parquet(folder / names.FINALS_FILE)
    wanted = ["number", "arm", "state", "value", "cell.data.source", "cell.data.size"]
    pd.read_parquet(folder / names.TRIALS_FILE)[wanted].to_parquet(folder / names.TRIALS_FILE)
    write(folder)
    sections = [one["id"] for one in Page((folder / names.REPORT_FILE).read_text()).all("section")]
    assert sections == ["verdict", "accuracy", "time", "run"]


def test_a_large_study_stays_small(tmp_path):
    sizes, kinds = [100, 200, 400, "all"], ["none", "crop+flip", "colour"]
    conditions = {"data.source": list("abc"), "data.size": sizes, "augment.kind": kinds}
    plan = synthetic.Plan(conditions=conditions, trials=8, epochs=200)
    folder = synthetic.write_folder(tmp_path, plan)
    study = yaml.safe_load((folder / names.STUDY_FILE).read_text()) | {"search": {"kd.alpha": {}}}
    (folder / names.STUDY_FILE).write_text(yaml.safe_dump(study))
    write(folder)
    report = folder / names.REPORT_FILE
    assert report.stat().st_size < 6_000_000
    assert "24 more cells" in report.read_text()


def test_elements_escape_all_but_markup():
    assert el("p", "<b>", Markup("<i></i>"), class_='"', data_tip=None) == '<p class="&quot;">&lt;b&gt;<i></i></p>'
    assert safe(Markup("<b>")) == "<b>"
    assert el("circle", cx=1.0, r=0.126) == '<circle cx="1" r="0.13"></circle>'
