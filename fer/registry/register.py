"""The stage `register`: a trained and judged model becomes a version, and the champion if it passed its gates."""

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import pyarrow.parquet as pq

from data_contracts import files
from fer import errors
from fer.curation.refs import SplitRef
from fer.engine.outputs import OutputRecord
from fer.engine.records import Record
from fer.engine.refs import Ref
from fer.engine.workspace import Workspace
from fer.evaluation import evaluate
from fer.evaluation.config import GateConfig
from fer.evaluation.refs import ChampionState, EvaluationRef, Examination, ExportsRef, Opponents, VerdictRef
from fer.ingest.refs import ManifestRef
from fer.models import saved_model
from fer.progress import Progress, silent
from fer.registry import ledger, names, reads, registry, releases, trained_on, trial
from fer.registry import log as registry_log
from fer.registry.manifest import ComparedWith, Manifest, Registration
from fer.registry.opponents import champion
from fer.registry.provenance import lineage as provenance
from fer.registry.refs import ReleaseRef
from fer.registry.trust import bill as bill_of_materials
from fer.shards import shown
from fer.shards.refs import ShardsRef
from fer.training.refs import ModelRef, SeedsRef, WeightsRef

_STAGE, _RELEASE = "register", "release.json"


class Candidate(Record):
    """A trained model with all that its version will say of it."""

    name: names.Name  # of the model in the registry
    recipe: str  # JSON
    code_fingerprint: str  # of all code that the recipe's stages run
    lineage: dict[str, str]  # see `lineage`
    split: SplitRef  # that the model was trained on
    tested: SplitRef  # whose test images it was judged by
    model: ModelRef
    seeds: SeedsRef | None = None  # those that the model was chosen from
    examination: Examination = Examination()
    exports: ExportsRef | None = None
    shards: ShardsRef  # with the test images
    evaluation: EvaluationRef
    verdict: VerdictRef
    gate: GateConfig = GateConfig()

    @property
    def registration_key(self) -> str:
        """SHA-256 (hex) of what makes a release: the same one is registered once."""
        parts = [self.recipe, self.model.digest, self.evaluation.digest, self.verdict.digest]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def outputs(self) -> tuple[Ref, ...]:
        """All that it was judged by, and is."""
        others = (ref for ref in (self.seeds, self.exports) if ref is not None)
        return (self.split, self.tested, self.model, self.evaluation, *others, *self.examination.refs(), self.verdict)


def registered(candidate: Candidate) -> ReleaseRef | None:
    """The candidate's release, if all is done that `register` does: it is there and, if it passed its gates, is the
    champion or barred from becoming it."""
    with releases.open_registry() as models:
        manifest = _registered(candidate, models)
        if manifest is None:
            return None
        release = _release(models, manifest, models.ledger(manifest.name).read(), candidate.verdict)
        is_done = release.status != "released" or release.champion_version == release.version
        return release if is_done else None


def _registered(candidate: Candidate, models: registry.Registry) -> Manifest | None:
    key = candidate.registration_key
    same = [version for version in models.versions(candidate.name) if version.registration_key == key]
    if not same:
        return None
    cleared = models.log(candidate.name).cleared
    return next((version for version in same if version.version not in cleared), None)


class RegisteredRef(Ref):
    """`release.json`: that a run came to a release of this model, and how long that took."""

    seconds: float = 0.0
    model: str = ""


def remember(candidate: Candidate, release: ReleaseRef, seconds: float, workspace: Workspace) -> None:
    """Commit to the workspace that a run came to this release. Raises WorkspaceError, StoreError."""

    def write(out: Path) -> RegisteredRef:
        (out / _RELEASE).write_text(release.model_dump_json(indent=1))
        return RegisteredRef(seconds=round(seconds, 3), model=candidate.name)

    workspace.run(_STAGE, _key(candidate, release), RegisteredRef, write, resumable=False)


def remembered(candidate: Candidate, release: ReleaseRef, workspace: Workspace) -> OutputRecord | None:
    """What tells which run came to this release; None if none is known: a version can be kept that was released."""
    return workspace.record(_STAGE, _key(candidate, release))


def _key(candidate: Candidate, release: ReleaseRef) -> str:
    parts = [candidate.name, candidate.registration_key, release.status, release.kept_because]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def register(
    candidate: Candidate,
    champion_state: ChampionState,
    *,
    report: Ref,
    by: str | None = None,
    workspace: Workspace,
    progress: Progress = silent,
) -> ReleaseRef:
    """Register a version, released, kept or refused as the verdict says, and make a released one champion.

    Before that the packed release is tried in a process of its own: one that does not answer as it was judged, or is
    far slower than the champion, is refused. Beside the files lies a bill of materials of this environment.
    A model that was rolled back or withdrawn is kept without being promoted, under whatever version it comes again.
    `report` is the evaluation's, for people, and `by` the run. Raises StoreConflict if another run moved the champion
    alias since `champion_state` was read, IntegrityError if something of the registry was lost.
    """
    with tempfile.TemporaryDirectory() as temporary, releases.open_registry() as models:
        manifest = _registered(candidate, models)
        if manifest is None:
            traced = provenance.trace(candidate.outputs(), workspace)
            content = _packed(candidate, report, traced, Path(temporary), workspace)
            tried = _tried(candidate, champion_state.opponents, Path(temporary), workspace, progress)
            registration = _registration(candidate, models, champion_state.opponents, tried, workspace).model_copy(
                update={"lineage": provenance.Lineage(run=by or "", stages=traced.stages)}
            )
            bill = bill_of_materials.document(registry_log.now())
            manifest = models.register(candidate.name, content, registration, progress, by, bill)
        release = _release(models, manifest, models.ledger(manifest.name).read(), candidate.verdict)
        if release.status != "released":
            return release
        champion_version = _promote(models, manifest, champion_state, candidate.verdict, by).version
        return release.model_copy(update={"champion_version": champion_version})


def _packed(
    candidate: Candidate, report: Ref, traced: provenance.Traced, out: Path, workspace: Workspace
) -> dict[str, Path]:
    """All files of the release, in the folder `out`: name -> path."""
    model_folder = workspace.folder(candidate.model)
    (out / champion.MODEL).write_text(candidate.model.model_dump_json(indent=1))
    known_images = trained_on.table(workspace.folder(candidate.split), model_folder)
    pq.write_table(known_images, out / files.TRAINED_ON, compression="zstd")
    test_images = reads.table(workspace.folder(candidate.tested))
    pq.write_table(test_images, out / files.TESTED_ON, compression="zstd")
    pq.write_table(shown.table(workspace.folder(candidate.shards)), out / files.SHOWN, compression="zstd")
    refs = [candidate.verdict, candidate.model, candidate.evaluation, report]
    refs += [] if candidate.seeds is None else [candidate.seeds]
    refs += candidate.examination.refs()
    refs += [] if candidate.exports is None else [candidate.exports]
    for ref in refs:
        for path in sorted(workspace.folder(ref).iterdir()):
            if path.is_file() and not path.name.startswith("_"):
                shutil.copyfile(path, out / path.name)
    provenance.write(traced, out, workspace)
    return {path.name: path for path in sorted(out.iterdir())}


def _tried(
    candidate: Candidate, opponents: Opponents, packed: Path, workspace: Workspace, progress: Progress
) -> trial.Trial:
    released = opponents.champion
    material = trial.Material(
        shards=None if candidate.tested.n_folds else workspace.folder(candidate.shards),
        champion=None if released is None else workspace.folder(released.model),
        champion_version=None if released is None else released.version,
        is_timed=True,
    )
    return trial.run(packed, material, candidate.gate, progress=progress)


def _release(models: registry.Registry, manifest: Manifest, state: ledger.State, verdict: VerdictRef) -> ReleaseRef:
    """What a version is now: refused by its gates; kept as it is barred from becoming champion, or as its verdict does
    not replace the champion; or released."""
    status, kept_because = manifest.status, ""
    if status != "refused" and state.champion == manifest.version:
        status = "released"
    elif status != "refused":
        bar = state.log.bar(manifest.version, manifest.model_digest)
        if bar is not None:
            status, kept_because = "kept", registry_log.why_barred(bar, manifest.version)
        elif not verdict.promotes:
            status, kept_because = "kept", _why_kept(manifest.name, manifest.version, verdict)
        else:
            status = "released"
    return ReleaseRef(
        path=f"{manifest.name}@{manifest.version}",
        digest=hashlib.sha256(manifest.model_dump_json().encode()).hexdigest(),
        name=manifest.name,
        version=manifest.version,
        status=status,
        checks=(
            *(() if manifest.trial is None else manifest.trial.checks),
            *(() if manifest.reads is None else (manifest.reads,)),
        ),
        kept_because=kept_because,
        uri=models.uri(manifest),
        champion_version=state.champion,
    )


def _registration(
    candidate: Candidate, models: registry.Registry, opponents: Opponents, tried: trial.Trial, workspace: Workspace
) -> Registration:
    verdict = candidate.verdict
    bar = models.log(candidate.name).bar(None, candidate.model.digest) if verdict.promotes else None
    passed = verdict.passed and not tried.reason()
    split_folder = workspace.folder(candidate.tested)
    wear = reads.check(
        models.versions(candidate.name),
        lambda manifest: reads.tested_on(models, manifest),
        split_folder,
        candidate.gate,
    )
    reasons = [check.detail for check in (*verdict.checks, *tried.checks, *([wear] if wear.warns else []))]
    reasons += [verdict.decision] if verdict.decision else []
    reasons += [registry_log.why_barred(bar)] if bar else []
    return Registration(
        status="refused" if not passed else "released" if verdict.replaces and bar is None else "kept",
        reasons=tuple(reasons),
        registration_key=candidate.registration_key,
        model_digest=candidate.model.digest,
        recipe=json.loads(candidate.recipe),
        inputs=candidate.lineage,
        code_fingerprint=candidate.code_fingerprint,
        metrics=json.loads((workspace.folder(candidate.evaluation) / evaluate.METRICS).read_bytes()),
        environment=saved_model.environment(workspace.folder(candidate.model)),
        champion_at_registration=verdict.champion_version,
        compared_with=ComparedWith(
            anchor=verdict.anchor_version, changes=opponents.changes, waivers_used=opponents.waivers_used
        ),
        trial=tried,
        reads=wear,
        test_set=reads.digest(split_folder),
    )


def _why_kept(name: str, version: int, verdict: VerdictRef) -> str:
    return f"{verdict.decision}; `fer models promote {name}@{version}` makes it champion all the same"


def _promote(
    models: registry.Registry,
    manifest: Manifest,
    champion_state: ChampionState,
    verdict: VerdictRef,
    by: str | None,
) -> registry.Alias:
    expected = None
    if champion_state.alias_version is not None and champion_state.alias_state is not None:
        expected = registry.Alias(champion_state.alias_version, champion_state.alias_state)
    why = registry.Why(verdict.decision[: registry_log.MOST_CHARS], waiver=verdict.for_a_reason)
    try:
        return models.promote(manifest.name, manifest.version, expected, by, why)
    except errors.StoreConflict as error:
        raise errors.StoreConflict(
            f"The champion of {manifest.name!r} must be the one that this run's candidate was compared with.",
            received=f"another run moved it meanwhile; this candidate is version {manifest.version}",
            todo="run the same command again: the candidate is then compared with the new champion",
        ) from error


def lineage(manifest: ManifestRef, split: SplitRef, *others: Ref) -> dict[str, str]:
    """What a release was made of: the source, where the splits come from, and each stage's digest.

    For weights it is their identity: `registry:NAME@VERSION:…`, or their file's digest; `weights_origin` says what they
    were trained on.
    """
    inputs = {"source": manifest.source, "split_origin": split.origin, "split": split.digest}
    for ref in (manifest, *others):
        inputs[ref.path.split("/")[0]] = ref.identity if isinstance(ref, WeightsRef) else ref.digest
    for ref in others:
        if isinstance(ref, WeightsRef):
            inputs["weights_origin"] = ref.origin
    return inputs
