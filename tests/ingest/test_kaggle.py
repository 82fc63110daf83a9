"""The real kagglehub client against a small Kaggle on loopback."""

import contextlib
import datetime
import email.utils
import hashlib
import logging
import time
import traceback
import zipfile
from collections.abc import Iterator
from pathlib import Path

import kaggle_server
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from kaggle_server import Fault, KaggleServer
from pydantic import SecretStr, ValidationError

from fer import errors
from fer.ingest import kaggle, sources

# kagglehub writes by the MiB, so that an archive must be larger for something to be there to resume.
FILES = {f"train/happy/{n:03d}.png": hashlib.shake_256(bytes([n])).digest(50_000) for n in range(40)}
CUT = Fault("blob", cut_bytes=1_500_000)
SET = sources.KaggleSource("owner", "faces")
PINNED = sources.KaggleSource("owner", "faces", 1)
SIGN_IN = b"<html>Sign in to this network</html>"
SECRET = "k3y-that-nobody-may-see"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KaggleServer]:
    with kaggle_server.serving() as server:
        kaggle_server.point_here(monkeypatch, server.url, str(tmp_path_factory.mktemp("home")))
        server.datasets["owner/faces"] = [kaggle_server.zip_of(FILES)]
        yield server


def files_in(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def failures_until_done(out: Path, attempts: int) -> int:
    """Call `fetch` as a task with retries does: as long as its error may pass. Returns how often it failed."""
    for failures in range(attempts):
        with contextlib.suppress(errors.KaggleUnavailable):
            kaggle.fetch(PINNED, out)
            return failures
    raise AssertionError(f"not done after {attempts} attempts")


def test_the_current_version_is_asked_for(server: KaggleServer) -> None:
    server.datasets["owner/faces"] *= 3
    assert kaggle.resolve_version(SET) == 3
    assert server.kinds() == ["get"]


def test_a_pinned_version_is_not_asked_for(server: KaggleServer) -> None:
    assert kaggle.resolve_version(sources.KaggleSource("owner", "faces", 2)) == 2
    assert server.requests == []


def test_the_archive_arrives_with_all_files_and_nothing_else_is_left(
    server: KaggleServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kaggle.fetch(PINNED, tmp_path / "out.zip")
    assert files_in(tmp_path / "out.zip") == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["out.zip"]
    assert list(Path.home().rglob("*")) == []
    assert server.kinds() == ["download", "blob"]
    assert capfd.readouterr() == ("", "")


def test_another_process_reaches_the_server_by_its_environment_alone(
    server: KaggleServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kaggle_server.point_here(monkeypatch, "http://localhost", str(tmp_path / "home"))  # as kagglesdk has it
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    kaggle.fetch(PINNED, tmp_path / "out.zip")
    assert files_in(tmp_path / "out.zip") == FILES


def test_an_old_version_can_be_pinned(server: KaggleServer, tmp_path: Path) -> None:
    server.datasets["owner/faces"].append(kaggle_server.zip_of({"new.png": b"new"}))
    kaggle.fetch(PINNED, tmp_path / "out.zip")
    assert files_in(tmp_path / "out.zip") == FILES


def test_the_same_files_give_the_same_bytes_however_kaggle_packed_them(server: KaggleServer, tmp_path: Path) -> None:
    kaggle.fetch(PINNED, tmp_path / "one.zip")
    server.datasets["owner/faces"] = [kaggle_server.zip_of(dict(reversed(FILES.items())))]
    kaggle.fetch(PINNED, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_what_was_fetched_is_not_fetched_again(server: KaggleServer, tmp_path: Path) -> None:
    kaggle.fetch(PINNED, tmp_path / "out.zip")
    (tmp_path / "out.archive").touch()  # a run killed just before it removed this
    kaggle.fetch(PINNED, tmp_path / "out.zip")
    assert len(server.requests) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["out.zip"]


def test_progress_counts_the_bytes_and_then_the_files(server: KaggleServer, tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    kaggle.fetch(PINNED, tmp_path / "out.zip", progress=lambda *call: seen.append(call))
    size = len(server.datasets["owner/faces"][0])
    assert (size, size, "bytes from Kaggle") in seen
    assert seen[-1] == (40, 40, "files checked")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 408])
@pytest.mark.parametrize("kind", ["download", "blob"])
def test_a_status_that_may_pass_is_unavailable_and_the_next_call_succeeds(
    server: KaggleServer, tmp_path: Path, status: int, kind: str
) -> None:
    server.faults = [Fault(kind, status=status), Fault(kind, status=status)]
    assert failures_until_done(tmp_path / "out.zip", 3) == 2
    assert files_in(tmp_path / "out.zip") == FILES


@pytest.mark.parametrize("kind", ["get", "download", "blob"])
def test_a_rate_limit_is_said_with_the_time_until_which_it_holds(
    server: KaggleServer, tmp_path: Path, kind: str
) -> None:
    server.faults = [Fault(kind, status=429, retry_after="1800")]
    with pytest.raises(errors.KaggleUnavailable, match=r"rate limit \(status 429\).* before 2\d{3}-.* UTC") as caught:
        kaggle.resolve_version(SET) if kind == "get" else kaggle.fetch(PINNED, tmp_path / "out.zip")
    assert caught.value.wait_s == 1800
    assert "network" not in str(caught.value)


def test_a_rate_limit_without_a_time_and_an_outage_say_what_they_are(server: KaggleServer) -> None:
    server.faults = [Fault("get", status=429), Fault("get", status=503), Fault("get", status=503, retry_after="5")]
    for expected, wait_s in (("its rate limit", None), ("status 503.*status.kaggle.com", None), ("status 503", 5)):
        with pytest.raises(errors.KaggleUnavailable, match=expected) as caught:
            kaggle.resolve_version(SET)
        assert caught.value.wait_s == wait_s


def test_a_time_to_wait_is_read_as_seconds_or_as_a_date() -> None:
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    assert kaggle.retry_after_s(" 120 ") == 120
    assert kaggle.retry_after_s(email.utils.format_datetime(later, usegmt=True)) == pytest.approx(3600, abs=5)
    assert kaggle.retry_after_s("999999999") == 366 * 86_400


@pytest.mark.parametrize("header", [None, "", "0", "-3", "1.5", "soon", "9" * 5000, "Sun, 06 Nov 1994 08:49:37 GMT"])
def test_no_time_to_wait_is_none(header: str | None) -> None:
    assert kaggle.retry_after_s(header) is None


@given(st.text(max_size=40) | st.datetimes().map(email.utils.format_datetime))
def test_any_header_is_a_time_to_wait_or_none(header: str) -> None:
    wait_s = kaggle.retry_after_s(header)
    assert wait_s is None or 0 < wait_s <= 366 * 86_400


def test_a_status_that_may_pass_is_unavailable_when_the_version_is_asked_for(server: KaggleServer) -> None:
    server.faults = [Fault("get", status=503), Fault("get", reset=True), Fault("get", page=SIGN_IN)]
    for _ in range(3):
        with pytest.raises(errors.KaggleUnavailable):
            kaggle.resolve_version(SET)
    assert kaggle.resolve_version(SET) == 1


def test_a_reset_connection_is_unavailable_and_the_next_call_succeeds(server: KaggleServer, tmp_path: Path) -> None:
    server.faults = [Fault("download", reset=True), Fault("blob", reset=True)]
    assert failures_until_done(tmp_path / "out.zip", 3) == 2


def test_no_server_at_all_is_unavailable(server: KaggleServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kaggle_server.point_here(monkeypatch, "http://127.0.0.1:1", str(tmp_path))
    with pytest.raises(errors.KaggleUnavailable, match="network"):
        kaggle.resolve_version(SET)


def test_silence_ends_by_a_time_out(server: KaggleServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kaggle, "READ_TIMEOUT_S", 0.2)
    server.faults = [Fault("get", stall_s=20)]
    begun = time.monotonic()
    with pytest.raises(errors.KaggleUnavailable, match="no answer in time"):
        kaggle.resolve_version(SET)
    assert time.monotonic() - begun < 10


def test_a_body_cut_short_is_resumed_where_it_broke_off(server: KaggleServer, tmp_path: Path) -> None:
    server.faults = [CUT]
    with pytest.raises(errors.KaggleUnavailable, match="cut short") as caught:
        kaggle.fetch(PINNED, tmp_path / "out.zip")
    assert caught.value.transient
    kaggle.fetch(PINNED, tmp_path / "out.zip")
    assert server.requests[-1].range == "bytes=1048576-"
    assert files_in(tmp_path / "out.zip") == FILES


@pytest.mark.parametrize("sends_md5", [True, False])
@pytest.mark.parametrize(
    "fault",
    [
        Fault("resume", status=503),  # kagglehub appends the error page
        Fault("resume", whole=True),  # it appends the whole archive
        Fault("resume", page=SIGN_IN),
        Fault("resume", cut_bytes=50),
        Fault("resume", reset=True),
    ],
    ids=["error page", "range ignored", "sign-in page", "cut again", "reset"],
)
def test_a_resume_that_goes_wrong_does_not_stay_wrong(
    server: KaggleServer, tmp_path: Path, fault: Fault, sends_md5: bool
) -> None:
    server.sends_md5 = sends_md5
    server.faults = [CUT, fault]
    failures_until_done(tmp_path / "out.zip", 4)
    assert files_in(tmp_path / "out.zip") == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["out.zip"]


def test_a_page_in_place_of_the_archive_is_unavailable_and_the_next_call_succeeds(
    server: KaggleServer, tmp_path: Path
) -> None:
    server.faults = [Fault("download", page=SIGN_IN), Fault("blob", page=SIGN_IN)]
    assert failures_until_done(tmp_path / "out.zip", 3) == 2
    assert files_in(tmp_path / "out.zip") == FILES


@pytest.mark.parametrize("sends_md5", [True, False])
@pytest.mark.parametrize("position", [0.0, 0.5, 0.9, 1.0])
def test_a_damaged_archive_is_removed_and_fetched_anew(
    server: KaggleServer, tmp_path: Path, position: float, sends_md5: bool
) -> None:
    server.sends_md5 = sends_md5
    size = len(server.datasets["owner/faces"][0])
    # The last 22 bytes are the end record; a changed date in the directory, say, does no harm and is not noticed.
    server.faults = [Fault("blob", flip_byte=min(int(size * position), size - 22))]
    failures_until_done(tmp_path / "out.zip", 2)
    assert files_in(tmp_path / "out.zip") == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["out.zip"]


def test_a_damaged_file_in_the_archive_is_unavailable_without_any_md5(server: KaggleServer, tmp_path: Path) -> None:
    server.sends_md5 = False
    server.faults = [Fault("blob", flip_byte=40_000)]
    with pytest.raises(errors.KaggleUnavailable, match="damaged"):
        kaggle.fetch(PINNED, tmp_path / "out.zip")
    assert list(tmp_path.iterdir()) == []


def test_an_md5_other_than_announced_is_unavailable(server: KaggleServer, tmp_path: Path) -> None:
    server.faults = [Fault("blob", bad_md5=True)]
    with pytest.raises(errors.KaggleUnavailable, match="MD5"):
        kaggle.fetch(PINNED, tmp_path / "out.zip")
    assert list(tmp_path.iterdir()) == []


def test_an_unsafe_archive_is_refused_and_removed(server: KaggleServer, tmp_path: Path) -> None:
    server.datasets["owner/faces"] = [kaggle_server.zip_of({"../../etc/passwd": b"x"})]
    with pytest.raises(errors.SourceError, match="plain relative paths"):
        kaggle.fetch(PINNED, tmp_path / "out.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_without_a_version_is_refused(server: KaggleServer) -> None:
    server.faults = [Fault("get", page=b'{"ref": "owner/faces"}')]
    with pytest.raises(errors.KaggleRefused, match="published version"):
        kaggle.resolve_version(SET)


def test_an_unknown_dataset_or_version_is_refused_with_the_page_to_look_at(
    server: KaggleServer, tmp_path: Path
) -> None:
    unknown = sources.KaggleSource("owner", "facse")
    with pytest.raises(errors.KaggleRefused, match=r"404 for kaggle:owner/facse.*check the handle") as caught:
        kaggle.resolve_version(unknown)
    assert not caught.value.transient
    with pytest.raises(errors.KaggleRefused, match="versions/9"):
        kaggle.fetch(sources.KaggleSource("owner", "faces", 9), tmp_path / "out.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_forbidden_dataset_is_refused_with_rules_handle_and_key_named(server: KaggleServer) -> None:
    server.private.add("owner/faces")
    with pytest.raises(errors.KaggleRefused, match="rules on the dataset's page") as caught:
        kaggle.resolve_version(SET)
    for advice in ("check the handle", "https://www.kaggle.com/datasets/owner/faces", "KAGGLE_API_TOKEN"):
        assert advice in str(caught.value)


def test_a_wrong_key_is_refused_and_not_shown(
    server: KaggleServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server.accepted = {requests.auth._basic_auth_str("me", "good")}
    monkeypatch.setenv("KAGGLE_USERNAME", "me")
    monkeypatch.setenv("KAGGLE_KEY", SECRET)
    with caplog.at_level(logging.DEBUG), pytest.raises(errors.KaggleRefused, match="must accept the key") as caught:
        kaggle.resolve_version(SET)
    shown = caplog.text + "".join(traceback.format_exception(caught.value))
    assert "KAGGLE_USERNAME and KAGGLE_KEY" in str(caught.value)
    assert SECRET not in shown


def test_a_signed_link_is_never_shown(server: KaggleServer, tmp_path: Path) -> None:
    server.faults = [Fault("blob", status=500)]
    with pytest.raises(errors.KaggleUnavailable) as caught:
        kaggle.fetch(PINNED, tmp_path / "out.zip")
    assert kaggle_server.SIGNATURE not in "".join(traceback.format_exception(caught.value))


def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(
    server: KaggleServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", f"{SECRET}\nmore")
    with pytest.raises(errors.KaggleRefused, match="KAGGLE_API_TOKEN") as caught:
        kaggle.resolve_version(SET)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_a_broken_kaggle_json_is_refused_with_what_to_do(server: KaggleServer) -> None:
    folder = Path.home() / ".kaggle"
    folder.mkdir()
    (folder / "kaggle.json").write_text('{"username": "me"}')
    with pytest.raises(errors.KaggleRefused, match=r"kaggle\.json"):
        kaggle.resolve_version(SET)


def test_credentials_come_from_the_environment_or_kaggle_json(
    server: KaggleServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (Path.home() / ".kaggle").mkdir()
    (Path.home() / ".kaggle" / "kaggle.json").write_text('{"username": "file", "key": "f"}')
    kaggle.resolve_version(SET)
    monkeypatch.setenv("KAGGLE_USERNAME", "env")
    monkeypatch.setenv("KAGGLE_KEY", "e")
    kaggle.resolve_version(SET)
    monkeypatch.setenv("KAGGLE_API_TOKEN", "t")
    kaggle.resolve_version(SET)
    basic = requests.auth._basic_auth_str
    assert [request.authorization for request in server.requests] == [basic("file", "f"), basic("env", "e"), "Bearer t"]


def test_given_credentials_win_over_those_of_the_environment(
    server: KaggleServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", "of-the-environment")
    server.private.add("owner/faces")
    kaggle.resolve_version(SET, kaggle.Credentials(token=SecretStr("given")))
    kaggle.fetch(PINNED, tmp_path / "out.zip", credentials=kaggle.Credentials(username="me", key=SecretStr("given")))
    sent = [request.authorization for request in server.requests]
    assert sent[:2] == ["Bearer given", requests.auth._basic_auth_str("me", "given")]


def test_public_datasets_need_no_credentials(server: KaggleServer) -> None:
    kaggle.resolve_version(SET)
    assert server.requests[0].authorization == ""


@pytest.mark.parametrize("given", [{}, {"username": "me"}, {"key": SECRET}, {"username": "me", "key": "", "token": ""}])
def test_half_a_pair_of_credentials_is_refused(given: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="either a token, or a user name and a key") as caught:
        kaggle.Credentials.model_validate(given)
    assert SECRET not in str(caught.value)


def test_credentials_do_not_show_their_secrets() -> None:
    credentials = kaggle.Credentials(username="me", key=SecretStr(SECRET))
    assert SECRET not in f"{credentials!r} {credentials} {credentials.model_dump_json()}"


def test_an_unpinned_source_is_not_fetched(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pinned"):
        kaggle.fetch(SET, tmp_path / "out.zip")
