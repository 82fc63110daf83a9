"""Whether the embedded store was used since some moment, told without it, by one small file.

    <home>/store/used     a token: another one from the moment when somebody begins to use the store, and from the
                          moment when somebody ends who was not alone in it

So whoever read the token while using the store, and finds the same one later, knows that nobody else used the store
meanwhile: what was read there still holds. These functions import nothing that takes time.
"""

import json
import os
import uuid
from pathlib import Path

from fer.engine import disk

_FILE = "used"


def renew(folder: Path) -> str:
    """Write another token into the store's folder; returns it. Raises OSError."""
    token = uuid.uuid4().hex
    disk.write(folder / _FILE, token.encode())
    return token


def token(home: Path) -> str | None:
    """The token of the store in `home`; None without one."""
    try:
        return (home / "store" / _FILE).read_text(encoding="ascii", errors="replace")
    except OSError:
        return None


def may_run(home: Path) -> bool:
    """Whether the process that was recorded as the store's is there; another one may have got its number since."""
    try:
        pid = json.loads((home / "store" / "server.json").read_bytes())["pid"]
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, ValueError, LookupError, TypeError, OverflowError):
        return False
    return True
