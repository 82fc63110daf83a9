"""What `fer models show` says of a version, on one screen."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from flows.cli.console import plain

if TYPE_CHECKING:
    from fer.registry.ledger import State
    from fer.registry.manifest import Manifest

_COLOURS = {"released": "green", "kept": "yellow", "refused": "red"}
_MODEL = "model.keras"
_DIGEST_CHARS = 12


def show(console: Console, manifest: "Manifest", state: "State", standing: str, signers: Sequence[str] = ()) -> None:
    """Print it. `standing` says why it was withdrawn or rolled back; empty where it was not.

    `signers` are the keys by which it says that it is signed.
    """
    name = f"{manifest.name}@{manifest.version}"
    champion = (
        f"{manifest.name}@champion"
        if state.champion == manifest.version
        else f"champion: version {state.champion}"
        if state.champion
        else "no champion"
    )
    status = f"[{_COLOURS[manifest.status]}]{manifest.status}[/]"
    console.print(f"[bold]{plain(name)}[/]  {status}, {plain(champion)}", highlight=False, soft_wrap=True)
    if standing:
        console.print(f"[yellow]![/] {plain(standing)}", highlight=False, soft_wrap=True)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    claim = state.log.claims().get(manifest.version)
    table.add_row("made", plain(f"{manifest.created_utc:%Y-%m-%d %H:%M} UTC" + (f" by {claim.by}" if claim else "")))
    if signers:
        verify = f"fer models verify {manifest.name}@{manifest.version}"
        table.add_row("signed", plain(f"as it says, by the key {', '.join(signers)}; {verify} tells"))
    for name, text in [*_figures(manifest.metrics), *_made_of(manifest)]:
        table.add_row(name, plain(text))
    for number, reason in enumerate(manifest.reasons):
        table.add_row("gates" if not number else "", plain(reason))
    console.print(table)
    console.print(
        f"next:  fer report {manifest.name}@{manifest.version}   |   "
        f"fer models show {manifest.name}@{manifest.version} --json   |   fer models log {manifest.name}",
        highlight=False,
        soft_wrap=True,
    )


def _figures(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """The test's figures; older versions lack some of them."""
    lines = [
        f"accuracy {metrics['accuracy']:.3f}{_interval(metrics, 'accuracy_interval')}",
        f"macro-F1 {metrics['macro']['f1']:.3f}{_interval(metrics, 'macro_f1_interval')}",
    ]
    images = f" on {metrics['n_images']:,} test images" if "n_images" in metrics else ""
    rows = [("test", f"{', '.join(lines)}{images}")]
    if clean := metrics.get("deduplicated"):
        rows.append(("", f"{clean['accuracy']:.3f} on the {clean['n_images']:,} de-duplicated ones"))
    if probabilities := metrics.get("probabilities"):
        rows.append(
            (
                "",
                f"calibration error {probabilities['adaptive_calibration_error']:.3f}, "
                f"log loss {probabilities['log_loss']:.3f}, top-2 {probabilities['top_2_accuracy']:.3f}",
            )
        )
    if classes := metrics.get("per_class"):
        rows.append(("F1", ", ".join(f"{row['name']} {row['f1']:.2f}" for row in classes)))
    return rows


def _interval(metrics: dict[str, Any], name: str) -> str:
    return f" [{metrics[name][0]:.3f}, {metrics[name][1]:.3f}]" if name in metrics else ""


def _made_of(manifest: "Manifest") -> list[tuple[str, str]]:
    train, model = manifest.recipe.get("train", {}), manifest.files.get(_MODEL)
    kind = train.get("model", {}).get("name")
    size = f"{model.size_bytes / 1e6:,.2f} MB" if model is not None else ""
    compared = manifest.champion_at_registration
    rows = [
        ("model", ", ".join(filter(None, (kind, size)))),
        ("recipe", ", ".join(_recipe(manifest))),
        ("data", ", ".join(filter(None, (manifest.inputs.get("source"), _digest(manifest.inputs.get("index")))))),
        ("code", _digest(manifest.code_fingerprint)),
        ("compared", f"with version {compared}, champion then" if compared else ""),
    ]
    return [(name, text) for name, text in rows if text]


def _recipe(manifest: "Manifest") -> list[str]:
    seed = manifest.recipe.get("train", {}).get("seed")
    words = [str(manifest.recipe.get("name", ""))] + ([] if seed is None else [f"seed {seed}"])
    return [word for word in words if word]


def _digest(text: str | None) -> str:
    return (text or "")[:_DIGEST_CHARS]
