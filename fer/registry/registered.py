"""What the registry says of a release that a run came to."""

from typing import NamedTuple

from fer.registry import releases
from fer.registry.manifest import Manifest
from fer.registry.refs import ReleaseRef


class Registered(NamedTuple):
    """A version, and who registered it: a run's name and ID, or user@host; empty where the log does not say."""

    manifest: Manifest
    by: str


def read(release: ReleaseRef) -> Registered:
    """Read it. Raises IntegrityError if it was lost or changed, StoreError."""
    with releases.open_registry() as models:
        manifest = models.get(release.name, str(release.version))
        claim = models.log(release.name).claims().get(release.version)
    return Registered(manifest, "" if claim is None else claim.by)
