"""The commands `fer models …`: what is in the registry, and what an operator does with a champion."""

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from fer import errors
from flows.cli import console
from flows.cli.comparing import models_diff
from flows.cli.exports import export
from flows.cli.operating import gc, pins
from flows.cli.provenance import reproduce
from flows.cli.registry import history, listing, opening
from flows.cli.trust import pull, sign, verify

if TYPE_CHECKING:
    from fer.registry import log as registry_log
    from fer.registry.repair import Finding

app = typer.Typer(help="The model registry: versions, their champion, and what was done with it.", no_args_is_help=True)
ModelName = Annotated[str, typer.Argument(metavar="NAME")]
OneVersion = Annotated[str, typer.Argument(metavar="NAME@VERSION")]
Reason = Annotated[str, typer.Option(help="Why; it is kept in the log.")]


app.command("list")(listing.list_models)
app.command("log")(history.show_log)


@app.command("show")
def show_model(
    spec: Annotated[str, typer.Argument(metavar="NAME@champion|NAME@VERSION")], as_json: console.AsJson = False
) -> None:
    """Show a version: its status and why, its figures, what it was made of, where its report is.

    With --json the whole record: metrics, recipe, inputs, environment, files; and the version's standing.
    """
    from fer.registry import names
    from fer.registry.trust import releases as signatures
    from flows.cli import models_show

    wanted = names.parse_spec(spec)
    with opening.opened(unsigned=True) as models:
        manifest = models.get(*wanted)
        state = models.ledger(manifest.name).read()
        signers = signatures.signers(models.store, manifest)
    standing = opening.standing(manifest, state.log)
    if as_json:
        more = {"champion": state.champion == manifest.version, "signed_by": signers}
        typer.echo(json.dumps(manifest.model_dump(mode="json") | more | standing, indent=1))
        return
    models_show.show(console.out, manifest, state, next(filter(None, standing.values()), ""), signers)


app.command("diff")(models_diff.diff)
app.command("gc")(gc.gc_of_models)
app.command("pin")(pins.pin)
app.command("unpin")(pins.unpin)
app.command("reproduce")(reproduce.reproduce)
app.command("export")(export.export)
app.command("sign")(sign.sign)
app.command("verify")(verify.verify)
app.command("pull")(pull.pull)


@app.command("promote")
def promote(
    spec: OneVersion,
    reason: Reason = "",
    override: Annotated[
        str, typer.Option(help="Why a version becomes champion that the gates refused; kept with your name.")
    ] = "",
    as_json: console.AsJson = False,
) -> None:
    """Make a version champion by name; what was rolled back or withdrawn may be promoted by runs again."""
    from fer.registry import moves

    name, version = _name_and_version(spec)
    with opening.opened() as models:
        entry = moves.promote(models, name, version, reason, override=override)
    if as_json:
        _echo_move(name, entry)
        return
    if entry is None:
        console.out.print(f"{name}@{version} is champion already.", highlight=False)
        return
    _print_move(entry)
    if entry.from_version is not None and entry.from_version > version:
        console.out.print(
            f"A run may promote version {entry.from_version} again; `fer models rollback` is what keeps it from that.",
            highlight=False,
            soft_wrap=True,
        )


@app.command("rollback")
def rollback(
    name: ModelName,
    to: Annotated[int | None, typer.Option(min=1, help="Where to; without it, the champion before.")] = None,
    reason: Reason = "",
    as_json: console.AsJson = False,
) -> None:
    """Go back to an earlier champion; no run promotes the version left until `promote` names it."""
    from fer.registry import moves

    with opening.opened() as models:
        entry = moves.rollback(models, name, to, reason)
    if as_json:
        _echo_move(name, entry)
        return
    _print_move(entry)


@app.command("withdraw")
def withdraw(
    spec: OneVersion,
    reason: Annotated[str, typer.Option(help="Why; it is kept in the log.")],
    as_json: console.AsJson = False,
) -> None:
    """Take a version out of use until `promote` names it. A champion gives way to the one before it, or to none."""
    from fer.registry import moves

    name, version = _name_and_version(spec)
    with opening.opened() as models:
        entry = moves.withdraw(models, name, version, reason)
    if as_json:
        _echo_move(name, entry)
        return
    if entry is None:
        console.out.print(f"{name}@{version} was withdrawn already.", highlight=False)
    else:
        console.out.print(f"{name}@{version} is withdrawn.", highlight=False)
        _print_move(entry)


@app.command("ledger")
def show_ledger(name: ModelName, as_json: console.AsJson = False) -> None:
    """List how often each test set was read by the gates, and what that does to what they promise."""
    from fer.registry import reads

    with opening.opened() as models:
        ledger = reads.ledger(models.versions(name), lambda manifest: reads.tested_on(models, manifest))
    if as_json:
        typer.echo(json.dumps([read.model_dump(mode="json") for read in ledger], indent=1))
        return
    if not ledger:
        console.out.print(f"No version of {console.plain(name)} says what it was tested on. See: fer models list")
        return
    table = Table("test set", "images", "verdicts", "with a champion", "reads an image", "by luck, at most")
    for heading in ("accuracy ±, read once", "±, after these", "first (UTC)", "last (UTC)"):
        table.add_column(heading)
    for read in ledger:
        counts = (f"{read.n_images:,}", f"{len(read.versions):,}", f"{read.n_comparisons:,}", f"{read.per_image:,.4g}")
        bounds = (f"{read.accuracy_within_once:.3f}", f"{read.accuracy_within:.3f}")
        times = (f"{when:%Y-%m-%d %H:%M}" for when in (read.first, read.last))
        table.add_row(read.test_set[:12], *counts, f"{read.by_luck:.2f}", *bounds, *times)
    console.out.print(table)
    for read in ledger:
        if read.is_worn:
            console.out.print(
                f"{read.test_set[:12]} is worn: {read.per_image:,.4g} verdicts have read an image of it, and "
                f"gate.max_reads is {read.max_reads:,}. Next: draw fresh test images by a higher split.rotation, once "
                "new images have come; or add an official test split",
                highlight=False,
                soft_wrap=True,
            )


@app.command("repair")
def repair(
    name: ModelName,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this it is only shown.")] = False,
    as_json: console.AsJson = False,
) -> None:
    """Find what of a model was lost or damaged, and with --yes put back what can be.

    Exit code 0: nothing is missing, or all was put back; 7: something is not.
    """
    from fer.registry import repair as registry_repair

    with opening.opened(unsigned=True) as models:
        findings = registry_repair.repair(models, name, apply=yes)
    if as_json:
        document = {"name": name, "applied": yes, "findings": [finding._asdict() for finding in findings]}
        typer.echo(json.dumps(document, indent=1))
    else:
        _print_findings(name, findings, applied=yes)
    if findings and not (yes and all(finding.fix for finding in findings)):
        raise typer.Exit(errors.IntegrityError.exit_code)


def _print_findings(name: str, findings: "list[Finding]", *, applied: bool) -> None:
    if not findings:
        console.out.print(f"Nothing of {console.plain(name)} is missing.", highlight=False)
        return
    for finding in findings:
        mark, fix = "[green]✓[/]" if applied else "[yellow]![/]", finding.fix
        if not fix:
            mark, fix = "[red]✗[/]", _UNREPAIRED
        text = f"{mark} {console.plain(finding.what)}\n  → {console.plain(fix)}"
        console.out.print(text, highlight=False, soft_wrap=True)
    if not applied:
        console.out.print("Nothing was changed.", highlight=False)
        if any(finding.fix for finding in findings):
            console.out.print(f"next:  fer models repair {console.plain(name)} --yes", highlight=False)


_UNREPAIRED = "this can't be put back from here: restore it from a backup, or withdraw the version"


def _name_and_version(spec: str) -> tuple[str, int]:
    from fer.registry import names

    name, which = names.parse_spec(spec)
    if not which.isdecimal():
        raise errors.ConfigError("A version must be given by its number.", received=spec, todo=f"{name}@VERSION")
    return name, int(which)


def _echo_move(name: str, entry: "registry_log.Entry | None") -> None:
    """One JSON document: the entry of the log; null where nothing was to be done."""
    written = None if entry is None else entry.model_dump(mode="json") | {"digest": entry.digest}
    typer.echo(json.dumps({"name": name, "entry": written}, indent=1))


def _print_move(entry: "registry_log.Entry") -> None:
    champion = f"version {entry.to_version}" if entry.to_version else "none"
    before = f"version {entry.from_version}" if entry.from_version else "none"
    move = f"; before: {before}" if entry.moves else ""
    console.out.print(f"{entry.name}@champion is {champion}{move}", highlight=False, soft_wrap=True)
    if entry.action != "promote":
        console.out.print(
            f"No run promotes version {entry.version} again until it is named: fer models promote "
            f"{entry.name}@{entry.version}",
            highlight=False,
            soft_wrap=True,
        )
