"""Signatures of a release: of the bytes of its manifest, which hold the SHA-256 of every file, and of its bill of
materials.

    models/<name>/files/<upload>/.signature-<key>.json     one for each key, beside the files, outside of the manifest
    models/<name>/files/<upload>/.sbom.cdx.json            the bill of materials, if there is one

So a signature changes no digest, and one can be added at any time.
"""

import contextlib
import hashlib
import re

import pydantic
from pydantic import Field

from fer import errors
from fer.engine.records import Record
from fer.engine.store import objectstore
from fer.registry import names
from fer.registry.manifest import Manifest
from fer.registry.trust import keys, policy, signatures
from fer.registry.trust.policy import Policy, Verified
from fer.registry.trust.signatures import Signature

BILL = ".sbom.cdx.json"
FOLDER = "signatures"  # of a copy: what lies in it, and is added or taken out, is signed by nobody
_KIND = "release"
_BEFORE_KEY, _AFTER_KEY = ".signature-", ".json"
_MOST_SIGNATURES = 100


class Statement(Record):
    """What is signed."""

    name: names.Name
    version: int = Field(ge=1)
    manifest_sha256: str = Field(pattern=rf"^{names.SHA256}$")
    sbom_sha256: str | None = Field(default=None, pattern=rf"^{names.SHA256}$")

    def message(self) -> bytes:
        """The bytes that are signed."""
        return signatures.message(_KIND, self.model_dump(mode="json"))


class SignedStatement(Record):
    """The object of one signature."""

    format_version: int = 1
    statement: Statement
    signature: Signature


def statement(name: str, version: int, manifest: bytes, bill: bytes | None) -> Statement:
    """The statement on a version, whose manifest and bill of materials have these bytes."""
    return Statement(
        name=name,
        version=version,
        manifest_sha256=hashlib.sha256(manifest).hexdigest(),
        sbom_sha256=None if bill is None else hashlib.sha256(bill).hexdigest(),
    )


def sign(store: objectstore.ObjectStore, prefix: str, stated: Statement, key: keys.PrivateKey) -> None:
    """Write the key's signature beside the files, whose keys begin with `prefix`."""
    document = SignedStatement(statement=stated, signature=signatures.sign(stated.message(), key))
    store.put(f"{prefix}{_BEFORE_KEY}{key.public.id}{_AFTER_KEY}", _encoded(document))


def _encoded(document: SignedStatement) -> bytes:
    return document.model_dump_json(indent=1).encode()


def prefix(manifest: Manifest) -> str:
    """What the keys of the version's objects begin with; empty if it has no files."""
    return next((file.key.rsplit("/", 1)[0] + "/" for file in manifest.files.values()), "")


def manifest_bytes(store: objectstore.ObjectStore, manifest: Manifest) -> bytes:
    """The bytes of a version's manifest. Raises IntegrityError if what is there is another one."""
    key = names.version_key(manifest.name, manifest.version)
    stored = store.get(key)
    try:
        read = None if stored is None else Manifest.model_validate_json(stored.data)
    except pydantic.ValidationError:
        read = None
    if stored is None or read != manifest:
        raise errors.IntegrityError(
            "A version's manifest must be the one that was read before.",
            received=f"{'nothing' if stored is None else 'something else'} at {store.uri(key)}",
            todo=f"see what can be restored: fer models repair {manifest.name}",
        )
    return stored.data


def bill(store: objectstore.ObjectStore, manifest: Manifest) -> bytes | None:
    """The bill of materials of a version (CycloneDX, JSON); None if it has none."""
    beside = prefix(manifest)
    stored = store.get(beside + BILL) if beside else None
    return None if stored is None else stored.data


def stated(store: objectstore.ObjectStore, manifest: Manifest) -> Statement:
    """What a signature of this version states. Raises IntegrityError if its manifest is another one by now."""
    return statement(manifest.name, manifest.version, manifest_bytes(store, manifest), bill(store, manifest))


def found(store: objectstore.ObjectStore, manifest: Manifest) -> dict[str, bytes]:
    """The signatures that there are: the name of the object -> its bytes."""
    beside = prefix(manifest)
    places = [entry.key for entry in store.list(f"{beside}{_BEFORE_KEY}")] if beside else []
    documents = {}
    for key in places[:_MOST_SIGNATURES]:
        name = key.removeprefix(beside)
        stored = store.get(key) if re.fullmatch(rf"{_BEFORE_KEY}{keys.ID}{_AFTER_KEY}", name) else None
        if stored is not None:
            documents[name] = stored.data
    return documents


def signers(store: objectstore.ObjectStore, manifest: Manifest) -> list[str]:
    """The keys that a version is signed by as its signatures' names say; none of them is verified."""
    return sorted(_key(name) for name in found(store, manifest))


def listed(store: objectstore.ObjectStore, manifest: Manifest, expected: Statement) -> tuple[Signature, ...]:
    """The signatures that there are. One that says anything else than that it is of `expected` fits nothing."""
    return parsed(found(store, manifest), expected)


def parsed(documents: dict[str, bytes], expected: Statement) -> tuple[Signature, ...]:
    """The signatures in these objects, the name of the object -> its bytes; as of `listed`."""
    return tuple(_signature(name, expected, data) for name, data in documents.items())


def _key(name: str) -> str:
    return name.removeprefix(_BEFORE_KEY).removesuffix(_AFTER_KEY)


def _signature(name: str, expected: Statement, data: bytes) -> Signature:
    """The signature in an object of this name; one that fits nothing if it is not as it was written."""
    key = _key(name)
    if not re.fullmatch(keys.ID, key):
        return Signature(key="0" * 16, value="")
    with contextlib.suppress(pydantic.ValidationError):
        read = SignedStatement.model_validate_json(data)
        if (read.statement, read.signature.key, _encoded(read)) == (expected, key, data):
            return read.signature
    return Signature(key=key, value="")


def verified(store: objectstore.ObjectStore, demands: Policy, manifest: Manifest) -> Verified:
    """What the signatures of a version amount to. Raises IntegrityError if its manifest is another one by now."""
    if not demands.is_active:
        return Verified()
    expected = stated(store, manifest)
    return demands.verified(expected.message(), listed(store, manifest, expected))


def require(store: objectstore.ObjectStore, demands: Policy, manifest: Manifest) -> None:
    """Raise IntegrityError if the version is not signed as is demanded."""
    fault = verified(store, demands, manifest).fault
    if fault:
        spec = f"{manifest.name}@{manifest.version}"
        raise policy.refused(
            f"The release {spec}",
            store.uri(names.version_key(manifest.name, manifest.version)),
            fault,
            f"do not use it before you know who made it: fer models show {spec}; if it is as it should be, sign it: "
            f"fer models sign {spec}; or trust the key: fer keys trust FILE.pub",
        )
