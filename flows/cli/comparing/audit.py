"""The command `fer audit`."""

from pathlib import Path
from typing import Annotated, Any

import pydantic
import typer

from fer import errors
from flows.cli import console, options


@options.with_run_options(recipe="fer2013-cnn")
def audit(
    run: options.RunOptions,
    model: Annotated[
        str,
        typer.Option(
            help="A release, or a model's file from elsewhere, of Keras's own layers.",
            metavar="NAME@VERSION|FILE.keras|FILE.hdf5",
        ),
    ],
    classes: Annotated[
        str | None, typer.Option(help="Of a file: its classes in the order of its outputs.", metavar="A,B,…")
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Of a file that does not say: pixels of its images.", metavar="SIDE|HEIGHTxWIDTH")
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(
            help="Of a file: what grey levels 0 to 255 become: 0..1, -1..1, 0..255, or MEAN/STD in grey levels.",
            metavar="LOW..HIGH|MEAN/STD",
        ),
    ] = None,
    logits: Annotated[bool, typer.Option("--logits", help="Of a file: it ends in logits, not probabilities.")] = False,
    robustness: Annotated[
        bool, typer.Option("--robustness/--no-robustness", help="Score corrupted and moved images too.")
    ] = True,
    as_json: console.AsJson = False,
) -> None:
    """Audit a model on test images: official and de-duplicated figures, what twins are worth, calibration, corruptions.

    A release on other data than it was trained on, or a model that was trained elsewhere. The source's own splits are
    taken as they are, and nothing is accepted or registered.
    """
    parameters = run.parameters()
    form = _form(classes, size, scale, logits)
    options.prepare_prefect(run.verbose)

    from fer.evaluation.audits import adopt
    from fer.registry import names
    from flows import audit as audit_module

    if audit_module.is_file(model):
        if form is not None:
            adopt.identify(Path(model), form)  # valid, before anything is started
    elif form is not None:
        raise errors.ConfigError(
            "Only of a file must be said how it wants its images: a release says so itself.",
            received=model,
            todo="leave out --classes, --size, --scale and --logits",
        )
    else:
        names.parse_spec(model)
    screen = console.err if as_json else console.out
    options.announce(screen, "auditing", run.sources, run.recipe, model)

    with options.starting(screen):
        from flows.cli import terminal
    with options.shown(screen):
        result = audit_module.audit(**parameters, model=model, input_format=form, robustness=robustness)
    if as_json:
        typer.echo(Path(result.reports["as JSON"]).read_text())
    else:
        terminal.show_audit(console.out, result)


def _form(classes: str | None, size: str | None, scale: str | None, logits: bool) -> Any:
    """What was said of a file; None if nothing was. Raises ConfigError."""
    from fer.models import foreign_file

    if classes is None:
        if size is not None or scale is not None or logits:
            raise errors.ConfigError(
                "The order of a model's classes must be known, which its file does not say.",
                received="no --classes",
                todo="name the classes in the order of its outputs: --classes A,B,…",
            )
        return None
    height, width = foreign_file.parse_size(size) if size is not None else (None, None)
    try:
        return foreign_file.InputFormat(
            classes=tuple(name.strip() for name in classes.split(",")),
            height=height,
            width=width,
            scale=scale,
            outputs="logits" if logits else "probabilities",
        )
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        option = "size" if first["loc"][0] in ("height", "width") else str(first["loc"][0])
        raise errors.ConfigError(
            "How a model's file wants its images must be valid.",
            received=f"--{option}: {first['msg']}",
            todo=f"correct --{option}; see fer audit --help",
        ) from error
