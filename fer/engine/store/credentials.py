"""The access key of a store, and that of the embedded one: `credentials.json`, which its owner alone can read."""

import json
import secrets
from pathlib import Path
from typing import NamedTuple

from pydantic import SecretStr

from fer.engine import disk

_FILE = "credentials.json"


class Credentials(NamedTuple):
    """An access key and its secret. The repr shows neither."""

    access_key_id: str
    secret_access_key: SecretStr

    def __repr__(self) -> str:
        return "Credentials(…)"


def read(folder: Path) -> Credentials | None:
    """The credentials of the embedded store in `folder`; None without a file that can be read."""
    try:
        record = json.loads((folder / _FILE).read_bytes())
        return Credentials(str(record["access_key_id"]), SecretStr(str(record["secret_access_key"])))
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return None


def make(folder: Path) -> Credentials:
    """New credentials, written to `folder`. Raises OSError."""
    new = Credentials(f"fer-{secrets.token_hex(8)}", SecretStr(secrets.token_urlsafe(32)))
    record = {"access_key_id": new.access_key_id, "secret_access_key": new.secret_access_key.get_secret_value()}
    disk.write_private(folder / _FILE, json.dumps(record).encode())
    return new
