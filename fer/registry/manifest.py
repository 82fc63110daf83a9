"""A version's manifest: what it says about itself, and its files."""

from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import AwareDatetime, Field

from fer.engine.records import Record
from fer.evaluation.refs import Check
from fer.registry import names
from fer.registry.provenance.lineage import Lineage


class File(Record):
    """One file of a version."""

    key: str
    sha256: str = Field(pattern=rf"^{names.SHA256}$")
    size_bytes: int = Field(ge=0)


class Latency(Record):
    """Medians on this machine: milliseconds for one image, and for a batch of 32; `ratio` to the champion's, round by
    round, with its interval at 99 %, None without a champion.
    """

    image_ms: float
    batch_ms: float
    image_ratio: float | None = None
    image_ratio_interval: tuple[float, float] | None = None
    batch_ratio: float | None = None
    batch_ratio_interval: tuple[float, float] | None = None
    n_rounds: int  # of one image each


class Trial(Record):
    """What came of a release's trial; it is in the release's manifest."""

    checks: tuple[Check, ...] = ()
    latency: Latency | None = None  # None: it could not be loaded, or was not timed
    machine: str = ""  # on which it was tried: kind of device; processor, cores

    def reason(self) -> str:
        """The details of the failed checks; empty if there are none."""
        return "; ".join(check.detail for check in self.checks if not check.passed)


class ComparedWith(Record):
    """What a version met at its registration beside the champion: see `fer.evaluation.refs.Opponents`."""

    anchor: int | None = None
    changes: tuple[str, ...] = ()
    waivers_used: tuple[str, ...] = ()


class Registration(Record):
    """What a version says about itself: how it came about, how good it is, what the gates said."""

    status: names.Status = Field(description="kept: passed its gates, but is not promoted")
    reasons: tuple[str, ...] = Field(description="the verdict's lines")
    registration_key: str = Field(min_length=1, description="a second registration with it is the first one")
    model_digest: str
    recipe: dict[str, Any]
    inputs: dict[str, str] = Field(description="stage -> digest of its output; of weights, which they are")
    code_fingerprint: str
    metrics: dict[str, Any]
    environment: dict[str, str] = Field(description="of the training: library -> version; what else decides its bits")
    champion_at_registration: int | None = Field(description="the version that it was compared with")
    compared_with: ComparedWith = Field(default=ComparedWith(), description="what else it was compared with")
    trial: Trial | None = Field(default=None, description="of the packed release; None: from before there were trials")
    reads: Check | None = Field(default=None, description="how often its test images were read by gates")
    test_set: str = Field(default="", description="SHA-256 of the pixels of all test images that it was judged by")
    lineage: Lineage | None = Field(
        default=None, description="each stage's output; None: from before there was `lineage.json`"
    )


class Manifest(Registration):
    """A version."""

    format_version: Literal[1] = 1
    name: names.Name
    version: int = Field(ge=1)
    created_utc: AwareDatetime
    files: dict[Annotated[str, Field(pattern=rf"^{names.FILE}$")], File]

    @pydantic.model_validator(mode="after")
    def _files_are_its_own(self) -> Self:
        for file in self.files.values():
            if not file.key.startswith(f"models/{self.name}/files/") or ".." in file.key:
                raise ValueError(f"a file's key must be under models/{self.name}/files/")
        return self
