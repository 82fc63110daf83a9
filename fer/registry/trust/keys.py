"""Ed25519 keys: made, read from files, and called by the first digits of their SHA-256.

A private key is a file in PEM (PKCS #8) that its owner alone can read, or the same text in a secret of the scheduler's,
which `read_secrets_by` knows how to read. Nothing here shows a private key.
"""

import hashlib
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fer import errors
from fer.engine import disk

SECRET = "secret:"  # noqa: S105 - the prefix of a block's name in a setting, no password
SUFFIX = ".pub"
ID = r"[0-9a-f]{16}"
_MOST_BYTES = 10_000
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MAKE_ONE = "make one: fer keys new FILE"

_secret_readers: list[Callable[[str], str]] = []


class PublicKey(NamedTuple):
    """A public key; `raw` are its 32 bytes."""

    raw: bytes

    @property
    def id(self) -> str:
        """What it is called: 16 hexadecimal digits of its SHA-256."""
        return hashlib.sha256(self.raw).hexdigest()[:16]

    def pem(self) -> bytes:
        """The key as files hold it."""
        encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        return Ed25519PublicKey.from_public_bytes(self.raw).public_bytes(encoding, form)

    def is_signed(self, message: bytes, signature: bytes) -> bool:
        """Whether the holder of the private key signed the message."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except InvalidSignature:
            return False
        return True


class PrivateKey:
    """A private key. The repr shows the public one's name alone."""

    def __init__(self, key: Ed25519PrivateKey):
        self._key = key
        self.public = PublicKey(
            key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        )

    def __repr__(self) -> str:
        return f"PrivateKey({self.public.id})"

    def sign(self, message: bytes) -> bytes:
        """The signature (64 bytes); the same one for the same message."""
        return self._key.sign(message)

    def pem(self) -> bytes:
        """The key as its file holds it: for `write` and secrets alone."""
        form = serialization.PrivateFormat.PKCS8
        return self._key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


class Trusted(NamedTuple):
    """A public key that is trusted, and the file that says so."""

    key: PublicKey
    file: Path


def new() -> PrivateKey:
    """A new key, drawn by the operating system."""
    return PrivateKey(Ed25519PrivateKey.generate())


def write(key: PrivateKey, path: Path) -> Path:
    """Write the private key to a new file that its owner alone can read, the public one beside it, whose path it is.

    Raises ConfigError where there is a file already, OSError.
    """
    public = path.with_name(path.name + SUFFIX)
    for taken in (path, public):
        if os.path.lexists(taken):
            raise errors.ConfigError(
                "A new key must go to a file that is not there yet.",
                received=str(taken),
                todo="name another file; a key that is replaced can sign nothing any more",
            )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    disk.write_private(path, key.pem())
    disk.write(public, key.public.pem())
    return public


def read_private(path: Path) -> PrivateKey:
    """The private key in a file. Raises ConfigError, also where others than its owner can read it."""
    return parse_private(private_bytes(path, "FER_SIGNING_KEY", _MAKE_ONE), str(path))


def private_bytes(path: Path, named_by: str, make_one: str) -> bytes:
    """What is in the file of a private key, which `named_by` names. Raises ConfigError, as `read_private` does."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_MOST_BYTES)
    except OSError as error:
        raise errors.ConfigError(
            f"{named_by} must name a file that can be read.",
            received=f"{path}: {error.strerror}",
            todo=f"correct the path, or {make_one}",
        ) from None
    if mode & _OTHERS:
        raise errors.ConfigError(
            "A private key's file must be one that its owner alone can read.",
            received=f"{path} with the permissions {stat.S_IMODE(mode):04o}",
            todo=f"chmod 600 {path}; if others could read it, sign by another key: {make_one}",
        )
    return data


def parse_private(data: bytes, where: str) -> PrivateKey:
    """The private key with these bytes; `where` names their place. Raises ConfigError, which does not show them."""
    try:
        key = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise errors.ConfigError(
            "A private key must be an Ed25519 key in PEM (PKCS #8) without a passphrase.",
            received=f"something else in {where}",
            todo=_MAKE_ONE,
        )
    return PrivateKey(key)


def public_bytes(path: Path, todo: str) -> bytes:
    """What is in the file of a public key. Raises ConfigError with this advice."""
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES)
    except OSError as error:
        raise errors.ConfigError(
            "A public key must be in a file that can be read.", received=f"{path}: {error.strerror}", todo=todo
        ) from None


def read_public(path: Path) -> PublicKey:
    """The public key in a file. Raises ConfigError."""
    todo = "name the file that `fer keys new` wrote beside the private key, which ends in .pub"
    data = public_bytes(path, todo)
    try:
        key = serialization.load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        is_private = b"PRIVATE KEY" in data
        raise errors.ConfigError(
            "A public key must be an Ed25519 key in PEM.",
            received=f"{'a private key' if is_private else 'something else'} in {path}",
            todo=todo,
        )
    return PublicKey(key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw))


def trusted(folder: Path) -> tuple[Trusted, ...]:
    """The keys that are trusted: those in the folder's files that end in .pub. Raises ConfigError for any other."""
    files = sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
    return tuple(Trusted(read_public(file), file) for file in files)


def trust(key: PublicKey, folder: Path, name: str = "") -> Path:
    """Trust a key from now on: its file in the folder, called by `name` and the key. Raises ConfigError, OSError."""
    known = next((other.file for other in trusted(folder) if other.key == key), None)
    if known is not None:
        return known
    folder.mkdir(parents=True, exist_ok=True)
    label = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:60]
    path = folder / f"{f'{label}-' if label else ''}{key.id}{SUFFIX}"
    disk.write(path, key.pem())
    return path


def distrust(key_id: str, folder: Path) -> tuple[Path, ...]:
    """Trust a key no more; the files that said so. Raises ConfigError if it was not trusted."""
    files = tuple(other.file for other in trusted(folder) if other.key.id == key_id)
    if not files:
        raise errors.ConfigError(
            "A key that is no longer trusted must have been trusted.", received=key_id, todo="see `fer keys show`"
        )
    for file in files:
        file.unlink()
    return files


def read_secrets_by(reader: Callable[[str], str]) -> None:
    """From now on, secrets are read by this function of their name, which raises ConfigError."""
    _secret_readers[:] = [reader]


def signing_key(source: str) -> PrivateKey:
    """The private key that FER_SIGNING_KEY names: a file, or `secret:NAME`. Raises ConfigError."""
    if not source.startswith(SECRET):
        return read_private(Path(source).expanduser())
    if not _secret_readers:
        raise errors.ConfigError(
            "A signing key in a secret must be read within a run or a command.",
            received=source,
            todo="set FER_SIGNING_KEY to a file",
        )
    return parse_private(_secret_readers[0](source.removeprefix(SECRET)).encode(), f"the secret {source!r}")
