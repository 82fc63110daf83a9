import html.parser
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer import plain_text
from fer.reports import pages


def test_tables_and_pictures_are_rendered():
    table = "| a | b |\n|---|---|\n| 1 | 2 |"
    page = pages.from_markdown("Run", f"# Run\n\n{table}\n\n![Matrix](data:image/png;base64,AAAA)")
    assert "<td>2</td>" in page
    assert '<img src="data:image/png;base64,AAAA" alt="Matrix"' in page


def test_nothing_is_fetched_and_nothing_runs():
    hostile = "<script>alert(1)</script> [x](javascript:alert(1)) ![y](file:///etc/passwd)"
    page = pages.from_markdown("<b>Run</b>", hostile)
    assert "<script" not in page
    assert 'href="javascript' not in page
    assert 'src="file' not in page
    assert "<title>&lt;b&gt;Run" in page
    assert "://" not in pages.from_markdown("Run", "text")


def test_the_browser_is_told_to_run_and_fetch_nothing():
    page = pages.from_markdown("Run", "text")
    policy = page[page.index("Content-Security-Policy") :].split('content="')[1].split('"')[0]
    assert policy.split("; ") == ["default-src 'none'", "img-src data:", "style-src 'unsafe-inline'"]
    assert page.index("Content-Security-Policy") < page.index("<style>")


class Body(html.parser.HTMLParser):
    """The tags and the text of a page's body."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page.partition("<body")[2].partition(">")[2])

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


@given(st.text())
@pytest.mark.parametrize("line", ["- **source** x{}x", "# x{}x", "| a |\n| --- |\n| x{}x |"])
def test_text_from_outside_is_shown_in_markdown_as_it_is(line, text):
    body = Body(pages.from_markdown("Run", line.format(plain_text.in_markdown(text))))
    assert body.tags == Body(pages.from_markdown("Run", line.format("text"))).tags
    assert f"x{plain_text.visible(text)}x" in body.text


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("https://a.b", "https\\://a.b"),
        ("WWW.a.b", "WWW\\.a.b"),
        ("me@a.b", "me\\@a.b"),
        ("~~a~~ | #1", "\\~\\~a\\~\\~ \\| \\#1"),
    ],
)
def test_what_githubs_markdown_adds_is_no_markup_either(text, markdown):
    assert plain_text.in_markdown(text) == markdown


@given(st.text())
def test_nothing_is_left_that_cannot_be_seen(text):
    shown = plain_text.visible(text)
    assert not any(unicodedata.category(character)[0] == "C" or character in "\u2028\u2029" for character in shown)
    assert plain_text.visible(shown) == shown


def test_a_command_to_the_terminal_and_a_turn_of_direction_are_spelt_out_but_what_is_excepted():
    assert plain_text.visible("a\x1b[2J\u202eb\nc") == "a\\u001b[2J\\u202eb\\u000ac"
    assert plain_text.visible("a\nb\r", keep="\n") == "a\nb\\u000d"
    assert plain_text.visible("grün → 顔") == "grün → 顔"
