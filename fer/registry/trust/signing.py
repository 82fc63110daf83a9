"""A release or a log that is signed after it was written: by whom has looked at it, or with the key that follows."""

import tempfile
from pathlib import Path

from fer import errors
from fer.progress import Progress, silent
from fer.registry import ledger as registry_ledger
from fer.registry import log as registry_log
from fer.registry import registry
from fer.registry.log import Act, Entry
from fer.registry.manifest import Manifest
from fer.registry.trust import keys, logs, openssf, verifying
from fer.registry.trust import releases as signed_releases
from fer.registry.trust.policy import Policy


def key_of(models: registry.Registry) -> keys.PrivateKey:
    """The key to sign with. Raises ConfigError without one."""
    key = models.policy.signing_key()
    if key is None:
        raise errors.ConfigError(
            "A private key must be there to sign with.",
            received="no FER_SIGNING_KEY",
            todo="set it to the file of one; make one: fer keys new FILE",
        )
    return key


def release(models: registry.Registry, manifest: Manifest, progress: Progress = silent) -> bool:
    """Sign a version, all files of which are read first; False if the key has signed it already.

    Raises IntegrityError if it is not whole, ConfigError without a key.
    """
    key = key_of(models)
    stated = signed_releases.stated(models.store, manifest)
    if _trusting(key).verified(stated.message(), signed_releases.listed(models.store, manifest, stated)).key:
        return False
    with tempfile.TemporaryDirectory() as temporary:
        models.fetch(manifest, Path(temporary), progress)
    signed_releases.sign(models.store, signed_releases.prefix(manifest), stated, key)
    return True


def openssf_release(
    models: registry.Registry, manifest: Manifest, key: openssf.Key, progress: Progress = silent
) -> bool:
    """Sign a version for the OpenSSF's tool, all files of which are read first; False if the key has signed it already.

    `key` is of `openssf.private`. Raises IntegrityError if the version is not whole, ConfigError without the library.
    """
    openssf.require()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / f"{manifest.name}-{manifest.version}"  # its name stands in the bundle
        folder.mkdir()
        contents = verifying.beside(models, manifest)
        models.fetch(manifest, folder, progress)
        for name, data in contents.items():
            (folder / name).write_bytes(data)
        bundle = openssf.found(models.store, manifest).get(openssf.name_of(key.id))
        if bundle is not None and not openssf.fault(folder, {*manifest.files, *contents}, bundle, key):
            return False
        models.store.put(f"{signed_releases.prefix(manifest)}{openssf.name_of(key.id)}", openssf.sign(folder, key))
    return True


def has_files(models: registry.Registry, manifest: Manifest) -> bool:
    """Whether any file of a version is left in the store: housekeeping removes those of versions that nothing needs."""
    there = {listed.key for listed in models.store.list(signed_releases.prefix(manifest) or "nothing/")}
    return any(file.key in there for file in manifest.files.values())


def log(models: registry.Registry, name: str, reason: str = "", by: str | None = None) -> Entry | None:
    """Sign the log as it is by an entry that says so, and take it for how far it goes; None if the key has signed its
    last entry already.

    Raises IntegrityError if it is not whole, ConfigError without a key or a log.
    """
    key = key_of(models)
    ledger = models.ledger(name)
    if ledger.read().is_new:
        raise errors.ConfigError("A model must be in the registry.", received=name, todo="see `fer models list`")

    def signature(state: registry_ledger.State) -> Act | None:
        if logs.verified(_trusting(key), state.log.entries).key:
            return None
        return Act(
            action="sign",
            by=by or registry_log.operator(),
            from_version=state.champion,
            to_version=state.champion,
            reason=reason,
        )

    entry = ledger.move(signature)
    logs.remember(models.policy, name, ledger.entries())
    return entry


def _trusting(key: keys.PrivateKey) -> Policy:
    return Policy(required=True, trusted=(keys.Trusted(key.public, Path("it")),))
