"""What a registration makes."""

from fer.engine.refs import Ref
from fer.evaluation.refs import Check
from fer.registry import names


class ReleaseRef(Ref):
    """A version in the model registry. `path` is the registry's, `digest` that of the version's manifest."""

    name: str
    version: int
    status: names.Status
    uri: str
    champion_version: int | None  # what the alias points to afterwards
    checks: tuple[Check, ...] = ()  # beside the verdict's: of the packed release, and of the test images' wear
    kept_because: str = ""  # of a version that is kept: why it is not promoted, and how it can be

    def summary(self) -> str:
        """One line for the terminal and the UI."""
        why = f": {self.kept_because}" if self.kept_because else ""
        return f"{self.name} version {self.version} {self.status}{why}; champion: {self.champion_version or 'none'}"

    def sentence(self) -> str:
        """The version's status, and which version is champion."""
        status = {"refused": "refused by the gates", "kept": "kept, not promoted"}.get(self.status, self.status)
        champion = f"; {self.name}@champion is version {self.champion_version}" if self.champion_version else ""
        return f"{self.name} version {self.version}: {status}{champion}"
