"""The command `fer why`: what made a stage run."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli import console

if TYPE_CHECKING:
    from fer.engine.outputs import OutputRecord
    from fer.engine.workspace import Workspace


def why(
    stages: Annotated[
        list[str],
        typer.Argument(
            help="A stage, as `train` or `label-errors`: its newest output; or one output, as `train/KEY`, of which "
            "the first digits are enough.",
            metavar="STAGE…",
        ),
    ],
    as_json: console.AsJson = False,
) -> None:
    """Say what made a stage run: which settings, data, code or libraries changed since the nearest earlier output.

    An input that is other data is followed to the stages before. Nothing is run, and nothing is written.
    """
    from fer import settings
    from fer.engine import connect

    configured = settings.Settings.load()
    configured.require_home()
    with connect.looked_at(configured) as workspace:
        found = [_newest(stage, workspace) for stage in stages]
        if as_json:
            typer.echo(json.dumps([_document(record, workspace) for record in found], indent=1, ensure_ascii=False))
            return
        for record in found:
            _show(record, workspace)


def _newest(named: str, workspace: "Workspace") -> "OutputRecord":
    from fer import errors
    from fer.recipes import reasons

    stage, slash, key = named.partition("/")
    for name in (stage, stage.replace("-", " ")):
        if found := reasons.newest(f"{name}{slash}{key}", workspace):
            return found
    here = sorted(path.name for path in workspace.root.glob("[!.]*") if path.is_dir())
    raise errors.ConfigError(
        "A stage must have an output in the workspace, to say what made it.",
        received=f"none of {named!r}",
        todo=f"name one of {', '.join(here)}" if here else "run `fer retrain` first",
    )


def _show(record: "OutputRecord", workspace: "Workspace") -> None:
    from fer.recipes import reasons

    def line(text: str, indent: int = 0, style: str = "") -> None:
        console.out.print(f"{'  ' * indent}{console.plain(text)}", style=style or None, highlight=False, soft_wrap=True)

    took = "" if record.seconds is None else f", in {record.seconds:,.1f} s"
    line(record.path, style="bold")
    line(f"{record.provenance() or 'by an earlier version'}{took}; {record.size_bytes / 1e6:,.1f} MB", 1)
    reason = reasons.of_output(record, workspace)
    if reason is None:
        line("what it was made from was not kept", 1)
        return
    if reason.nearest is None:
        line(reason.sentence(), 1)
        return
    line(f"nearest earlier output: {reason.nearest.path}, {reason.nearest.provenance()}", 1, "dim")
    for sentence in reason.sentences() or [reason.sentence()]:
        line(sentence, 1)
    for cause in reasons.causes(reason, workspace):
        line(f"{cause.output}: {cause.reason.sentence()}", cause.depth + 1)


def _document(record: "OutputRecord", workspace: "Workspace") -> dict[str, Any]:
    from fer.recipes import reasons

    reason = reasons.of_output(record, workspace)
    return {
        "output": record.path,
        "made_by": record.made_by,
        "made_utc": record.made_utc,
        "made_on": record.made_on,
        "seconds": record.seconds,
        "size_bytes": record.size_bytes,
        "nearest": None if reason is None or reason.nearest is None else reason.nearest.path,
        "changes": None if reason is None else [change._asdict() for change in reason.changes],
        "causes": []
        if reason is None
        else [
            {"output": cause.output, "changes": [change._asdict() for change in cause.reason.changes]}
            for cause in reasons.causes(reason, workspace)
        ],
    }
