"""Datasets from Kaggle, by kagglehub's own client.

kagglehub finds the credentials, signs the request, resumes a partial file and checks Kaggle's MD5. What it leaves to
its caller is done here (kagglehub 1.0.2, read in its source): time-outs on API calls, removing an archive that would
fail every later call, and unpacking, which it does without limits. Its folder cache is not used.

Each function makes one attempt. Called again with the same arguments, `fetch` goes on where the last call broke off.
"""

import contextlib
import datetime
import email.utils
import functools
import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, SecretStr, model_validator

from fer import errors
from fer.engine.records import Record
from fer.ingest import archives, sources
from fer.progress import Progress, silent

CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 60  # between two bytes, not for the whole; Kaggle takes some seconds to sign the first link to a set
_KEY = (
    "KAGGLE_API_TOKEN, or KAGGLE_USERNAME and KAGGLE_KEY, or ~/.kaggle/kaggle.json "
    "(a key is made at https://www.kaggle.com/settings)"
)


class Credentials(Record):
    """An account at Kaggle: a token, or a user name and key."""

    # Errors hide their input: it would be the key.
    model_config = ConfigDict(hide_input_in_errors=True)

    username: str | None = Field(default=None, description="User name at Kaggle; goes with a key")
    key: SecretStr | None = Field(default=None, description="Key of that user, from kaggle.json")
    token: SecretStr | None = Field(default=None, description="API token, instead of a user name and key")

    @model_validator(mode="after")
    def _is_token_or_key(self) -> "Credentials":
        given = {name for name in ("username", "key", "token") if getattr(self, name)}
        if given not in ({"username", "key"}, {"token"}):
            raise ValueError("Kaggle's credentials must be either a token, or a user name and a key.")
        return self


def resolve_version(source: sources.KaggleSource, credentials: Credentials | None = None) -> int:
    """The version that `source` pins, else the current one, asked of Kaggle.

    Without `credentials`, kagglehub looks for them: KAGGLE_API_TOKEN, ~/.kaggle/access_token, KAGGLE_USERNAME and
    KAGGLE_KEY, kaggle.json. Public datasets need none. Raises KaggleRefused, KaggleUnavailable.
    """
    if source.version is not None:
        return source.version
    with _as_our_errors(source), _client(credentials) as client:
        from kagglesdk.datasets.types.dataset_api_service import ApiGetDatasetRequest

        request = ApiGetDatasetRequest()
        request.owner_slug, request.dataset_slug = source.owner, source.slug
        try:
            version = int(client.datasets.dataset_api_client.get_dataset(request).current_version_number or 0)
        except (json.JSONDecodeError, TypeError) as error:  # e.g. the sign-in page of a network
            raise _unavailable(source, f"an answer that is not Kaggle's ({type(error).__name__})") from None
    if version < 1:
        raise errors.KaggleRefused(
            "The dataset must have a published version.", received=f"none for {source}", todo=f"look at {source.page}"
        )
    return version


def fetch(
    source: sources.KaggleSource,
    out: Path,
    *,
    credentials: Credentials | None = None,
    progress: Progress = silent,
) -> dict[str, int]:
    """Download the version that `source` pins, and repack it as the zip `out`; does nothing if that is there.

    Returns `leftovers.counted` of what is left out of it.
    While it is at work the file as delivered lies beside `out` with the suffix `.archive`. It stays after an
    interruption, to be resumed, and goes in every other case. `progress` counts bytes, then files.
    Raises KaggleRefused, KaggleUnavailable, and SourceError for an archive that `archives.open_safe` refuses.
    """
    if source.version is None:
        raise ValueError(f"A version must be pinned to be fetched. Received: {source}.")
    archive = out.with_suffix(".archive")
    if out.exists():
        archive.unlink(missing_ok=True)
        return {}
    try:
        _download(source, archive, credentials, progress)
        left_out = archives.repack(archive, out, progress)
    except archives.DamagedArchive:
        archive.unlink(missing_ok=True)  # kagglehub would take it for complete, and fail on it for ever
        raise _unavailable(source, "an archive that is damaged or no zip") from None
    except (errors.SourceError, errors.KaggleRefused):
        archive.unlink(missing_ok=True)
        raise
    archive.unlink()
    return left_out


def copies_of_kagglehub(source: sources.KaggleSource) -> list[sources.FolderSource]:
    """The whole versions of the dataset that kagglehub has unpacked to its own folder on this machine, newest first."""
    from kagglehub import cache, handle

    any_version = handle.DatasetHandle(source.owner, source.slug, 1)
    versions = Path(cache.get_cached_path(any_version)).parent.glob("[1-9]*")
    numbers = sorted((int(path.name) for path in versions if path.name.isdecimal()), reverse=True)
    paths = (
        cache.Cache().load_from_cache(handle.DatasetHandle(source.owner, source.slug, number)) for number in numbers
    )
    return [sources.FolderSource(Path(path)) for path in paths if path is not None]


def _download(source: sources.KaggleSource, archive: Path, credentials: Credentials | None, progress: Progress) -> None:
    with _as_our_errors(source), _client(credentials) as client:
        from kagglehub import clients, handle
        from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest

        request = ApiDownloadDatasetRequest()
        request.owner_slug, request.dataset_slug = source.owner, source.slug
        request.dataset_version_number = source.version
        with (
            contextlib.closing(client.datasets.dataset_api_client.download_dataset(request)) as response,
            _reporting(progress),
        ):
            clients.download_file(
                response, str(archive), handle.DatasetHandle(source.owner, source.slug, source.version)
            )


@contextlib.contextmanager
def _client(credentials: Credentials | None) -> Iterator[Any]:
    """kagglehub's API client, signed in, with time-outs, and silent."""
    client = _unopened_client(credentials)
    logging.getLogger("kagglehub").setLevel(logging.ERROR)  # it prints to standard output, paths included
    with client:
        session = client.http_client()._session
        if credentials is not None and credentials.key is not None:
            # A KAGGLE_API_TOKEN in the environment would otherwise win over what was given.
            session.auth = (credentials.username, credentials.key.get_secret_value())
        session.send = functools.partial(_send, session.send)
        yield client


def _send(send: Callable[..., Any], request: Any, **options: Any) -> Any:
    import requests

    try:
        return send(request, **{**options, "timeout": (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)})
    except ValueError as error:
        if isinstance(error, requests.RequestException):
            raise
        # http.client's "Invalid header value b'Bearer ...'"
        raise requests.exceptions.InvalidHeader from None


def _unopened_client(credentials: Credentials | None) -> Any:
    # kagglehub's `build_kaggle_client` would add the libraries on the call stack to the user agent, and print
    # to standard output when a newer kagglehub is out.
    import kagglehub
    from kagglehub import config
    from kagglesdk.kaggle_client import KaggleClient

    agent = f"kagglehub/{kagglehub.__version__}"
    if credentials is not None:
        return KaggleClient(
            username=credentials.username,
            password=credentials.key and credentials.key.get_secret_value(),
            api_token=credentials.token and credentials.token.get_secret_value(),
            user_agent=agent,
        )
    try:
        kaggle_credentials = config.get_kaggle_credentials()
    except (ValueError, OSError) as error:
        raise errors.KaggleRefused(
            "Kaggle's credentials must be readable.",
            received=f"a {type(error).__name__} while looking for them",
            todo=f"set a key as {_KEY}; or remove it: public datasets need none",
        ) from None
    if kaggle_credentials is None:
        return KaggleClient(user_agent=agent)
    return KaggleClient(
        username=kaggle_credentials.username,
        password=kaggle_credentials.key,
        api_token=kaggle_credentials.api_key,
        user_agent=agent,
    )


_bar_lock = threading.Lock()


@contextlib.contextmanager
def _reporting(progress: Progress) -> Iterator[None]:
    """Let `progress` take the place of the bar that kagglehub draws; one download at a time in a process."""
    from kagglehub import clients

    with _bar_lock:
        drawn = clients.tqdm
        clients.tqdm = lambda total, initial=0, **_: _Bar(progress, total, initial)
        try:
            yield
        finally:
            clients.tqdm = drawn


class _Bar:
    """What kagglehub uses of tqdm."""

    def __init__(self, progress: Progress, total: int, done: int):
        self._progress, self._total, self._done = progress, total, done

    def __enter__(self) -> "_Bar":
        self.update(0)
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, n: int) -> None:
        self._done += n
        self._progress(min(self._done, self._total), self._total, "bytes from Kaggle")


@contextlib.contextmanager
def _as_our_errors(source: sources.KaggleSource) -> Iterator[None]:
    """Turn what kagglehub raises into this project's errors.

    Their text is dropped, with the chain: it may hold signed links, headers, and proxies with passwords.
    """
    import requests
    from kagglehub import exceptions

    error: errors.KaggleError
    try:
        yield
        return
    except requests.HTTPError as raised:
        status, header = 0, None
        if raised.response is not None:
            status, header = raised.response.status_code, raised.response.headers.get("Retry-After")
        error = _of_status(source, status, retry_after_s(header))
    except exceptions.DataCorruptionError:
        error = _unavailable(source, "an archive whose MD5 differs from the one announced")
    except requests.Timeout:
        error = _unavailable(source, "no answer in time")
    except requests.exceptions.ChunkedEncodingError:
        error = _unavailable(source, "a body that was cut short")
    except (requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL):
        error = errors.KaggleRefused(
            "The request to Kaggle must be well formed.",
            received="a key or a proxy with characters that can't be sent",
            todo=f"check {_KEY}, and HTTPS_PROXY",
        )
    except requests.RequestException as raised:
        error = _unavailable(source, f"a {type(raised).__name__}")
    raise error from None


def retry_after_s(header: str | None) -> float | None:
    """The seconds from now that a Retry-After header asks to wait (RFC 9110, 10.2.3); None if it names no later time.

    A year at most.
    """
    text = (header or "").strip()
    if re.fullmatch("[0-9]{1,9}", text):
        seconds = float(text)
    else:
        try:
            date = email.utils.parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return None
        if date.tzinfo is None:
            date = date.replace(tzinfo=datetime.UTC)
        seconds = (date - datetime.datetime.now(datetime.UTC)).total_seconds()
    return min(seconds, _LONGEST_WAIT_S) if seconds > 0 else None


_LONGEST_WAIT_S = 366 * 86_400.0


def _of_status(source: sources.KaggleSource, status: int, wait_s: float | None) -> errors.KaggleError:
    received = f"{status} for {source}"
    refusals: dict[int, Callable[[], errors.KaggleError]] = {
        401: lambda: errors.KaggleRefused(
            "Kaggle must accept the key.",
            received=received,
            todo=f"set a valid key as {_KEY}; or unset it: public datasets need none",
        ),
        403: lambda: errors.KaggleRefused(
            "Kaggle must let you read the dataset.",
            received=received,
            todo=f"check the handle; accept the rules on the dataset's page, {source.page}, and set the key of the "
            f"account that did as {_KEY}",
        ),
        404: lambda: errors.KaggleRefused(
            "Kaggle must know the dataset and its version.",
            received=received,
            todo=f"check the handle against the address of the dataset's page, {source.page}; "
            f"if it is private, set the key as {_KEY}",
        ),
    }
    if status in refusals:
        return refusals[status]()
    if 400 <= status < 500 and status not in (408, 425, 429):
        return errors.KaggleRefused(
            "Kaggle must accept the request.", received=received, todo=f"look at {source.page} in a browser"
        )
    what = f"its rate limit (status {status})" if status == 429 else f"status {status}"
    todo = "run the same command again in some minutes"
    if wait_s is not None:
        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=wait_s)
        what += f", with no further request before {until:%Y-%m-%d %H:%M:%S} UTC"
        todo = "run the same command again after that time"
    return errors.KaggleUnavailable(
        _DELIVERS,
        received=f"{what}, for {source}",
        todo=todo if status == 429 else f"{todo}; if it stays so, see https://status.kaggle.com",
        wait_s=wait_s,
    )


_DELIVERS = "Kaggle must deliver the dataset."


def _unavailable(source: sources.KaggleSource, received: str) -> errors.KaggleUnavailable:
    return errors.KaggleUnavailable(
        _DELIVERS,
        received=f"{received}, for {source}",
        todo="run the same command again; if it stays so, check the network and proxy, and https://status.kaggle.com",
    )
