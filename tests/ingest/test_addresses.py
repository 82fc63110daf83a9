"""What is said about an address where a source's form is expected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer import errors
from fer.ingest import addresses, sources


def todo(text: str) -> str:
    address = addresses.in_text(text)
    assert address is not None
    return address.todo


@pytest.mark.parametrize(
    "text",
    [
        "https://www.kaggle.com/datasets/msambare/fer2013",
        "HTTPS://kaggle.com/datasets/msambare/fer2013/",
        "https://www.kaggle.com/datasets/msambare/fer2013/data?select=train",
        "https://www.kaggle.com/datasets/msambare/fer2013/versions",
        "https://www.kaggle.com/msambare/fer2013",
        "www.kaggle.com/datasets/msambare/fer2013#usage",
        "kaggle:https://www.kaggle.com/datasets/msambare/fer2013",
        "kaggle:datasets/msambare/fer2013",
        "archive: https://www.kaggle.com/datasets/msambare/fer2013/download",
    ],
)
def test_a_datasets_page_at_kaggle_is_the_handle_to_write(text: str) -> None:
    assert todo(text) == "write kaggle:msambare/fer2013"
    assert sources.parse(todo(text).removeprefix("write ")) == sources.KaggleSource("msambare", "fer2013")


def test_a_version_in_the_address_stays_pinned() -> None:
    address = "https://www.kaggle.com/datasets/msambare/fer2013/versions/1?resource=download"
    assert todo(address) == "write kaggle:msambare/fer2013/versions/1"


@pytest.mark.parametrize(
    "text",
    [
        "https://www.kaggle.com/c/faces-2013/data",
        "https://www.kaggle.com/competitions/faces-2013",
        "kaggle.com/competitions/faces-2013/overview",
        "kaggle:competitions/faces-2013",
        "kaggle:c/faces-2013",
        "kaggle:c/faces-2013/data",
    ],
)
def test_of_a_competition_it_is_said_how_its_data_is_had(text: str) -> None:
    assert "https://www.kaggle.com/competitions/faces-2013/rules" in todo(text)
    assert "`kaggle competitions download -c faces-2013`, and then write archive:faces-2013.zip" in todo(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://www.kaggle.com/",
        "https://www.kaggle.com/code/me/notebook",
        "https://www.kaggle.com/models/a/b",
        "kaggle:datasets/x",
    ],
)
def test_of_another_page_at_kaggle_it_is_said_where_the_handle_is(text: str) -> None:
    assert "take OWNER/SLUG from the address of a dataset's page" in todo(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://b/f.zip", "download it first, e.g. by `aws s3 cp s3://b/f.zip .`, and then write archive:f.zip"),
        ("archive:s3://b/f.zip", "download it first, e.g. by `aws s3 cp s3://b/f.zip .`, and then write archive:f.zip"),
        ("folder:s3://b/my faces/", "write s3://BUCKET/PREFIX, of the store that FER_STORE_ENDPOINT names"),
        ("s3://b", "or download it, and write folder:PATH"),
        ("s3://b/f.tar.gz", "`aws s3 cp s3://b/f.tar.gz .`, unpack it, and then write folder:PATH"),
        ("gs://b/faces.zip", "download it first, and then write archive:faces.zip"),
        ("https://example.org/faces.zip", "download the file first, and then write archive:faces.zip"),
        ("https://example.org/share/1a2b", "and then write archive:PATH.zip, or folder:PATH"),
        ("https://huggingface.co/datasets/a/b/tree/main", "`hf download a/b --repo-type dataset --local-dir faces`"),
        ("file:///data/my%20faces.zip", "write archive:/data/my faces.zip"),
        ("file:///data/faces", "write folder:/data/faces"),
    ],
)
def test_any_other_address_is_to_be_downloaded_first(text: str, expected: str) -> None:
    assert expected in todo(text)
    assert "archive:s3" not in todo(text)


def test_no_user_password_or_query_of_an_address_is_shown() -> None:
    with pytest.raises(errors.ConfigError) as caught:
        sources.parse("https://me:k3y@example.org/f.zip?X-Amz-Signature=s3cret#t0ken")
    assert "https://example.org/f.zip" in str(caught.value)
    for secret in ("k3y", "s3cret", "t0ken"):
        assert secret not in str(caught.value)


@pytest.mark.parametrize("text", ["demo", "folder:/s3:/x", "archive:a.zip", "kaggle:a/b", "kaggle:a/b/versions/2", ""])
def test_a_form_of_a_source_holds_no_address(text: str) -> None:
    assert addresses.in_text(text) is None


@given(st.builds("{}{}".format, st.sampled_from(["https://", "s3://", "kaggle:c/", "www.kaggle.com/", ""]), st.text()))
def test_any_text_holds_an_address_or_none(text: str) -> None:
    address = addresses.in_text(text)
    assert address is None or address.todo
