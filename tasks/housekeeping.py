"""What nothing needs any more, as a run in Prefect."""

from fer import errors, settings
from fer.housekeeping import collect as collection
from fer.housekeeping.liveness import Policy
from fer.registry import releases
from tasks import caching
from tasks.results import Collected
from tasks.shown import artifacts


@caching.uncached("collect garbage")
def collect(policy: Policy, delete: bool) -> Collected:
    """Find what goes by the policy and, with `delete`, remove it.

    Raises IntegrityError if something that is needed is not whole afterwards; StoreError, WorkspaceError.
    """
    with releases.open_registry() as models:
        found = collection.Collection(settings.Settings.load(), policy, models)
        rows: list[dict[str, str | int | float]] = [
            {
                "kind": row.kind,
                "goes": row.n_goes,
                "room": collection.room(row.goes_bytes),
                "stays": row.n_stays,
                "its room": collection.room(row.stays_bytes),
            }
            for row in found.by_kind()
        ]
        artifacts.table("gc", rows, "What nothing needs any more, and what stays")
        if not delete:
            return Collected(n_gone=0, freed_bytes=0, sentence=found.preview())
        removed, proof = found.remove(), found.prove()
    if proof.faults:
        raise errors.IntegrityError(
            "What is needed must be whole.",
            received="; ".join(proof.faults[:5]),
            todo="fer models repair NAME, or restore it from a backup; outputs are made again by the next run",
        )
    return Collected(
        n_gone=len(removed.gone),
        freed_bytes=removed.freed_bytes,
        sentence=f"{removed.sentence()}; {proof.sentence()}",
    )
