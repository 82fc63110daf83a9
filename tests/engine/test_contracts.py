"""Contracts, checked by Great Expectations over frames."""

import html.parser
import json

import pyarrow as pa
import pytest

from data_contracts import files
from data_contracts.rules import Rule
from fer import errors
from fer.engine import contracts

CLASSES = ["happy", "sad"]


def rule(severity="stop", **differing):
    fields = {
        "id": "label_in_classes",
        "frame": "images",
        "expectation": "expect_column_values_to_be_in_set",
        "arguments": {"column": "label", "value_set": CLASSES},
        "severity": severity,
        "finding": "label is none of the classes",
        "why": "the model has one output a class",
    }
    return Rule(**fields | differing)


def images(*labels):
    return {"images": contracts.Frame(pa.table({"label": list(labels)}), lambda row: f"image of {row['label']}")}


def check(out, frames, *rules):
    contracts.check(out, "manifest", frames, rules)


def page(out):
    return (out / files.DOCS / "index.html").read_text()


def text(out):
    """The page's text, as a browser shows it."""
    text = []
    parser = html.parser.HTMLParser()
    parser.handle_data = text.append
    parser.feed(page(out))
    return " ".join(" ".join(text).split())


def test_data_that_keeps_the_contract_leaves_the_outcomes_and_the_docs(tmp_path):
    check(tmp_path, images("happy", "sad"), rule())
    (outcome,) = contracts.read(tmp_path)
    assert (outcome.passed, outcome.n_checked, outcome.n_broken, outcome.examples) == (True, 2, 0, ())
    assert json.loads((tmp_path / files.CONTRACT).read_text())["dataset"] == "manifest"
    assert "label is none of the classes" in page(tmp_path)


def test_a_broken_rule_of_severity_stop_ends_the_stage_after_both_are_written(tmp_path):
    with pytest.raises(errors.ContractViolation, match=r"label is none of the classes: 1 of 2, e\.g\. image of fear"):
        check(tmp_path, images("happy", "fear"), rule())
    (outcome,) = contracts.read(tmp_path)
    assert (outcome.passed, outcome.n_broken, outcome.examples) == (False, 1, ("image of fear",))
    assert "fear" in text(tmp_path)


@pytest.mark.parametrize("severity", ["warn", "quarantine"])
def test_a_broken_rule_of_another_severity_is_only_said(tmp_path, severity):
    check(tmp_path, images("happy", "fear"), rule(severity))
    (outcome,) = contracts.read(tmp_path)
    assert not outcome.passed
    assert outcome.line() == "label is none of the classes: 1 of 2, e.g. image of fear"


def test_a_rule_that_cannot_be_checked_stops_whatever_its_severity(tmp_path):
    impossible = rule("warn", id="width", arguments={"column": "width", "value_set": [1]})
    with pytest.raises(errors.ContractViolation, match="the rule width could not be checked"):
        check(tmp_path, images("happy"), impossible)
    (outcome,) = contracts.read(tmp_path)
    assert outcome.severity == "stop"
    assert "width" in outcome.examples[0]


def test_the_outcomes_are_in_the_order_of_the_frames_and_of_their_rules(tmp_path):
    frames = images("happy") | {"totals": contracts.Frame(pa.table({"n": [3]}), str)}
    few = rule(
        "warn", id="few", frame="totals", expectation="expect_column_values_to_be_between",
        arguments={"column": "n", "min_value": 5},
    )  # fmt: skip
    check(tmp_path, frames, rule(), few, rule(id="again"))
    assert [rule.id for rule in contracts.read(tmp_path)] == ["label_in_classes", "again", "few"]


def test_the_outcomes_of_the_same_data_are_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        check(tmp_path / name, images("happy", "fear"), rule("warn"))
    one, two = ((tmp_path / name / files.CONTRACT).read_bytes() for name in ("one", "two"))
    assert one == two


def test_docs_of_an_earlier_attempt_are_replaced(tmp_path):
    (tmp_path / files.DOCS / "old").mkdir(parents=True)
    check(tmp_path, images("happy"), rule())
    assert [path.name for path in (tmp_path / files.DOCS).iterdir()] == ["index.html"]


HOSTILE = [
    "</td></div><h1 id='x'>all is well</h1>",
    "<script>alert(1)</script>",
    "<a href='#images'>click</a>",
    "$label ${label} {{ 7 * 7 }} {% raw %}",
    "&lt;b&gt; & it's",
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_texts_from_the_data_are_shown_as_they_are_and_never_markup(tmp_path, hostile):
    frames = images(hostile, "happy") | {
        "columns": contracts.Frame(pa.table({hostile: [1]}), str),
        "numbers": contracts.Frame(pa.table({"n": [hostile]}), str),
    }
    columns = rule(
        "warn", id="columns", frame="columns", expectation="expect_table_columns_to_match_ordered_list",
        arguments={"column_list": ["a"]},
    )  # fmt: skip
    number = rule("warn", id="number", frame="numbers", expectation="expect_column_mean_to_be_between",
                  arguments={"column": "n", "min_value": 5})  # fmt: skip
    with pytest.raises(errors.ContractViolation, match="rule number could not be checked"):
        check(tmp_path, frames, rule("warn"), columns, number)
    calm = tmp_path / "calm"
    calm.mkdir()
    with pytest.raises(errors.ContractViolation):
        check(calm, frames | images("fear", "happy"), rule("warn"), columns, number)
    assert tags(page(tmp_path)) == tags(page(calm))
    assert text(tmp_path).count(hostile) >= 2  # as a value, and as the name of a column


def test_reasons_are_shown_as_they_are(tmp_path):
    check(tmp_path, images("happy"), rule(why="a <b>model's</b> output * is *one* a class & no more"))
    assert "a <b>model's</b> output * is *one* a class & no more" in text(tmp_path)


def test_characters_that_cannot_be_seen_are_spelt_out(tmp_path):
    check(tmp_path, images("happy\u202e\x1b[31m\x00\n", "sad"), rule("warn"))
    assert "happy\\u202e\\u001b[31m\\u0000\\u000a" in text(tmp_path)


def tags(page):
    tags = []
    parser = html.parser.HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, attributes))
    parser.feed(page)
    return tags
