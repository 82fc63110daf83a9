"""What an operator does with a model's champion: promote, roll back, withdraw. Each is an entry of its log."""

from fer import errors
from fer.registry import ledger as registry_ledger
from fer.registry import log as registry_log
from fer.registry import registry
from fer.registry.log import Act, Entry


def promote(
    models: registry.Registry,
    name: str,
    version: int,
    reason: str = "",
    by: str | None = None,
    *,
    override: str = "",
) -> Entry | None:
    """Make `version` champion, and let runs promote it again if it was rolled back or withdrawn.

    `override` says why a version becomes champion that the gates refused. None: it is champion already. Raises
    ConfigError if it is not there or was refused, StoreConflict if another one moved the champion meanwhile.
    """
    manifest = models.promotable(name, version, override=bool(override.strip()))

    def promotion(state: registry_ledger.State) -> Act | None:
        if state.champion == version and state.log.bar(version, manifest.model_digest) is None:
            return None
        return Act(
            action="promote",
            by=by or registry_log.operator(),
            version=version,
            model_digest=manifest.model_digest,
            from_version=state.champion,
            to_version=version,
            reason=_valid(override or reason),
            override=manifest.status == "refused",
        )

    return _moved(models, name, promotion)


def rollback(
    models: registry.Registry, name: str, to: int | None = None, reason: str = "", by: str | None = None
) -> Entry:
    """Make the champion before the present one champion again, or `to`; no run promotes the version left again.

    Raises ConfigError if there is nothing to go back to, StoreConflict if another one moved the champion meanwhile.
    """
    if to is not None:
        models.promotable(name, to)

    def going_back(state: registry_ledger.State) -> Act:
        left = state.champion
        if left is None:
            raise errors.ConfigError(
                f"The model {name!r} must have a champion to go back from.",
                received="none",
                todo=f"name one: fer models promote {name}@VERSION",
            )
        digest = _digest(models, name, left, state)
        back = previous(models, name, state) if to is None else to
        if back is None:
            raise errors.ConfigError(
                f"The champion of {name!r} must have had one before it that was not rolled back or withdrawn.",
                received=f"version {left}, and no such one before it",
                todo=f"name one: fer models rollback {name} --to VERSION; or leave none: fer models withdraw "
                f"{name}@{left}",
            )
        if back == left or _digest(models, name, back, state) == digest:
            raise errors.ConfigError(
                "A rollback must lead to another model.",
                received=f"version {back}, the same as the champion",
                todo=f"see `fer models list` and `fer models log {name}`",
            )
        if (bar := state.log.bar(back, _digest(models, name, back, state))) is not None:
            raise errors.ConfigError(
                "A rollback must not lead to a version that was rolled back or withdrawn itself.",
                received=registry_log.why_barred(bar, back),
                todo="name another one by --to, or promote this one by name",
            )
        return Act(
            action="rollback",
            by=by or registry_log.operator(),
            version=left,
            model_digest=digest,
            from_version=left,
            to_version=back,
            reason=_valid(reason),
        )

    entry = _moved(models, name, going_back)
    if entry is None:
        raise AssertionError("a rollback writes an entry or raises")
    return entry


def withdraw(models: registry.Registry, name: str, version: int, reason: str, by: str | None = None) -> Entry | None:
    """Take a version out of use: no alias leads to it, and no run promotes it.

    If it is champion, the one before it becomes it again, or none if there is none. None: it was withdrawn already.
    Raises ConfigError if it is not there or no reason is given, StoreConflict if another one moved the champion
    meanwhile.
    """
    if not reason.strip():
        raise errors.ConfigError("A withdrawal must have a reason.", received="none", todo='give one: --reason "…"')
    if version not in models.log(name).claims():
        models.get(name, str(version))

    def withdrawal(state: registry_ledger.State) -> Act | None:
        if version in state.log.withdrawn:
            return None
        champion = previous(models, name, state) if state.champion == version else state.champion
        return Act(
            action="withdraw",
            by=by or registry_log.operator(),
            version=version,
            model_digest=_digest(models, name, version, state),
            from_version=state.champion,
            to_version=champion,
            reason=_valid(reason),
        )

    return _moved(models, name, withdrawal)


def previous(models: registry.Registry, name: str, state: registry_ledger.State) -> int | None:
    """The champion before the present one: the latest other model that was one and was not rolled back or withdrawn.

    What a version was compared with when it was registered tells who was champion before there was a log.
    """
    known = {manifest.version: manifest for manifest in models.versions(name)}
    line = state.log.lineage() or ([] if state.champion is None else [state.champion])
    while line and (oldest := known.get(line[0])) is not None:
        earlier = oldest.champion_at_registration
        if earlier is None or earlier in line:
            break
        line.insert(0, earlier)
    left = known[state.champion].model_digest if state.champion in known else None
    for version in reversed(line):
        manifest = known.get(version)
        if manifest is None or version == state.champion or manifest.model_digest == left:
            continue
        if version in state.log.cleared:
            continue
        if manifest.status != "refused" and state.log.bar(version, manifest.model_digest) is None:
            return version
    return None


def _moved(models: registry.Registry, name: str, decide: registry_ledger.Decision) -> Entry | None:
    """The entry that `decide` leads to, unless the champion is no more the one that the operator saw."""
    seen: list[str] = []

    def unless_moved(state: registry_ledger.State) -> Act | None:
        seen.append(state.id)
        if state.id != seen[0]:
            raise errors.StoreConflict(
                f"The champion of {name!r} must be as it was when the command was given.",
                received=f"version {state.champion} instead" if state.champion else "no champion any more",
                todo=f"see `fer models log {name}` and decide anew",
            )
        return decide(state)

    return models.ledger(name).move(unless_moved)


def _digest(models: registry.Registry, name: str, version: int, state: registry_ledger.State) -> str | None:
    """The digest of the version's model; None if neither a manifest nor the log knows it any more."""
    claimed = state.log.claims().get(version)
    if claimed is not None:
        return claimed.model_digest
    manifests = models.versions(name)
    return next((manifest.model_digest for manifest in manifests if manifest.version == version), None)


def _valid(reason: str) -> str:
    text = " ".join(reason.split())
    if len(text) > registry_log.MOST_CHARS:
        raise errors.ConfigError(
            f"A reason must have at most {registry_log.MOST_CHARS:,} characters.", received=f"{len(text):,}"
        )
    return text
