"""Ingest's tasks: from sources to a manifest."""

import json
import math
import time
from collections.abc import Callable, Iterator
from typing import TypeVar, cast

from prefect.blocks.system import Secret
from pydantic import SecretStr

from fer import errors, settings
from fer.engine import connect
from fer.ingest import download as download_stage
from fer.ingest import index as index_stage
from fer.ingest import kaggle, sources
from fer.ingest.demo import archive as demo_archive
from fer.ingest.refs import DatasetRef, ManifestRef, TombstonesRef
from fer.ingest.tombstones import gather, records
from fer.ingest.tombstones.records import Tombstones
from tasks import block_names, caching, stages
from tasks.runs import events

T = TypeVar("T")


@caching.uncached("resolve", only_looks=True, retries=4)
def resolve(
    source: str, demo: demo_archive.DemoConfig, kaggle_secret: str | None = None, text_encoding: str | None = None
) -> download_stage.ResolvedSource:
    """Find out what the source stands for now, so that the cache knows what it has."""
    events.publish(events.Started("resolve"))
    try:
        credentials = _credentials(kaggle_secret)
        parsed = sources.parse(source)
        links_into = settings.Settings.load().links_into
        return _patiently(
            "resolve",
            parsed,
            lambda: download_stage.resolve(
                parsed, demo=demo, credentials=credentials, links_into=links_into, text_encoding=text_encoding
            ),
        )
    finally:
        events.publish(events.Over("resolve"))


@stages.task(download_stage.download, retries=4)
def download(resolved: download_stage.ResolvedSource) -> DatasetRef:
    """Bring the source's archive into the workspace."""
    return _patiently("download", resolved.source, lambda: stages.run(download_stage.download, resolved))


@stages.task(index_stage.index)
def index(
    datasets: tuple[DatasetRef, ...],
    config: index_stage.IndexConfig,
    official: index_stage.OfficialNames,
    forgotten: TombstonesRef | None,
) -> ManifestRef:
    """List every image of all sources with its label, digests and properties."""
    return stages.run(index_stage.index, datasets, config, official, forgotten)


def forgotten() -> TombstonesRef | None:
    """The images that are to be forgotten, in the workspace; None if there are none."""
    found = find_tombstones()
    return None if found is None else tombstones(found)


@caching.uncached("find tombstones", only_looks=True)
def find_tombstones() -> Tombstones | None:
    """Look in the store for images that are to be forgotten; None if there are none, or no store."""
    configured = settings.Settings.load()
    if not connect.has_store(configured):
        return None
    with connect.store(configured) as store:
        return records.read(store)


@stages.task(gather.gather, "tombstones")
def tombstones(found: Tombstones) -> TombstonesRef:
    """Bring the images that are to be forgotten where the workers of `index` read them."""
    return stages.run(gather.gather, found)


def _patiently(name: str, source: sources.Source, attempt: Callable[[], T]) -> T:
    """What `attempt` returns. Where Kaggle asks to wait, wait for as long as the settings allow, and try again.

    Where Kaggle does not deliver in the end, the error names the versions of the source that are here.
    """
    allowed_s = left_s = settings.Settings.load().kaggle_wait_s
    while True:
        try:
            return attempt()
        except errors.KaggleUnavailable as error:
            if error.wait_s is None or error.wait_s > left_s:
                needed_s = None if error.wait_s is None else allowed_s - left_s + error.wait_s
                error.todo = "; or ".join([str(error.todo), *_alternatives(source, needed_s, allowed_s)])
                raise
            events.publish(events.Retrying.after(error, name, error.wait_s))
            left_s -= error.wait_s
            time.sleep(error.wait_s)


def _alternatives(source: sources.Source, needed_s: float | None, allowed_s: float) -> Iterator[str]:
    """What else helps where Kaggle does not deliver, or not before `needed_s` have passed."""
    if needed_s is not None:
        yield f"let the command wait, by FER_KAGGLE_WAIT_S={math.ceil(needed_s)} (now {allowed_s:g})"
    if isinstance(source, sources.KaggleSource):
        here = download_stage.versions_here(source, caching.workspace()) or kaggle.copies_of_kagglehub(source)
        if here:
            verbs = "are here and need" if len(here) > 1 else "is here and needs"
            yield f"take {' or '.join(map(str, here))}, which {verbs} no request to Kaggle"


def _credentials(secret: str | None) -> kaggle.Credentials | None:
    """Kaggle's key from a Prefect Secret block: a token, or JSON with `username` and `key` as in kaggle.json."""
    if secret is None:
        return None
    block_names.checked(secret)
    try:
        value = cast(Secret, Secret.load(secret)).get()  # a coroutine only where an event loop runs
    except ValueError:
        raise errors.ConfigError(
            "--kaggle-secret must name a Secret block that Prefect has.",
            received=repr(secret),
            todo="look for it by `prefect block ls`, or make it in the Prefect UI (fer ui) under Blocks; without the "
            "option the environment or ~/.kaggle/kaggle.json gives the key",
        ) from None
    try:
        key = json.loads(value) if isinstance(value, str) and value.lstrip().startswith("{") else value
        return kaggle.Credentials(**key) if isinstance(key, dict) else kaggle.Credentials(token=SecretStr(str(key)))
    except ValueError:
        raise errors.ConfigError(
            f"The Secret block {secret!r} must hold a Kaggle token, or the content of kaggle.json.",
            received="something else",
            todo="make a key at https://www.kaggle.com/settings and store it in the block",
        ) from None
