"""The Data Docs: one page a dataset, which needs nothing else."""

import html.parser
import itertools

import pyarrow as pa
import pytest

from data_contracts import files
from data_contracts.rules import Rule
from fer import errors
from fer.engine import contracts, data_docs

RULES = (
    Rule(
        "columns", "columns", "expect_table_columns_to_match_ordered_list", {"column_list": ["label", "width"]}, "stop",
        "other columns", "every stage's code reads them by name",
    ),
    Rule(
        "label_known", "images", "expect_column_values_to_not_be_null", {"column": "label"}, "warn",
        "label is undecided", "training on an unlabelled image isn't defined",
    ),
    Rule(
        "label_in_classes", "images", "expect_column_values_to_be_in_set",
        {"column": "label", "value_set": ["happy", "sad"]}, "warn",
        "label is none of the classes", "the model has one output a class",
    ),
    Rule(
        "pair", "images", "expect_compound_columns_to_be_unique", {"column_list": ["label", "width"]}, "warn",
        "occurs twice", "two rows for one count it twice",
    ),
    Rule(
        "width", "images", "expect_column_values_to_be_between", {"column": "width", "min_value": 8}, "warn",
        "too narrow", "an icon shows no expression",
    ),
    Rule(
        "share", "totals", "expect_column_values_to_be_between", {"column": "absent", "min_value": 8}, "warn",
        "too few", "there must be some",
    ),
)  # fmt: skip
FRAMES = {
    "images": pa.table({"label": ["happy", "contempt", None], "width": [48, 3, 48]}),
    "columns": pa.table({"label": ["happy"], "width": [48]}),
    "totals": pa.table({"n": [1]}),
}
LABEL = {"images": "label"}


def build(folder, frames=FRAMES, rules=RULES):
    """The folder of the Data Docs of a check that fails, as one rule can't be checked."""
    named = {name: contracts.Frame(rows, lambda row: str(row)) for name, rows in frames.items()}
    with pytest.raises(errors.ContractViolation):
        contracts.check(folder, "manifest", named, rules)
    return folder / files.DOCS


class Page(html.parser.HTMLParser):
    """The tags of a page in their order, its text by the heading that it follows; unbalanced tags fail."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.pieces, self._open = [], [], []
        self.feed(text)
        self.close()
        assert not self._open
        self.text = " ".join(" ".join(self.pieces).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" not in self._open:
            self.pieces.append(data)

    def of(self, name):
        return [attributes[name] for _, attributes in self.tags if name in attributes]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build(tmp_path_factory.mktemp("docs"))


@pytest.fixture(scope="module")
def page(folder):
    return Page((folder / "index.html").read_text())


def test_the_docs_of_a_dataset_are_one_file(folder):
    assert [path.name for path in folder.rglob("*")] == ["index.html"]


def test_every_link_leads_to_a_place_in_the_page_that_is_there_once(page):
    ids = page.of("id")
    assert len(ids) == len(set(ids))
    assert page.of("href")
    assert {link.removeprefix("#") for link in page.of("href")} <= set(ids)
    assert all(link.startswith("#") for link in page.of("href"))


def test_title_and_heading_name_the_dataset_and_no_level_of_headings_is_left_out(page):
    assert page.text.startswith("Data Docs: manifest Data Docs: manifest Great")  # title and h1
    levels = [int(tag[1]) for tag, _ in page.tags if tag in ("h1", "h2", "h3", "h4", "h5", "h6")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_the_overview_has_each_part_with_its_verdict_and_the_number_of_rules_kept(page):
    overview = page.text.partition("images: ")[0]
    assert "part contract rules kept" in overview
    for line in ("images ✗ broken 1 of 4", "columns ✓ kept 1 of 1", "totals ✗ broken 0 of 1"):
        assert line in overview


def test_each_part_has_its_results_and_then_its_rules_with_their_reasons(page):
    at = 0
    for part in dict.fromkeys(rule.frame for rule in RULES):
        at = page.text.index(f"{part}: ", at)
        results = page.text.index("Results", at)
        rules = page.text.index("Rules, with reasons", results)
        for rule in RULES:
            if rule.frame == part:
                at = page.text.index(f"{rule.severity}: {rule.finding}. Why: {rule.why}.", rules)
    for observed in ("contempt", "✗ broken values must belong to this set", "✓ kept Values for given compound columns"):
        assert observed in page.text


def test_a_rule_that_could_not_be_checked_says_why_and_nothing_of_this_machine(page):
    assert "! not checked" in page.text
    assert 'The column "absent"' in page.text
    assert "Traceback" not in page.text
    assert "site-packages" not in page.text


def test_nothing_runs_is_fetched_or_bears_the_vendors_logo(page, folder):
    assert {"script", "img", "svg", "link", "iframe", "object", "button"}.isdisjoint(tag for tag, _ in page.tags)
    assert not page.of("src")
    text = (folder / "index.html").read_text()
    assert "://" not in text
    assert "great-expectations-web-assets" not in text
    assert "default-src 'none'" in text


def test_what_leads_nowhere_or_tells_of_the_tool_and_the_moment_is_left_out(page):
    for text in ("Show", "Notes", "Suite Name", "Great Expectations Version", "Run Time", "ge_load_time"):
        assert text not in page.text


def test_nothing_is_hidden_from_those_who_print_the_page(folder):
    text = (folder / "index.html").read_text()
    assert "display: none" not in text
    assert "hidden" not in text


def test_the_same_data_makes_the_same_page(folder, tmp_path):
    assert (build(tmp_path) / "index.html").read_bytes() == (folder / "index.html").read_bytes()


def test_a_part_that_was_not_checked_is_said_to_be_so():
    page = data_docs.page("manifest", {"totals": data_docs.Verdict(n_rules=2, n_broken=0)}, {})
    assert "totals ! not checked" in Page(page).text


def test_elements_left_open_or_closed_too_often_do_not_break_the_page():
    rules = '<body><div class="ge-section"><p>first<div>second</span></p></div></div></body>third'
    verdicts = {"totals": data_docs.Verdict(n_rules=1, n_broken=0)}
    page = Page(data_docs.page("manifest", verdicts, {"totals": data_docs.Built("", rules)}))
    assert "first second" in page.text
    assert "third" not in page.text
