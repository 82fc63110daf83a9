"""The command `fer models list`."""

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.table import Table

from fer import errors
from flows.cli import console
from flows.cli.registry import opening

if TYPE_CHECKING:
    from fer.registry import registry
    from fer.registry.manifest import Manifest

_MOST_CHARS = 60  # of a reason


class Order(StrEnum):
    """By what versions are sorted, the newest or best first."""

    CREATED = "created"
    ACCURACY = "accuracy"
    MACRO_F1 = "macro-f1"


class _Row(NamedTuple):
    """A version and its marks: champion, pinned; and why it is withdrawn or rolled back."""

    manifest: "Manifest"
    marks: dict[str, bool]
    standing: dict[str, str]

    def key(self, order: Order) -> Any:
        if order is Order.CREATED:
            return self.manifest.created_utc
        metrics = self.manifest.metrics
        return metrics["accuracy"] if order is Order.ACCURACY else metrics["macro"]["f1"]

    def status(self) -> str:
        return next((name for name, reason in self.standing.items() if reason), self.manifest.status).replace("_", " ")

    def why(self) -> str:
        """Why it is no champion, in short: an operator's words, the verdict's decision, or what the gates measured."""
        if self.manifest.status == "released" and not any(self.standing.values()):
            return ""
        reasons = self.manifest.reasons
        text = next(filter(None, self.standing.values()), "")
        text = text or (reasons[-1] if self.manifest.status == "kept" and reasons else "; ".join(reasons))
        return text if len(text) <= _MOST_CHARS else f"{text[: _MOST_CHARS - 1]}…"


def list_models(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Of this model alone.")] = None,
    sort: Annotated[Order, typer.Option(help="What is first.")] = Order.CREATED,
    limit: Annotated[int, typer.Option(min=0, help="At most so many versions; 0: all.")] = 0,
    as_json: console.AsJson = False,
) -> None:
    """List the versions of every model, newest first, with which is champion and why others are not."""
    rows: list[_Row] = []
    remarks: list[str] = []
    failed: errors.IntegrityError | None = None
    with opening.opened() as models:
        for known in models.names() if name is None else (name,):
            found, faults = _of(models, known, remarks)
            failed = faults[-1] if faults else failed
            rows += found
    if sort is not Order.CREATED:
        rows.sort(key=lambda row: row.key(sort), reverse=True)
    n_all = len(rows)
    rows = rows[:limit] if limit else rows
    remarks = [f"{row.manifest.name}: {why}" for row in rows for why in row.standing.values() if why] + remarks
    if as_json:
        typer.echo(json.dumps([_document(row) for row in rows], indent=1))
    elif not rows and not remarks:
        empty = "The registry is empty." if name is None else f"There is no version of {console.plain(name)}."
        console.out.print(f"{empty} Make a first version: fer retrain")
    else:
        console.out.print(_table(rows))
        if len(rows) < n_all:
            console.out.print(f"{len(rows):,} of {n_all:,} versions; --limit 0 shows all.", highlight=False)
    screen = console.err if as_json else console.out
    for remark in remarks:
        screen.print(console.plain(remark), highlight=False, soft_wrap=True)
    if failed is not None:
        raise typer.Exit(failed.exit_code)


def _of(models: "registry.Registry", name: str, remarks: list[str]) -> tuple[list[_Row], list[errors.IntegrityError]]:
    """A model's versions, newest first, and what of it is not as it was written, which is remarked too."""
    from fer.registry import pins

    faults: list[errors.IntegrityError] = []
    state, pinned = None, {}
    try:
        state = models.ledger(name).read()
    except errors.IntegrityError as error:
        faults.append(error)
    try:
        pinned = pins.read(models, name)
    except errors.IntegrityError as error:
        faults.append(error)
    remarks += map(str, faults)
    log = state.log if state else None
    champion = state.champion if state else None
    versions = models.versions(name)[::-1]
    lost = set(log.claims() if log else ()) - {manifest.version for manifest in versions}
    remarks += [f"{name}@{version} was lost. Next: fer models repair {name}" for version in sorted(lost)]
    rows = [
        _Row(
            manifest,
            {"champion": champion == manifest.version, "pinned": manifest.version in pinned},
            opening.standing(manifest, log),
        )
        for manifest in versions
    ]
    return rows, faults


def _document(row: _Row) -> dict[str, Any]:
    return row.manifest.model_dump(mode="json") | row.marks | row.standing


def _table(rows: list[_Row]) -> Table:
    table = Table("model", "version", "status", "accuracy", "macro-F1", "created (UTC)", "alias", "why")
    for row in rows:
        table.add_row(
            row.manifest.name,
            str(row.manifest.version),
            row.status(),
            f"{row.manifest.metrics['accuracy']:.3f}",
            f"{row.manifest.metrics['macro']['f1']:.3f}",
            f"{row.manifest.created_utc:%Y-%m-%d %H:%M}",
            ", ".join(mark for mark, is_so in row.marks.items() if is_so),
            console.plain(row.why()),
        )
    return table
