"""The OpenSSF's model signing: a release signed so that its tool, which many know, verifies a copy of it.

    models/<name>/files/<upload>/.openssf.<key>.json      a bundle for each key, beside the files, outside the manifest

Signed is the folder that `fer models pull` makes, but for its `signatures/`: any number of them can be added there.
Of their library, which is an extra, the documented interface alone is used; P-256 is the only curve here.
"""

import base64
import contextlib
import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Iterable, Set
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fer import errors
from fer.engine import disk
from fer.engine.store import objectstore
from fer.registry.manifest import Manifest
from fer.registry.trust import keys
from fer.registry.trust import releases as signed_releases

_BEFORE_KEY, _AFTER_KEY = ".openssf.", ".json"
_MOST_BUNDLES = 100
_INSTALL = "uv pip install 'model-signing>=1.1.1,<2' 'pyopenssl>=26.4'"  # as the extra says
_MAKE_ONE = (
    "make one: openssl ecparam -name prime256v1 -genkey -noout -out ec.pem; chmod 600 ec.pem; "
    "openssl ec -in ec.pem -pubout -out ec.pub"
)
_NAME_PUBLIC = "name the public half of the key that signed: openssl ec -in ec.pem -pubout -out ec.pub"


class Key(NamedTuple):
    """A P-256 key; `pem` is its public half, `file` what it was read from, `id` the first digits that bundles hold."""

    id: str
    pem: bytes
    file: Path


def require() -> None:
    """Raise ConfigError unless the library is installed."""
    try:
        import model_signing.signing
        import model_signing.verifying  # noqa: F401 - whether it can be imported, with all that it needs
    except ImportError as error:
        raise errors.ConfigError(
            "OpenSSF model signing needs the packages of the extra `openssf`.",
            received=f"no module {error.name or 'model_signing'}",
            todo=f"install them in this environment: {_INSTALL}",
        ) from None


def private(path: Path) -> Key:
    """The private key in a file that its owner alone can read. Raises ConfigError, which does not show it."""
    data = keys.private_bytes(path, "--openssf", _MAKE_ONE)
    try:
        key = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise errors.ConfigError(
            "A private key for OpenSSF model signing must be a P-256 key in PEM without a passphrase.",
            received=f"something else in {path}",
            todo=_MAKE_ONE,
        )
    return _key(key.public_key(), path)


def public(path: Path) -> Key:
    """The public key in a file. Raises ConfigError."""
    data = keys.public_bytes(path, _NAME_PUBLIC)
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        is_private = b"PRIVATE KEY" in data
        raise errors.ConfigError(
            "A public key for OpenSSF model signing must be a P-256 key in PEM.",
            received=f"{'a private key' if is_private else 'something else'} in {path}",
            todo=_NAME_PUBLIC,
        )
    return _key(key, path)


def _key(key: ec.EllipticCurvePublicKey, path: Path) -> Key:
    if not isinstance(key.curve, ec.SECP256R1):
        raise errors.ConfigError(
            "A key for OpenSSF model signing must be one of the curve P-256 (secp256r1, prime256v1).",
            received=f"{key.curve.name} in {path}",
            todo=_MAKE_ONE,
        )
    pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return Key(hashlib.sha256(pem).hexdigest()[:16], pem, path)


def name_of(key_id: str) -> str:
    """The name of the object that is the bundle of a key."""
    return f"{_BEFORE_KEY}{key_id}{_AFTER_KEY}"


def found(store: objectstore.ObjectStore, manifest: Manifest) -> dict[str, bytes]:
    """The bundles that a version has: the name of the object -> its bytes; none of them is verified."""
    beside = signed_releases.prefix(manifest)
    places = [entry.key for entry in store.list(f"{beside}{_BEFORE_KEY}")] if beside else []
    documents = {}
    for key in places[:_MOST_BUNDLES]:
        name = key.removeprefix(beside)
        stored = (
            store.get(key) if re.fullmatch(re.escape(_BEFORE_KEY) + keys.ID + re.escape(_AFTER_KEY), name) else None
        )
        if stored is not None:
            documents[name] = stored.data
    return documents


def signers(names: Iterable[str]) -> list[str]:
    """The keys whose bundles have these names."""
    return sorted(name.removeprefix(_BEFORE_KEY).removesuffix(_AFTER_KEY) for name in names)


def sign(folder: Path, key: Key) -> bytes:
    """The bundle of a private key over all files of a folder, but for its `signatures/`."""
    require()
    from model_signing import hashing, signing

    of_folder = hashing.Config().set_ignored_paths(paths=[signed_releases.FOLDER])
    with tempfile.TemporaryDirectory() as temporary:
        bundle = Path(temporary) / "bundle.json"
        by_key = signing.Config().use_elliptic_key_signer(private_key=key.file)
        by_key.set_hashing_config(of_folder).sign(folder, bundle)
        return bundle.read_bytes()


def fault(folder: Path, names: Set[str], bundle: bytes, key: Key) -> str:
    """Why a bundle is not this key's over the folder as it is, with these files in it; empty if it is."""
    require()
    from model_signing import verifying

    with tempfile.TemporaryDirectory() as temporary, contextlib.redirect_stdout(sys.stderr):
        trusted, document = Path(temporary) / "key.pem", Path(temporary) / "bundle.json"
        trusted.write_bytes(key.pem)
        document.write_bytes(bundle)
        try:
            verifying.Config().use_elliptic_key_verifier(public_key=trusted).verify(folder, document)
            left_out = names - _signed(bundle).keys()
        except InvalidSignature:
            return "its signature does not fit its content"
        except Exception as error:  # noqa: BLE001 - what a crafted bundle makes their library raise is listed nowhere
            return _differences(folder, bundle) or f"{type(error).__name__}: {error}"
    return f"it says nothing of {', '.join(sorted(left_out))}" if left_out else ""


def _signed(bundle: bytes) -> dict[str, str]:
    """The files whose digests a bundle holds: name -> digest."""
    statement = json.loads(base64.b64decode(json.loads(bundle)["dsseEnvelope"]["payload"]))
    return {resource["name"]: resource["digest"] for resource in statement["predicate"]["resources"]}


def _differences(folder: Path, bundle: bytes) -> str:
    """Which files are not as a bundle, whosever it is, says; empty if all are, or it can't be read."""
    try:
        signed = _signed(bundle)
        paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        present = {name: path for name, path in paths.items() if not name.startswith(f"{signed_releases.FOLDER}/")}
        changed = [name for name, path in present.items() if name in signed and disk.sha256(path) != signed[name]]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ""
    found = (("changed", changed), ("missing", signed.keys() - present), ("not signed", present.keys() - signed))
    return "; ".join(f"{what}: {', '.join(sorted(names))}" for what, names in found if names)
