"""The data's tasks: from a source to a split."""

import json
from typing import cast

from prefect import task
from prefect.blocks.system import Secret
from pydantic import SecretStr

from fer import demo_faces, errors, kaggle, refs, sources, validation
from fer import download as download_stage
from fer import index as index_stage
from fer import split as split_stage
from tasks import artifacts, caching, events


@task(name="resolve", **caching.UNCACHED, **caching.retried(4))
def resolve(
    source: str, demo: demo_faces.DemoConfig, kaggle_secret: str | None = None
) -> download_stage.ResolvedSource:
    """Find out what the source stands for now, so that the cache knows what it has."""
    events.publish(events.Started("resolve"))
    credentials = _credentials(kaggle_secret)
    return download_stage.resolve(sources.parse(source), demo=demo, credentials=credentials)


@task(**caching.cached(download_stage.download), **caching.retried(4))
def download(resolved: download_stage.ResolvedSource) -> refs.DatasetRef:
    """Bring the source's archive into the workspace."""
    progress = artifacts.progress_bar("download")
    return download_stage.download(resolved, workspace=caching.workspace(), progress=progress)


@task(**caching.cached(index_stage.index))
def index(dataset: refs.DatasetRef, config: index_stage.IndexConfig) -> refs.ManifestRef:
    """List every image with its label, digests and properties."""
    progress = artifacts.progress_bar("index")
    return index_stage.index(dataset, config, workspace=caching.workspace(), progress=progress)


@task(**caching.cached(validation.validate))
def validate(manifest: refs.ManifestRef, config: validation.ValidateConfig) -> refs.ValidationRef:
    """Hold the manifest against its contract; stop the run if a rule of severity `stop` is broken."""
    workspace = caching.workspace()
    result = validation.validate(manifest, config, workspace=workspace, progress=artifacts.progress_bar("validate"))
    folder = workspace.folder(result)
    artifacts.markdown("quality-report", validation.report(folder), "What came in, what was refused and why")
    if result.failures:
        raise errors.ContractViolation(
            "The manifest must keep its contract.",
            received="; ".join(result.failures),
            todo=f"read {folder / 'data_docs' / 'index.html'}, then correct the source or the recipe's contracts",
        )
    return result


@task(**caching.cached(split_stage.split))
def split(accepted: refs.ValidationRef, config: split_stage.SplitConfig) -> refs.SplitRef:
    """Assign each image to train, validation or test; identical images never to two of them."""
    progress = artifacts.progress_bar("split")
    return split_stage.split(accepted, config, workspace=caching.workspace(), progress=progress)


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
            todo="look for it by `prefect block ls`, or make it in the UI (make ui) under Blocks; without the option "
            "the environment or ~/.kaggle/kaggle.json gives the key",
        ) from None
    try:
        found = json.loads(value) if isinstance(value, str) and value.lstrip().startswith("{") else value
        return (
            kaggle.Credentials(**found) if isinstance(found, dict) else kaggle.Credentials(token=SecretStr(str(found)))
        )
    except ValueError as error:
        raise errors.ConfigError(
            f"The Secret block {secret!r} must hold a Kaggle token, or the content of kaggle.json.",
            received="something else",
            todo="make a key at https://www.kaggle.com/settings and store it in the block",
        ) from error
