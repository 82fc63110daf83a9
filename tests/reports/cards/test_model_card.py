import pytest
import run_documents
import shown_pages
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from fer.reports.cards import model_card

HOSTILE = "\n---\n# x [y](http://z) <script>alert(1)</script>\u202e | a"


@pytest.fixture
def document():
    return run_documents.made()


def test_hugging_face_reads_the_card_with_every_metric_and_its_interval(document):
    read = ModelCard(model_card.render(document))
    results = read.data.eval_results
    metrics = document["metrics"]
    found = {(result.dataset_config, result.metric_type): result for result in results}
    assert found[None, "accuracy"].metric_value == metrics["accuracy"]
    assert found[None, "f1"].metric_value == metrics["macro"]["f1"]
    assert found["de-duplicated", "accuracy"].metric_value == metrics["deduplicated"]["accuracy"]
    for result in results:
        low, high = result.metric_args["interval"]
        assert low <= result.metric_value <= high
        assert result.metric_args["level"] == 0.95
        assert result.dataset_revision == document["made_of"]["inputs"]["index"]
        assert result.dataset_split == document["metrics"]["split"] == "test"
    assert read.data.model_name == "demo"
    assert (read.data.library_name, read.data.pipeline_tag) == ("keras", "image-classification")


def test_every_number_of_its_text_is_in_the_document(document):
    text = model_card.render(document).split("---", 2)[2]
    before, _, after = text.partition("## The law")
    told = shown_pages.Page(before + "## How good it is" + after.partition("## How good it is")[2])
    assert len(shown_pages.numbers_in(told.text)) > 60
    assert set(shown_pages.unfounded(told, document)) <= {"95 %", "256"}  # intervals, SHA-256


def test_it_says_what_it_predicts_what_it_must_not_be_used_for_and_what_the_law_says(document):
    card = model_card.render(document)
    for words in (
        "predicts the expression that annotators perceived, not what a person feels",
        "## Uses that it must not have",
        "Regulation (EU) 2024/1689",
        "https://eur-lex.europa.eu/eli/reg/2024/1689/oj",
        "Article 5(1)(f)",
        "workplace and education institutions",
        "Article 50(3)",
        "must inform the people who are exposed",
        "10 identical images carry different labels",
        "40 labels of train are in doubt",
        "cd" * 32,
    ):
        assert words in card


def test_its_tables_are_tables(document):
    html = MarkdownIt("commonmark").enable("table").render(model_card.render(document).split("---", 2)[2])
    assert html.count("<table>") == 3
    assert "|" not in html


def test_text_from_outside_is_neither_metadata_nor_markup():
    card = model_card.render(run_documents.made(text=HOSTILE))
    assert ModelCard(card).data.model_name == "demo"
    body = card.split("\n---\n", 1)[1]
    html = MarkdownIt("commonmark").enable("table").render(body)
    assert "<script" not in html
    assert 'href="http://z"' not in html
    assert html.count("<h1>") == 1
    assert "\u202e" not in card


def test_a_first_release_has_a_card_too():
    document = run_documents.made(with_champion=False)
    document |= {"seeds": None, "robustness": None, "slices": None, "explanations": None}
    document["metrics"] |= {"probabilities": None, "deduplicated": None}
    document["data"] |= {"warnings": [], "labels_in_conflict": None, "labels_in_doubt": None, "issues": {}}
    document["data"] |= {"duplicate_groups": None, "leaked_after": None}
    card = model_card.render(document)
    assert "- none that was looked for" in card
    assert "not evaluated, as the data names no group" in card
    assert "None" not in card


def test_equal_releases_have_equal_cards(document):
    assert model_card.render(document) == model_card.render(document)


def test_of_a_release_with_exports_it_says_how_to_have_them(document):
    assert "fer models export" not in model_card.render(document)
    document["made_of"]["inputs"]["export"] = "ef" * 32
    assert "`fer models export demo@3` copies" in model_card.render(document)
