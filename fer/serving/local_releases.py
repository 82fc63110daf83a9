"""A release whose files are on this machine: at once, where nothing can have changed since it was last looked up.

    FER_HOME/models/NAME/VERSION/     its files, fetched when it is first used
    FER_HOME/models/confirmed.json    what the registry said of the releases that were used last, and when

What the registry said is taken again without it as long as nobody used the embedded store since, or for
FER_CONFIRM_MINUTES with any other store. Otherwise a store that runs is asked by two reads: an alias that is as it was
and a log that does not go on mean that all is as it was.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, ValidationError

from data_contracts import files
from fer import errors, settings
from fer.engine import disk
from fer.engine.records import Record
from fer.engine.store import uses
from fer.exports import serving
from fer.registry import names
from fer.serving import scoring

if TYPE_CHECKING:
    from fer.engine.store.objectstore import ObjectStore

_CONFIRMED = "confirmed.json"
_MOST = 32  # releases that are remembered


@dataclasses.dataclass(frozen=True)
class LocalRelease:
    """A release in `folder`. `label` is NAME@VERSION, or the folder's name; `withdrawn` says that it was, or is empty.

    `digests` (file -> SHA-256) are what the registry or the folder's `serving.json` says; None: nothing says.
    """

    label: str
    folder: Path
    digests: Mapping[str, str] | None = None
    withdrawn: str = ""

    def has(self, file: str) -> bool:
        """Whether the file is part of the release."""
        return (self.digests is None or file in self.digests) and (self.folder / file).is_file()

    def require_whole(self, *names: str) -> None:
        """Raise IntegrityError unless each of these files is as it was released, or no part of the release."""
        for name in names:
            expected = self.sha256(name)
            if expected is not None and disk.sha256(self.folder / name) != expected:
                raise scoring.altered(self.folder / name)

    def sha256(self, name: str) -> str | None:
        """What the file's SHA-256 must be; None if nothing says."""
        return None if self.digests is None else self.digests.get(name)


def in_folder(folder: Path) -> LocalRelease:
    """A release that was exported or fetched to `folder`.

    Raises ConfigError if there is none, IntegrityError, also if it is not signed as the settings demand.
    """
    if not folder.is_dir() or not any((folder / name).is_file() for name in (serving.ONNX, files.MODEL)):
        raise errors.ConfigError(
            f"A folder to predict by must hold a release: {serving.ONNX} or {files.MODEL}, and {files.PREPROCESSING}.",
            received=f"no such files in {folder}" if folder.is_dir() else f"no folder {folder}",
            todo="fetch or export one there (see `fer models --help`)",
        )
    digests = _signed_digests(folder)
    if digests is None and (served := serving.load(folder)) is not None:
        digests = served.files
    return LocalRelease(folder.resolve().name, folder, digests)


def local(spec: str | None) -> LocalRelease:
    """A release of the registry, with its files here: NAME, NAME@champion or NAME@VERSION; None: the only champion.

    Raises ConfigError, StoreError, IntegrityError.
    """
    parsed = names.parse_spec(spec) if spec else None
    configured = settings.Settings.load()
    path = configured.home / "models" / _CONFIRMED
    asked = f"{parsed.name}@{parsed.which}" if parsed else ""
    # Of another alias than the champion the log, by which it is confirmed, knows nothing.
    is_kept = parsed is None or parsed.which == names.CHAMPION or names.parse_version(parsed.which) is not None
    known = _read(path) if is_kept else {}
    confirmation = known.get(asked)
    if confirmation is not None:
        confirmation = confirmation.if_it_holds(configured)
    if confirmation is None:
        confirmation = _asked(spec, configured)
    if is_kept and confirmation != known.get(asked):
        with contextlib.suppress(OSError):  # it is asked again next time
            _write(path, {**{key: value for key, value in known.items() if key != asked}, asked: confirmation})
    folder = configured.home / "models" / confirmation.name / str(confirmation.version)
    os.utime(folder)  # what has not been used for long may be removed
    return LocalRelease(
        f"{confirmation.name}@{confirmation.version}", folder, confirmation.digests, confirmation.withdrawn
    )


class Confirmation(Record):
    """What the registry said of a release. `alias` is the SHA-256 of the champion's alias then, `entry` where it goes.

    `only` says that the release was asked for as the only model's; `under` is a digest of settings and trusted keys;
    `at` is in seconds since 1970; `use` is the token of the embedded store (`fer.engine.store.uses`), else None.
    """

    name: names.Name
    version: names.Version
    digests: dict[str, str]
    withdrawn: str
    only: bool
    alias: str
    entry: int | None
    under: str
    at: float = Field(allow_inf_nan=False)
    use: str | None

    def if_it_holds(self, configured: settings.Settings) -> "Confirmation | None":
        """The confirmation, anew if the store was asked; None if it no longer holds, or its files are gone."""
        folder = configured.home / "models" / self.name / str(self.version)
        if self.under != _digest(configured) or not all((folder / file).is_file() for file in self.digests):
            return None
        age_s = time.time() - self.at
        if configured.store_endpoint is not None:
            if 0 <= age_s < 60 * configured.confirm_minutes:
                return self
        elif self.use is not None and self.use == uses.token(configured.home):
            return self
        elif not uses.may_run(configured.home):
            return None
        return self._confirmed(configured)

    def _confirmed(self, configured: settings.Settings) -> "Confirmation | None":
        """The confirmation with the present time, if the store says what it said; None if it says otherwise."""
        from fer.engine import connect
        from fer.engine.store import seaweedfs

        begun = time.time()
        is_embedded = configured.store_endpoint is None
        with contextlib.suppress(errors.StoreError):  # who asks for all of it says why
            use = seaweedfs.token_unless_used(configured.home) if is_embedded else None
            store = connect.running_store(configured)
            if self.only and list(store.folders("models/")) != [self.name]:
                return None
            if _alias(store, self.name) != (self.alias, self.entry) or self.entry is None:
                return None
            if store.get(names.log_key(self.name, self.entry + 1)) is not None:
                return None
            return self.model_copy(update={"at": begun, "use": use})
        return None


def _asked(spec: str | None, configured: settings.Settings) -> Confirmation:
    """What the registry says, once all files of the release are here and verified. Raises as `local` does."""
    from fer.registry import releases

    begun = time.time()
    with releases.open_registry() as models:
        manifest, _ = releases.fetched(models, spec)
        sha256, entry = _alias(models.store, manifest.name)
        manifest, _ = releases.fetched(models, spec)  # what is remembered is of that alias, or else is asked again
        withdrawn = releases.withdrawal_in(models, manifest)
        use = uses.token(configured.home) if configured.store_endpoint is None else None
    return Confirmation(
        name=manifest.name,
        version=manifest.version,
        digests={file: kept.sha256 for file, kept in manifest.files.items()},
        withdrawn=withdrawn,
        only=not spec,
        alias=sha256,
        entry=entry,
        under=_digest(configured),
        at=begun,
        use=use,
    )


def _alias(store: "ObjectStore", name: str) -> tuple[str, int | None]:
    """SHA-256 (hex) of the champion alias' bytes, and the entry of the log that it goes to; empty and None without."""
    stored = store.get(names.alias_key(name, names.CHAMPION))
    if stored is None:
        return "", None
    with contextlib.suppress(ValueError):
        entry = json.loads(stored.data)["entry"]
        return hashlib.sha256(stored.data).hexdigest(), entry if isinstance(entry, int) else None
    return "", None


def _digest(configured: settings.Settings) -> str:
    """Of all settings, and of the keys that are trusted: what was verified by others was not verified."""
    content = hashlib.sha256(configured.model_dump_json().encode())
    for key in sorted(configured.trusted_keys.glob("*.pub")):
        with contextlib.suppress(OSError):
            content.update(key.name.encode() + b"\0" + key.read_bytes())
    return content.hexdigest()


def _signed_digests(folder: Path) -> dict[str, str] | None:
    """What a signed manifest in the folder says of the files beside it; None without one, where none is demanded."""
    configured = settings.Settings.load()
    if configured.signatures != "required" and not any(configured.trusted_keys.glob("*.pub")):
        return None
    from fer.registry.trust import policy, verifying

    return verifying.signed_digests(folder, policy.of(configured))


def _read(path: Path) -> dict[str, Confirmation]:
    """What was confirmed, by what was asked for, the latest last; nothing if it can't be read."""
    try:
        document, is_sealed = disk.unsealed(path.read_bytes())
        if not is_sealed:
            return {}
        return {asked: Confirmation.model_validate(said) for asked, said in document["confirmed"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ValidationError):
        return {}


def _write(path: Path, confirmed: Mapping[str, Confirmation]) -> None:
    latest = dict(list(confirmed.items())[-_MOST:])
    document = {"confirmed": {asked: one.model_dump(mode="json") for asked, one in latest.items()}}
    disk.write(path, disk.sealed(document))
