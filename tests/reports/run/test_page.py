import re

import pytest
import run_documents
import shown_pages

from fer.reports.run import page

CONSTANT = {"95 %", "0", "2", "95"}  # the level of the intervals, the range of the Brier score
HOSTILE = "<script>alert(1)</script>\u202e\x1b[31m ![x](http://127.0.0.1/x.png)"


@pytest.fixture
def shown():
    return lambda **choices: shown_pages.Page(page.render(run_documents.made(**choices)))


@pytest.mark.parametrize("with_champion", [True, False])
def test_every_number_on_the_page_is_in_its_json(with_champion):
    document = run_documents.made(with_champion=with_champion)
    shown = shown_pages.Page(page.render(document))
    assert len(shown_pages.numbers_in(shown.text)) > 200
    assert set(shown_pages.unfounded(shown, document)) <= CONSTANT


@pytest.mark.parametrize("hour", range(24))
def test_the_hour_of_a_release_is_in_its_json_at_each_hour_of_the_day(hour):
    document = run_documents.made()
    document["release"]["created_utc"] = f"2026-11-30T{hour:02}:{hour + 31}:09+00:00"
    shown = shown_pages.Page(page.render(document))
    assert f" {hour:02}:{hour + 31} UTC" in shown.text
    assert set(shown_pages.unfounded(shown, document)) <= CONSTANT


def test_a_number_that_is_in_no_json_is_found_by_that_test():
    document = run_documents.made()
    shown = shown_pages.Page(page.render(document).replace("</main>", "<p>0.123456</p></main>"))
    assert "0.123456" in shown_pages.unfounded(shown, document)


@pytest.mark.parametrize(("status", "word"), [("released", "Released"), ("kept", "Kept"), ("refused", "Refused")])
def test_the_verdict_comes_first_in_words(shown, status, word):
    text = re.sub(r"\s+", " ", shown(status=status).text)
    assert text.index(f"{word}:") < text.index("better than the champion") < text.index("accuracy at least")
    assert f"demo version 3 is {status}." in text


def test_the_page_needs_nothing_else_and_runs_nothing():
    shown = shown_pages.Page(page.render(run_documents.made()))
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in shown.tags}
    policy = next(values["content"] for tag, values in shown.tags if values.get("http-equiv"))
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert not [values for _, values in shown.tags if any(name.startswith("on") for name in values)]


def test_text_from_outside_is_text():
    html = page.render(run_documents.made(text=HOSTILE))
    shown = shown_pages.Page(html)
    assert "script" not in {tag for tag, _ in shown.tags}
    assert {values["src"] for tag, values in shown.tags if tag == "img"} == {run_documents.PIXEL}
    assert "\u202e" not in html
    assert "\x1b" not in html
    assert "<script>alert(1)</script>\\u202e\\u001b[31m" in shown.text


def test_each_section_is_reached_from_the_top(shown):
    tags = shown().tags
    ids = {values["id"] for _, values in tags if "id" in values}
    anchors = [values["href"][1:] for _, values in tags if values.get("href", "").startswith("#")]
    assert len(anchors) == len(set(anchors)) >= 8
    assert set(anchors) <= ids


def test_what_was_not_found_out_is_said_with_its_reason(shown):
    assert "Not compared: no other model was champion before it." in shown(with_champion=False).text


def test_figures_that_older_evaluations_lack_are_said_to_be_missing():
    document = run_documents.made()
    document["metrics"] |= {"probabilities": None, "deduplicated": None, "flip_tta": None}
    assert "Not evaluated: the evaluation is older than these figures." in page.render(document)


def test_a_difference_is_marked_where_its_interval_does_not_reach_over_zero():
    document = run_documents.made()
    row = document["comparison"]["classes"][0]
    for score, ends in (("f1", (0.01, 0.2)), ("precision", (-0.2, -0.01)), ("recall", (-0.1, 0.1))):
        row[score] |= {"difference": sum(ends) / 2, "interval": ends}
    cells = re.findall(r'<td class="n change">.*?</td>', page.render(document), re.DOTALL)[:3]
    assert [("▲" in cell, "▼" in cell) for cell in cells] == [(True, False), (False, True), (False, False)]
