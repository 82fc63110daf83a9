"""Ingest's tasks: from sources to a manifest."""

import json
from typing import cast

from prefect import task
from prefect.blocks.system import Secret
from pydantic import SecretStr

from fer import errors, settings
from fer.ingest import download as download_stage
from fer.ingest import index as index_stage
from fer.ingest import kaggle, sources
from fer.ingest.demo import archive as demo_archive
from fer.ingest.refs import DatasetRef, ManifestRef
from tasks import caching, events, stages


@task(name="resolve", **caching.UNCACHED, **caching.retried(4))
def resolve(
    source: str, demo: demo_archive.DemoConfig, kaggle_secret: str | None = None
) -> download_stage.ResolvedSource:
    """Find out what the source stands for now, so that the cache knows what it has."""
    events.publish(events.Started("resolve"))
    try:
        credentials = _credentials(kaggle_secret)
        links_into = settings.Settings.load().links_into
        return download_stage.resolve(sources.parse(source), demo=demo, credentials=credentials, links_into=links_into)
    finally:
        events.publish(events.Over("resolve"))


@stages.task(download_stage.download, retries=4)
def download(resolved: download_stage.ResolvedSource) -> DatasetRef:
    """Bring the source's archive into the workspace."""
    return stages.run(download_stage.download, resolved)


@stages.task(index_stage.index)
def index(
    datasets: tuple[DatasetRef, ...], config: index_stage.IndexConfig, official: index_stage.OfficialNames
) -> ManifestRef:
    """List every image of all sources with its label, digests and properties."""
    return stages.run(index_stage.index, datasets, config, official)


def _credentials(secret: str | None) -> kaggle.Credentials | None:
    """Kaggle's key from a Prefect Secret block: a token, or JSON with `username` and `key` as in kaggle.json."""
    if secret is None:
        return None
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
    except ValueError as error:
        raise errors.ConfigError(
            f"The Secret block {secret!r} must hold a Kaggle token, or the content of kaggle.json.",
            received="something else",
            todo="make a key at https://www.kaggle.com/settings and store it in the block",
        ) from error
