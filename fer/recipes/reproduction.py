"""Whether a release came out the same when it was made again from its manifest; if not, where it first differs and why.

Stages are compared by the digests of their outputs, in the order in which they were made. The first one that differs
was given what it was given then, so that what its key was made of says why: a setting, code, or a library.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from fer.engine.code import key_parts
from fer.engine.code.key_parts import KeyParts
from fer.engine.records import Record
from fer.recipes import reasons
from fer.registry.manifest import Manifest
from fer.registry.provenance import lineage
from fer.registry.provenance.lineage import Traced

_NO_STAGES = ("source", "split_origin", "weights_origin", "weights")  # names in `Manifest.inputs` without a digest
_DRAWN, _FINAL = (
    "split",
    "label errors",
)  # the split of `Manifest.inputs` is that of the second, where labels are looked at
_MOST_CAUSES = 20


class Compared(Record):
    """A stage: the digests of its outputs in the release and made again; several, where it ran several times."""

    stage: str
    before: tuple[str, ...]
    after: tuple[str, ...] = Field(description="empty: not made again")

    @property
    def differs(self) -> bool:
        """Whether it was made again and came out otherwise."""
        return bool(self.after) and self.before != self.after


class Reproduction(Record):
    """What came of making a release again. `causes` say why the `first_difference` is one, as far as is known."""

    release: str
    is_same: bool
    stages: tuple[Compared, ...]
    first_difference: str = ""
    causes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = Field(default=(), description="what else is not as it was")
    n_forgotten: int = Field(default=0, description="images that the release knew and that are to be forgotten")

    def sentence(self) -> str:
        """What came of it, in one line."""
        forgotten = ""
        if self.n_forgotten:
            forgotten = f"; it knew {self.n_forgotten:,} images that are to be forgotten since, and must be retrained"
        if self.is_same:
            n_stages = sum(bool(stage.after) for stage in self.stages)
            return f"{self.release}: the same bits, in all {n_stages:,} stages that were made again{forgotten}"
        why = f": {'; '.join(self.causes)}" if self.causes else ""
        return f"{self.release} differs, first in {self.first_difference}{why}{forgotten}"


class Expected(NamedTuple):
    """What a release says of itself. `parts` are empty for one from before there was `lineage.json`."""

    manifest: Manifest
    digests: Mapping[str, tuple[str, ...]]  # stage -> of its outputs, sorted
    parts: Mapping[str, tuple[KeyParts, ...]]  # stage -> of the keys of its outputs

    @property
    def is_old(self) -> bool:
        """Whether only the digests of some stages are known."""
        return self.manifest.lineage is None


class Now(NamedTuple):
    """What this code and machine are: the fingerprint of all stages' code, and the environment of a training."""

    code_fingerprint: str
    environment: Mapping[str, str]


def expected(manifest: Manifest, release: Path) -> Expected:
    """What the release with its files in the folder `release` says of the outputs that it was made of."""
    if manifest.lineage is None:
        inputs = {name: digest for name, digest in manifest.inputs.items() if name not in _NO_STAGES}
        return Expected(manifest, {name: (digest,) for name, digest in inputs.items()}, {})
    known = Traced(manifest.lineage.stages, lineage.read(release / lineage.FILE))
    return Expected(manifest, _digests(known), _parts(known))


def compare(before: Expected, made: Traced, now: Now) -> Reproduction:
    """The release beside what was made again, which may be the first of its stages only."""
    digests, parts = _digests(made), _parts(made)
    if before.is_old:
        digests = {name: digest for name, digest in digests.items() if name != _DRAWN or _FINAL not in digests}
        digests = {_DRAWN if name == _FINAL else name: digest for name, digest in digests.items()}
    order = [*digests, *(stage for stage in before.digests if stage not in digests)]
    stages = tuple(
        Compared(stage=stage, before=before.digests[stage], after=digests.get(stage, ()))
        for stage in order
        if stage in before.digests
    )
    first = next((stage.stage for stage in stages if stage.differs), "")
    causes: tuple[str, ...] = ()
    if first:
        found = list(_changes(before.parts.get(first, ()), parts.get(first, ())))
        causes = (*found[:_MOST_CAUSES], *_unexplained(before, now, is_explained=bool(found)))
    return Reproduction(
        release=f"{before.manifest.name}@{before.manifest.version}",
        is_same=not first and any(stage.after for stage in stages),
        stages=stages,
        first_difference=first,
        causes=causes,
        remarks=tuple(_remarks(before, parts, now, stages, first)),
    )


def _digests(traced: Traced) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for output in traced.stages:
        found.setdefault(output.stage, []).append(output.digest)
    return {stage: tuple(sorted(digests)) for stage, digests in found.items()}


def _parts(traced: Traced) -> dict[str, tuple[KeyParts, ...]]:
    found: dict[str, list[KeyParts]] = {}
    for output in traced.stages:
        if output.output in traced.parts:
            found.setdefault(output.stage, []).append(traced.parts[output.output])
    return {stage: tuple(parts) for stage, parts in found.items()}


def _changes(before: Sequence[KeyParts], after: Sequence[KeyParts]) -> Iterator[str]:
    """What the keys of a stage's outputs were made of otherwise, beside other data; each once."""
    told: set[str] = set()
    for parts in after:
        nearest = key_parts.nearest(parts, before, lambda known: known)
        for change in () if nearest is None else reasons.between(nearest, parts):
            sentence = change.sentence()
            is_traced = change.kind == "input" and change.name != lineage.FORGOTTEN  # told of its own stage
            if sentence not in told and not (is_traced and change.before and change.after):
                told.add(sentence)
                yield sentence


def _unexplained(before: Expected, now: Now, *, is_explained: bool) -> Iterator[str]:
    """What is known beside the stage's key, where that does not tell."""
    if is_explained:
        return
    if before.is_old and now.code_fingerprint != before.manifest.code_fingerprint:
        yield "the code of some stage, or a library, is not that of the release, which does not say which"
    changed = list(_environment(before.manifest.environment, now.environment))
    yield from changed
    if not changed and now.code_fingerprint == before.manifest.code_fingerprint:
        yield (
            "settings, code, libraries and machine are those of the release: the computation does not repeat itself "
            "here, or the release's files are not what its stages made"
        )


def _environment(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for name in sorted(before.keys() & after.keys()):
        if before[name] != after[name]:
            yield f"{name}: {key_parts.short(before[name])} → {key_parts.short(after[name])}"


def _remarks(
    before: Expected,
    parts: Mapping[str, tuple[KeyParts, ...]],
    now: Now,
    stages: Sequence[Compared],
    first: str,
) -> Iterator[str]:
    if now.code_fingerprint != before.manifest.code_fingerprint:
        yield "the code, or a library, is not that of the release"
    for stage in stages:
        if stage.after and not stage.differs and stage.stage in before.parts:
            for change in _changes(before.parts[stage.stage], parts.get(stage.stage, ())):
                yield f"{stage.stage} came out the same although {change}"
    if not first:
        for change in _environment(before.manifest.environment, now.environment):
            yield f"trained on another machine or with other libraries, {change}"
    not_made = [stage.stage for stage in stages if not stage.after]
    if not_made:
        yield f"not made again: {', '.join(not_made)}"
