"""Signatures as documents, and the bytes that are signed: a statement in JSON, of one kind, in one form."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from fer.engine.records import Record
from fer.registry.trust import keys

_PREFIX = b"fer-retraining signature 1\n"
_LENGTH = 64  # bytes


class Signature(Record):
    """By which key, and the signature itself."""

    key: str = Field(pattern=rf"^{keys.ID}$", description="the first 16 digits of the public key's SHA-256")
    value: str = Field(max_length=100, description="Ed25519, in base64")


def message(kind: str, statement: Mapping[str, Any]) -> bytes:
    """The bytes that are signed: of different kinds or statements, different ones."""
    text = json.dumps({"kind": kind, **statement}, sort_keys=True, separators=(",", ":"))
    return _PREFIX + text.encode()


def sign(message: bytes, key: keys.PrivateKey) -> Signature:
    """The key's signature of a message."""
    return Signature(key=key.public.id, value=base64.b64encode(key.sign(message)).decode())


def is_by(signature: Signature, message: bytes, key: keys.PublicKey) -> bool:
    """Whether the signature is this key's, of this message."""
    try:
        value = base64.b64decode(signature.value, validate=True)
    except ValueError:
        return False
    is_canonical = len(value) == _LENGTH and base64.b64encode(value).decode() == signature.value
    return signature.key == key.id and is_canonical and key.is_signed(message, value)
