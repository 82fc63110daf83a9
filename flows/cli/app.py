"""The `fer` command. Heavy libraries are imported by the commands that use them, so that `--help` is quick."""

import gc as garbage
import os
import sys
import traceback
from importlib import metadata
from typing import Annotated, NoReturn

import typer

from fer import errors
from flows.cli import (
    console,
    data,
    models,
    predict,
    prefect_ui,
    recipes,
    reports,
    retrain,
    stopping,
)
from flows.cli.comparing import audit, experiments
from flows.cli.operating import backup, gc, init, logs, plan, services, status, up, why
from flows.cli.scoring import score
from flows.cli.trust import keys

app = typer.Typer(
    help="Retrain facial-emotion models, and look after what comes out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(retrain.retrain)
app.command()(plan.plan)
app.command()(experiments.sweep)
app.command()(experiments.compare)
app.command()(audit.audit)
app.command()(predict.predict)
app.command()(score.score)
app.command()(reports.report)
app.command()(why.why)
app.command()(init.init)
app.command()(up.up)
app.command()(up.down)
app.command()(status.status)
app.command()(logs.logs)
app.command()(gc.gc)
app.command()(backup.backup)
app.command()(backup.restore)
app.command()(services.doctor)
app.command()(services.ui)
app.add_typer(data.app, name="data")
app.add_typer(keys.app, name="keys")
app.add_typer(models.app, name="models")
app.add_typer(recipes.app, name="recipes")
app.add_typer(services.store_app, name="store")

INTERNAL_ERROR = 70  # the exit code of an error which no code here raises on purpose; EX_SOFTWARE of sysexits.h
INTERRUPTED = 130  # that of Ctrl-C, as shells have it
_COLLECT_AFTER = (50_000, 20, 50)  # Python's own (700, 10, 10) spends a tenth of a short command on imports' objects


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fer {metadata.version('fer-retraining')}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show Python's traceback when something fails.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    if debug:
        os.environ["FER_DEBUG"] = "1"


def main() -> None:
    """Run the command; an error ends in one message on standard error and an exit code that is not 0."""
    garbage.set_threshold(*_COLLECT_AFTER)
    console.escape_what_cannot_be_shown()
    with stopping.heeded():
        try:
            app()
        except KeyboardInterrupt:  # outside of what typer catches
            _stopped()
        except SystemExit as exit_:  # typer's answer to KeyboardInterrupt, among others
            if exit_.code == INTERRUPTED:
                _stopped()
            raise
        except Exception as error:  # noqa: BLE001 - nobody is left above to show it
            if stopping.exit_code() is not None or _caused_by_interrupt(error):
                _stopped()
            if isinstance(error, errors.FerError):
                _fail(str(error), error.exit_code)
            _fail(*_unexpected(error))


def process() -> NoReturn:
    """Run the command, as all that this process is for."""
    try:
        main()
    except SystemExit as exit_:
        if exit_.code is not None and not isinstance(exit_.code, int):
            raise
        stopping.end(exit_.code or 0)
    stopping.end(0)


def _stopped() -> NoReturn:
    stopping.announce()
    sys.exit(stopping.exit_code() or INTERRUPTED)


def _caused_by_interrupt(error: BaseException | None) -> bool:
    """Whether the error came up while an interrupt was dealt with: Prefect trips over one before a task has begun."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _fail(message: str, code: int) -> NoReturn:
    if os.environ.get("FER_DEBUG"):
        traceback.print_exc()
    console.show_error(message)
    sys.exit(code)


def _unexpected(error: Exception) -> tuple[str, int]:
    """The message and the exit code of an error that is not this project's."""
    import httpx

    more = "run it again with `fer --debug` for the traceback, or see `fer doctor`"
    if isinstance(error, httpx.TransportError) or "Failed to reach API" in str(error):
        failure = f"Prefect's API does not answer: {type(error).__name__}: {str(error).rstrip('.')}."
        from flows.cli import temporary_server

        todo = prefect_ui.remedy() if temporary_server.process() is None else "run the same command again"
        unavailable = errors.PrefectUnavailable(failure, todo=f"{todo}; {more}")
        return str(unavailable), unavailable.exit_code
    if isinstance(error, OSError) and error.strerror:
        place = f" at {error.filename}" if error.filename else ""
        failure = f"The operating system refused: {error.strerror.rstrip('.')}{place}."
        todo = f"free space or correct the permissions there, and {more}"
        return str(errors.FerError(failure, todo=todo)), INTERNAL_ERROR
    return f"{type(error).__name__}: {error} Next: {more}.", INTERNAL_ERROR
