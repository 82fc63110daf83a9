import json

import pytest
import run_documents

from fer.reports.cards import data_card

REQUIRED = {
    "@context", "@type", "conformsTo", "name", "description", "license", "url", "creator", "datePublished",
    "distribution",
}  # fmt: skip
CROISSANT = "http://mlcommons.org/croissant/"


@pytest.fixture
def document():
    return run_documents.made()


def every(part, kind):
    """All objects in the card of this type."""
    if isinstance(part, dict):
        yield from [part] if part.get("@type") == kind else []
        for each in part.values():
            yield from every(each, kind)
    elif isinstance(part, list):
        for each in part:
            yield from every(each, kind)


def test_it_has_what_croissant_demands_of_a_dataset(document):
    card = json.loads(data_card.render(document))
    assert set(card) >= REQUIRED
    assert all(card[name] for name in REQUIRED)
    assert card["@type"] == "sc:Dataset"
    assert f"{CROISSANT}1.0" in card["conformsTo"]
    assert card["@context"]["cr"] == CROISSANT
    assert card["datePublished"] == "2026-11-30"
    assert card["identifier"] == f"sha256:{'cd' * 32}"


def test_its_files_are_those_of_the_release_with_their_digests(document):
    card = data_card.card(document)
    files = list(every(card, "cr:FileObject"))
    assert [file["@id"] for file in files] == ["trained_on.parquet", "predictions.parquet"]
    for file in files:
        assert file["sha256"] == "7a" * 32
        assert file["contentUrl"] == f"s3://models/demo/files/{file['@id']}"
        assert {"name", "contentSize", "encodingFormat"} <= set(file)


def test_each_field_is_of_a_file_that_is_there_and_has_a_name_of_its_own(document):
    card = data_card.card(document)
    ids = [each["@id"] for kind in ("cr:FileObject", "cr:RecordSet", "cr:Field") for each in every(card, kind)]
    assert len(ids) == len(set(ids))
    for field in every(card, "cr:Field"):
        assert field["dataType"]
        if "source" in field:
            assert field["source"]["fileObject"]["@id"] in ids
    assert [row["classes/name"] for row in card["recordSet"][0]["data"]] == document["data"]["classes"]


def test_a_dataset_on_kaggle_has_its_page_and_its_owner(document):
    document["made_of"]["sources"] = ["kaggle:msambare/fer2013/versions/1"]
    card = data_card.card(document)
    assert card["url"] == "https://www.kaggle.com/datasets/msambare/fer2013"
    assert card["creator"] == [{"@type": "sc:Organization", "name": "msambare"}]


def test_of_a_folder_it_is_said_that_nothing_is_stated(document):
    card = data_card.card(document)
    assert card["url"] == f"urn:sha256:{'cd' * 32}"
    assert data_card.NOT_STATED in card["creator"][0]["name"]
    assert data_card.NOT_STATED in card["license"][0]["name"]


def test_known_defects_are_told_and_nothing_in_it_is_unseen():
    card = data_card.render(run_documents.made(text="\u202e\x1b"))
    assert "40 labels of train are in doubt" in card
    assert "\u202e" not in json.loads(card)["rai:dataLimitations"]
    assert "\\u001b" in json.loads(card)["rai:dataLimitations"]
