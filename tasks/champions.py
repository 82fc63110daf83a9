"""What an operator does with a model's champion, and what its age in images is."""

from collections.abc import Sequence

from fer.curation.refs import SplitRef
from fer.registry import growth, moves, releases
from fer.registry.log import Entry
from tasks import caching, signing
from tasks.runs import outcomes
from tasks.runs.results import ChampionMoved


@caching.uncached("promote")
def promote(name: str, version: int, reason: str, override: str) -> ChampionMoved:
    """Make a version champion by name. Raises ConfigError, StoreError, StoreConflict."""
    signing.know_secrets()
    with releases.open_registry() as models:
        entry = moves.promote(models, name, version, reason, by=caching.run_label(), override=override)
    if entry is None:
        sentence = f"{name}@{version} is champion already"
        return ChampionMoved(name=name, action="promote", from_version=version, to_version=version, sentence=sentence)
    return _moved(name, entry)


@caching.uncached("roll back")
def rollback(name: str, to: int | None, reason: str) -> ChampionMoved:
    """Make an earlier champion champion again. Raises ConfigError, StoreError, StoreConflict."""
    signing.know_secrets()
    with releases.open_registry() as models:
        return _moved(name, moves.rollback(models, name, to, reason, by=caching.run_label()))


@caching.uncached("find growth")
def tell_of_growth(
    model_name: str, recipe: str, sources: Sequence[str], split: SplitRef, enough: float
) -> growth.Growth | None:
    """Send an event if the champion has not learned so many of the split's images that a retraining is due.

    `enough`: new images for each that it learned. None without a champion.
    """
    workspace = caching.workspace()
    with releases.open_registry() as models:
        found = growth.since_champion(models, model_name, workspace.folder(split))
    if found is not None and found.n_new and found.share >= enough:
        outcomes.emit_grown(recipe, sources, found)
    return found


def _moved(name: str, entry: Entry) -> ChampionMoved:
    there, here = (
        "none" if version is None else f"version {version}" for version in (entry.from_version, entry.to_version)
    )
    return ChampionMoved(
        name=name,
        action=entry.action,
        from_version=entry.from_version,
        to_version=entry.to_version,
        sentence=f"champion of {name}: {there} → {here}",
    )
