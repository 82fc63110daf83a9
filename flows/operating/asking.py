"""How Prefect's server is asked how it stands: once, as nobody waits for it, and without what costs time."""

import contextlib
import functools
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def options(url: str) -> dict[str, Any]:
    """Options for an httpx client of the server at `url`: on loopback, without TLS, none of the system's certificates
    is read, which takes 15 ms for each client. Raises httpx.InvalidURL.
    """
    parsed = httpx.URL(url)
    return {"verify": _trusts_nobody()} if parsed.scheme == "http" and parsed.host in _LOOPBACK else {}


@functools.cache
def _trusts_nobody() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@contextlib.contextmanager
def once(timeout_s: float) -> "Iterator[SyncPrefectClient]":
    """A client of the configured server that tries nothing twice, as no other does within the block, in this thread.

    Raises httpx.InvalidURL.
    """
    from prefect import context, get_client

    current = context.get_settings_context()
    # As `temporary_settings` has it, but for the validation of all settings, which takes 30 ms.
    client_settings = current.settings.client.model_copy(update={"max_retries": 0})
    settings = current.settings.model_copy(update={"client": client_settings})
    url = settings.api.url
    of_client = {"timeout": timeout_s, **({} if url is None else options(url))}
    with (
        context.SettingsContext(profile=current.profile, settings=settings),
        get_client(sync_client=True, httpx_settings=of_client) as client,
    ):
        yield client
