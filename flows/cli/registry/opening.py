"""The registry that the settings name, for the length of a command; and what a version's standing in it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fer.registry import log as registry_log
    from fer.registry import registry
    from fer.registry.manifest import Manifest


@contextmanager
def opened(*, unsigned: bool = False) -> "Iterator[registry.Registry]":
    """The registry; `unsigned`: to look at it, whatever is signed in it."""
    from fer import settings
    from fer.registry import releases
    from tasks import signing

    settings.Settings.load().require_home()
    signing.know_secrets()
    with releases.open_registry(unsigned=unsigned) as models:
        yield models


def standing(manifest: "Manifest", log: "registry_log.Log | None") -> dict[str, str]:
    """Why a version is withdrawn or was rolled back, in words; empty where it is not."""
    from fer.registry import log as registry_log

    withdrawn = log.withdrawn.get(manifest.version) if log is not None else None
    bar = log.bar(manifest.version, manifest.model_digest) if log is not None and withdrawn is None else None
    return {
        "withdrawn": registry_log.why_barred(withdrawn) if withdrawn is not None else "",
        "rolled_back": registry_log.why_barred(bar, manifest.version) if bar is not None else "",
    }
