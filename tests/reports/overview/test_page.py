"""The overview's page, and its Markdown."""

import overviews
import pytest
import shown_pages
from markdown_it import MarkdownIt

from fer.reports.overview import page
from fer.reports.overview.document import Server

HOSTILE = "<script>alert(1)</script>\u202e\x1b[31m | ![x](http://127.0.0.1/x.png)\nsecond"


@pytest.fixture
def hostile():
    return overviews.overview(
        models=[overviews.model(name="m", problem=HOSTILE)],
        runs=[overviews.run("FAILED", name=HOSTILE, message=HOSTILE, state=HOSTILE)],
        schedules=[overviews.schedule(HOSTILE, 1.0)],
    )


def text_of(html):
    return " ".join(shown_pages.Page(html).text.split())


def test_what_needs_a_person_comes_first_with_what_to_do():
    text = text_of(page.render(overviews.overview(runs=[overviews.run("FAILED", message="It broke.")])))
    assert text.index("One thing needs a person") < text.index("It broke.") < text.index("→ fer logs")
    assert text.index("→ fer logs") < text.index("Processes")


def test_where_all_is_well_it_says_so_and_shows_the_champion_with_its_interval():
    text = text_of(page.render(overviews.overview()))
    assert "All is well" in text
    for shown in ("0.662", "0.646 to 0.678 at 95 %", "version 4", "12 days", "4 of at most 100"):
        assert shown in text
    assert "version 2 is the best release so far" in text
    assert "120 new, 3 gone, 1 relabelled" in text
    assert "2026-12-02 04:00 UTC (in 40 h)" in text
    assert "by hand" in text
    assert "240.0 MB" in text


def test_without_a_server_it_says_so():
    text = text_of(page.render(overviews.overview(server=Server(problem="no server is configured"))))
    assert text.count("no server is configured.") == 2


def test_the_page_needs_nothing_else_and_runs_nothing():
    shown = shown_pages.Page(page.render(overviews.overview()))
    assert not {"script", "link", "iframe", "object", "img"} & {tag for tag, _ in shown.tags}
    assert "default-src 'none'" in next(values["content"] for _, values in shown.tags if values.get("http-equiv"))


def test_text_from_outside_is_text(hostile):
    html = page.render(hostile)
    assert not {"script", "img"} & {tag for tag, _ in shown_pages.Page(html).tags}
    assert "\u202e" not in html
    assert "\x1b" not in html


def test_in_markdown_too(hostile):
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(page.markdown(hostile))
    assert not {"script", "img", "a"} & {tag for tag, _ in shown_pages.Page(html).tags}
    assert "\u202e" not in html


def test_the_markdown_says_the_same():
    html = MarkdownIt("commonmark").enable("table").render(page.markdown(overviews.overview()))
    text = text_of(html)
    for shown in ("All is well", "worker of fer", "accuracy 0.662 (0.646 to 0.678)", "Running", "weekly", "240.0 MB"):
        assert shown in text
    assert html.count("<table>") == 5
