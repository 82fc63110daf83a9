"""Whether a release is as it was written: its log, its manifest, each of its files, and who signed them."""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pydantic

from fer import errors
from fer.engine import disk
from fer.engine.records import Record
from fer.progress import Progress, silent
from fer.registry import log as registry_log
from fer.registry import names, registry
from fer.registry.manifest import Manifest
from fer.registry.trust import logs, openssf, policy
from fer.registry.trust import releases as signed_releases
from fer.registry.trust.policy import Policy, Verified
from fer.registry.trust.signatures import Signature

MANIFEST, BILL = "manifest.json", "sbom.cdx.json"  # of a copy
_OPENSSF = "OpenSSF signature"


class Part(Record):
    """One thing that was looked at."""

    what: str
    passed: bool
    detail: str


def log(models: registry.Registry, demands: Policy, name: str) -> Part:
    """The log of a model and its champion alias, and who signed them. `models` demands nothing itself."""
    seen = logs.seen(demands, name)
    try:
        state = models.ledger(name).read()
        entries = state.log.entries
        where = models.store.uri(names.log_key(name, state.log.head or 1))
        logs.require(demands, name, entries, where, seen, has_older_alias=state.older_alias is not None)
    except errors.IntegrityError as error:
        return Part(what="log", passed=False, detail=str(error))
    champion = "no champion" if state.champion is None else f"champion: version {state.champion}"
    found = logs.verified(demands, entries)
    signers = sorted({entry.signature.key for entry in entries[-1:] if entry.signature is not None})
    detail = f"{len(entries):,} entries, each after the one before; {champion}; {_signed(found, signers)}"
    return Part(what="log", passed=True, detail=detail)


def release(
    models: registry.Registry, demands: Policy, manifest: Manifest, into: Path, progress: Progress = silent
) -> list[Part]:
    """A version's manifest, its files, which are brought to the folder `into`, and who signed it."""
    parts = [_manifest(models, manifest), _files(models, manifest, into, progress)]
    try:
        expected = signed_releases.stated(models.store, manifest)
        signatures = signed_releases.listed(models.store, manifest, expected)
    except errors.IntegrityError as error:
        return [*parts, Part(what="signature", passed=False, detail=str(error))]
    parts.append(_signature(demands, expected, signatures))
    try:
        return [*parts, _bill(bill(models, manifest), is_signed=bool(signatures))]
    except errors.IntegrityError as error:
        return [*parts, Part(what="bill of materials", passed=False, detail=str(error))]


def beside(models: registry.Registry, manifest: Manifest) -> dict[str, bytes]:
    """What a copy has beside the version's files: its manifest, byte by byte, and its bill of materials.

    Raises ConfigError if a file of the version has the name of one of these; IntegrityError.
    """
    contents = {MANIFEST: signed_releases.manifest_bytes(models.store, manifest)}
    listed = bill(models, manifest)
    contents |= {} if listed is None else {BILL: listed}
    if taken := {*contents, signed_releases.FOLDER} & manifest.files.keys():
        raise errors.ConfigError(
            "A version's files must have other names than what is laid beside them.", received=", ".join(sorted(taken))
        )
    return contents


def bill(models: registry.Registry, manifest: Manifest) -> bytes | None:
    """The bill of materials of a version (CycloneDX, JSON); None if it has none.

    Raises IntegrityError if it is not the one that the log names; logs from before they did name none.
    """
    found = signed_releases.bill(models.store, manifest)
    ledger = models.ledger(manifest.name)
    claim = registry_log.Log(ledger.entries()).claims().get(manifest.version)
    expected = None if claim is None else claim.bill_sha256
    if expected is not None and (found is None or hashlib.sha256(found).hexdigest() != expected):
        raise ledger.damaged(
            models.store.uri(signed_releases.prefix(manifest) + signed_releases.BILL), "something else"
        )
    return found


def copy(folder: Path, demands: Policy, into: Path) -> tuple[Manifest, list[Part]]:
    """The same of a copy that was pulled, whose whole files are copied to the folder `into`. Raises IntegrityError if
    its manifest can't be read."""
    manifest, expected, signatures = _copy(folder)
    faults = list(_copied(folder, manifest, into))
    whole = f"all {len(manifest.files):,} have the SHA-256 of the manifest"
    listed = (folder / BILL).read_bytes() if (folder / BILL).is_file() else None
    return manifest, [
        Part(what="files", passed=not faults, detail="; ".join(faults) or whole),
        _signature(demands, expected, signatures),
        _bill(listed, is_signed=bool(signatures)),
    ]


def openssf_of_release(models: registry.Registry, manifest: Manifest, key: openssf.Key, into: Path) -> Part:
    """Whether a version has a bundle of this key over its files, whose whole ones `release` brought to `into`, and
    over what a copy has beside them, which is written there too."""
    try:
        contents = beside(models, manifest)
        for name, data in contents.items():
            (into / name).write_bytes(data)
    except errors.IntegrityError as error:
        return Part(what=_OPENSSF, passed=False, detail=str(error))
    place = models.store.uri(f"{signed_releases.prefix(manifest)}{openssf.name_of(key.id)}")
    return _bundle(manifest, openssf.found(models.store, manifest), key, into, place)


def openssf_of_copy(folder: Path, manifest: Manifest, key: openssf.Key) -> Part:
    """Whether a copy that was pulled has a bundle of this key over all that lies in it."""
    bundles = (folder / signed_releases.FOLDER).glob("openssf.*.json")
    documents = {f".{path.name}": path.read_bytes() for path in sorted(bundles)}
    place = folder / signed_releases.FOLDER / openssf.name_of(key.id).removeprefix(".")
    return _bundle(manifest, documents, key, folder, str(place))


def _bundle(manifest: Manifest, bundles: dict[str, bytes], key: openssf.Key, folder: Path, place: str) -> Part:
    bundle = bundles.get(openssf.name_of(key.id))
    spec = f"{manifest.name}@{manifest.version}"
    if bundle is None:
        others = ", ".join(openssf.signers(bundles))
        fault = (
            f"no bundle of the key {key.id} ({key.file}): no {place}; {f'by others: {others}' if others else 'none'}"
        )
        next_step = (
            f"name the public key of who signed it, or sign it once you have looked at it: fer models sign {spec} "
        )
        return Part(what=_OPENSSF, passed=False, detail=f"{fault}. Next: {next_step}--openssf KEY.pem")
    names = {*manifest.files, MANIFEST, *((BILL,) if (folder / BILL).is_file() else ())}
    fault = openssf.fault(folder, names, bundle, key)
    if fault:
        detail = (
            f"the bundle of the key {key.id} ({key.file}) does not fit: {place}: {fault}. Next: do not use it before "
            f"you know why; fer models verify {spec} says what is as it was registered"
        )
        return Part(what=_OPENSSF, passed=False, detail=detail)
    detail = f"signed by the P-256 key {key.id} ({key.file}), {len(names):,} files"
    return Part(what=_OPENSSF, passed=True, detail=detail)


def signed_digests(folder: Path, demands: Policy) -> dict[str, str] | None:
    """The SHA-256 of each file of a copy that was pulled, by its manifest, which is signed as is demanded.

    None where there is no manifest and no signature is demanded. Raises IntegrityError.
    """
    where = folder / MANIFEST
    if not where.is_file():
        if demands.required:
            todo = "bring the release here by `fer models pull NAME@VERSION FOLDER`"
            raise policy.refused("A release in a folder", str(where), "no manifest", todo)
        return None
    manifest, expected, signatures = _copy(folder)
    if fault := demands.verified(expected.message(), signatures).fault:
        todo = (
            "do not use it before you know who made it; then pull it again, or trust the key: fer keys trust FILE.pub"
        )
        raise policy.refused(f"The release {manifest.name}@{manifest.version}", str(where), fault, todo)
    return {name: file.sha256 for name, file in manifest.files.items()}


def _copy(folder: Path) -> tuple[Manifest, signed_releases.Statement, tuple[Signature, ...]]:
    """A copy's manifest, what signatures of it must state, and those that there are."""
    data = (folder / MANIFEST).read_bytes()
    try:
        manifest = Manifest.model_validate_json(data)
    except pydantic.ValidationError:
        raise errors.IntegrityError(
            "A copy of a release must hold the manifest that it was pulled with.",
            received=f"something else at {folder / MANIFEST}",
            todo="pull it again: fer models pull NAME@VERSION FOLDER",
        ) from None
    listed = (folder / BILL).read_bytes() if (folder / BILL).is_file() else None
    expected = signed_releases.statement(manifest.name, manifest.version, data, listed)
    signatures = (*folder.glob("signature-*.json"), *(folder / signed_releases.FOLDER).glob("signature-*.json"))
    documents = {f".{path.name}": path.read_bytes() for path in sorted(signatures)}
    return manifest, expected, signed_releases.parsed(documents, expected)


def _copied(folder: Path, manifest: Manifest, into: Path) -> Iterator[str]:
    """Copy what is whole; sentences on what is not."""
    for name, file in manifest.files.items():
        if not (folder / name).is_file():
            yield f"{name}: missing"
            continue
        shutil.copyfile(folder / name, into / name)
        if disk.sha256(into / name) != file.sha256:
            (into / name).unlink()
            yield f"{name}: not as it was registered"


def _signature(demands: Policy, expected: signed_releases.Statement, signatures: tuple[Signature, ...]) -> Part:
    found = demands.verified(expected.message(), signatures)
    detail = found.fault or _signed(found, sorted(signature.key for signature in signatures))
    return Part(what="signature", passed=not found.fault, detail=detail)


def _manifest(models: registry.Registry, manifest: Manifest) -> Part:
    try:
        claim = registry_log.Log(models.ledger(manifest.name).entries()).claims().get(manifest.version)
    except errors.IntegrityError:
        claim = None
    if claim is None or claim.manifest is None:
        detail = "it can be read; the log, which would say its SHA-256, does not name it"
    else:
        detail = f"it has the SHA-256 that entry {claim.number} of the log names"
    return Part(what="manifest", passed=True, detail=detail)


def _files(models: registry.Registry, manifest: Manifest, into: Path, progress: Progress) -> Part:
    faults = []
    for done, (name, file) in enumerate(manifest.files.items()):
        progress(done, len(manifest.files), name)
        try:
            models.store.download_file(file.key, into / name, file.sha256)
        except errors.IntegrityError as error:
            faults.append(f"{name}: {error.received}")
    if faults:
        return Part(what="files", passed=False, detail=f"not as they were registered: {'; '.join(faults)}")
    size = sum(file.size_bytes for file in manifest.files.values())
    detail = f"all {len(manifest.files):,} have the SHA-256 of the manifest ({size:,} bytes)"
    return Part(what="files", passed=True, detail=detail)


def _bill(listed: bytes | None, *, is_signed: bool) -> Part:
    if listed is None:
        return Part(what="bill of materials", passed=True, detail="none: older than those, or made elsewhere")
    covered = "covered by the signature" if is_signed else "not signed"
    return Part(what="bill of materials", passed=True, detail=f"{len(listed):,} bytes of CycloneDX, {covered}")


def _signed(found: Verified, signers: list[str]) -> str:
    if found.key is not None:
        return f"signed by the key {found.key.key.id}, which is trusted here ({found.key.file.name})"
    if signers:
        return f"signed by the key {', '.join(signers)}, which is not trusted here"
    return "not signed"
