"""Pins: versions that housekeeping leaves alone, whatever their age, until somebody unpins them.

    models/<name>/pins.json

One object beside the aliases, moved by compare-and-swap as they are, so that of two who pin at once neither is lost.
"""

from collections.abc import Callable

import pydantic
from pydantic import AwareDatetime, Field

from fer import errors
from fer.engine import disk
from fer.engine.records import Record
from fer.engine.store import objectstore
from fer.registry import log as registry_log
from fer.registry import names, registry
from fer.registry.clearing import cleared


class Pin(Record):
    """A version that stays: since when, by whom, why."""

    version: names.Version
    by: str = Field(max_length=registry_log.MOST_CHARS)
    at_utc: AwareDatetime
    reason: str = Field(default="", max_length=registry_log.MOST_CHARS)


class _Pins(Record):
    pins: tuple[Pin, ...] = ()


def read(models: registry.Registry, name: str) -> dict[int, Pin]:
    """version -> its pin. Raises IntegrityError if what is there is not as it was written, StoreError."""
    names.check_name(name)
    return _parsed(models, name, models.store.get(names.pins_key(name)))


def pin(models: registry.Registry, name: str, version: int, reason: str = "", by: str | None = None) -> bool:
    """Keep a version; False if it was pinned already. Raises ConfigError if it is not there, IntegrityError."""
    models.get(name, str(version))
    cleared.require_files(models.log(name), version, "A version that is pinned must have its files.")
    made = Pin(version=version, by=by or registry_log.operator(), at_utc=registry_log.now(), reason=reason)
    is_new = _change(models, name, lambda pins: None if version in pins else pins | {version: made})
    if version in models.log(name).cleared:  # since: whoever clears it looks for pins after its entry, as this does
        unpin(models, name, version)
        cleared.require_files(models.log(name), version, "A version that is pinned must have its files.")
    return is_new


def unpin(models: registry.Registry, name: str, version: int) -> bool:
    """No longer keep a version for that; False if it was not pinned. Raises IntegrityError, StoreError."""
    return _change(
        models,
        name,
        lambda pins: {other: kept for other, kept in pins.items() if other != version} if version in pins else None,
    )


def _change(models: registry.Registry, name: str, change: Callable[[dict[int, Pin]], dict[int, Pin] | None]) -> bool:
    """Write what `change` makes of the pins, which is asked again if another writer came in between."""
    key = names.pins_key(name)
    while True:
        stored = models.store.get(key)
        wanted = change(_parsed(models, name, stored))
        if wanted is None:
            return False
        data = disk.sealed(_Pins(pins=tuple(wanted[version] for version in sorted(wanted))).model_dump(mode="json"))
        try:
            if stored is None:
                models.store.put_if_absent(key, data)
            else:
                models.store.put_if_match(key, data, stored.etag)
        except errors.StoreConflict:
            continue
        return True


def _parsed(models: registry.Registry, name: str, stored: objectstore.Object | None) -> dict[int, Pin]:
    if stored is None:
        return {}
    try:
        document, is_sealed = disk.unsealed(stored.data)
        pins = _Pins.model_validate(document) if is_sealed else None
    except (ValueError, pydantic.ValidationError):
        pins = None
    if pins is None:
        raise errors.IntegrityError(
            "The pins of a model must be as they were written.",
            received=f"something else at {models.store.uri(names.pins_key(name))}",
            todo="remove that object, then pin anew what is to stay",
        )
    return {kept.version: kept for kept in pins.pins}
