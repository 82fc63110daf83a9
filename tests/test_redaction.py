"""What looks like a key is masked, whatever stands around it; what people and this project write is not."""

import base64
import hashlib
import json
import random
import string
import uuid
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer import errors, redaction

_LETTERS = string.ascii_letters + string.digits


def _url_safe(rng: random.Random, n_bytes: int) -> str:
    return base64.urlsafe_b64encode(rng.randbytes(n_bytes)).decode().rstrip("=")


MAKERS = {
    "AWS' key ID": lambda rng: "AKIA" + "".join(rng.choices(string.ascii_uppercase + string.digits, k=16)),
    "AWS' secret": lambda rng: base64.b64encode(rng.randbytes(30)).decode(),
    "Kaggle's key": lambda rng: rng.randbytes(16).hex(),
    "Kaggle's token": lambda rng: "KGAT_" + rng.randbytes(16).hex(),
    "GitHub's token": lambda rng: "ghp_" + "".join(rng.choices(_LETTERS, k=36)),
    "Prefect's key": lambda rng: "pnu_" + "".join(rng.choices(_LETTERS, k=36)),
    "the embedded store's secret": lambda rng: _url_safe(rng, 32),
    "a JSON web token": lambda rng: f"eyJ{_url_safe(rng, 24)}.{_url_safe(rng, 90)}.{_url_safe(rng, 32)}",
}
# Nothing in these can be part of a key, so that where it begins and ends is as certain as for a person.
around = st.text(alphabet=" \n\t\"'(),;:[]{}<>|äß語‮", max_size=20)


@pytest.mark.parametrize("kind", MAKERS)
@settings(max_examples=30)
@given(rng=st.randoms(use_true_random=True), before=around, after=around)
def test_a_key_is_masked_wherever_it_stands(kind, rng, before, after):
    keys = [MAKERS[kind](rng) for _ in range(8)]
    shown = [redaction.redacted(f"{before}{key}{after}") for key in keys]
    # Chance makes a word now and then that a person might have written.
    assert sum(key in text for key, text in zip(keys, shown, strict=True)) <= 1
    assert all(
        text == f"{before}{redaction.MASK}{after}" for key, text in zip(keys, shown, strict=True) if key not in text
    )


@given(
    user=st.text(alphabet=_LETTERS + "._-", min_size=1, max_size=20),
    password=st.text(alphabet=_LETTERS + "!$%&()*+,:;=~._-", min_size=1, max_size=40),
    scheme=st.sampled_from(["http", "https", "s3", "tls", "postgresql+asyncpg"]),
)
def test_who_a_url_is_opened_by_is_masked(user, password, scheme):
    url = f"{scheme}://{user}:{password}@example.org:4200/api"
    assert redaction.redacted(f"Received: {url}.") == f"Received: {scheme}://…@example.org:4200/api."


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("password=hunter2, then", "password=…, then"),
        (
            "https://b.s3.amazonaws.com/k?X-Amz-Security-Token=abc&x=1",
            "https://b.s3.amazonaws.com/k?X-Amz-Security-Token=…&x=1",
        ),
        ('{"username":"ann","key":"c0ffee00c0ffee00c0ffee00c0ffee00"}', '{"username":"ann","key":"…"}'),
        ('{"key": "angry", "monkey": "happy", "token": "sad"}', '{"key": "angry", "monkey": "happy", "token": "…"}'),
        ("'access_key': 'abc'", "'access_key': '…'"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- after", "… after"),
        ("--kaggle-secret KGAT_0123456789abcdef0123456789abcdef", "--kaggle-secret …"),
        ("FER_STORE_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE", "FER_STORE_ACCESS_KEY_ID=…"),
    ],
)
def test_what_a_name_calls_a_secret_is_masked(text, shown):
    assert redaction.redacted(text) == shown


@given(st.text())
def test_what_is_masked_once_holds_no_key(text):
    assert not redaction.holds_key(redaction.redacted(text))
    assert redaction.holds_key(text) == (redaction.redacted(text) != text)


@given(st.binary(min_size=1, max_size=64))
def test_digests_and_uuids_are_shown(data):
    digests = [hashlib.sha256(data).hexdigest(), hashlib.sha1(data).hexdigest(), data[:12].hex()]  # noqa: S324 - for their length alone
    for digest in (*digests, str(uuid.UUID(bytes=hashlib.md5(data).digest()))):  # noqa: S324 - likewise
        assert redaction.redacted(f"made {digest} of it") == f"made {digest} of it"
    name = f"/data/.partial/train/{data.hex()}/model.keras"
    assert redaction.redacted(name) == name


def test_a_link_that_is_signed_to_be_shared_stays_one():
    key = "X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20261130%2Fus-east-1%2Fs3%2Faws4_request"
    link = f"https://s3.example.org/b/report.html?X-Amz-Algorithm=AWS4-HMAC-SHA256&{key}&X-Amz-Signature={'0f' * 32}"
    assert redaction.redacted(f"[report]({link})") == f"[report]({link})"


def test_nothing_of_the_documentation_or_of_the_paths_here_is_taken_for_a_key():
    root = Path(__file__).parents[1]
    pages = [root / "README.md", root / "CHANGELOG.md", *(root / "docs").rglob("*.md")]
    for page in pages:
        for line in page.read_text().splitlines():
            assert redaction.redacted(line) == line
    for path in [*(root / "fer").rglob("*"), *(root / "tests").rglob("*")]:
        assert redaction.redacted(str(path.relative_to(root))) == str(path.relative_to(root))


def test_an_error_never_holds_a_key():
    key = json.dumps({"username": "ann", "key": "c0ffee00c0ffee00c0ffee00c0ffee00"})
    error = errors.ConfigError("A name is needed.", received=key, todo="see https://ann:hunter2@example.org")
    assert "c0ffee" not in f"{error} {error!r} {error.args}"
    assert "hunter2" not in f"{error} {error!r} {error.args}"
    assert "https://…@example.org" in str(error)


def test_a_long_text_takes_no_long_time():
    page = f"![plot](data:image/png;base64,{base64.b64encode(bytes(range(256)) * 4_000).decode()})"
    assert redaction.redacted(page) == page
    assert redaction.redacted("a:" * 200_000) == "a:" * 200_000
    assert redaction.redacted("://" + "a" * 200_000) == "://" + "a" * 200_000
