"""The commands `fer keys …`: the keys that releases are signed by, and those that are trusted."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from flows.cli import console

app = typer.Typer(help="The keys that releases and their log are signed by.", no_args_is_help=True)
_DEFAULT = "signing-key.pem"


@app.command("new")
def new_key(
    file: Annotated[Path | None, typer.Argument(help="A new file; by default signing-key.pem in FER_HOME.")] = None,
    as_json: console.AsJson = False,
) -> None:
    """Make a key: a private one that its owner alone can read, and beside it the public one (.pub) to hand out."""
    from fer import settings
    from fer.engine import disk
    from fer.registry.trust import keys

    path = (file or settings.Settings.load().home / _DEFAULT).expanduser().absolute()
    key = keys.new()
    with disk.workspace_errors(path.parent):
        public = keys.write(key, path)
    if as_json:
        typer.echo(json.dumps({"key": key.public.id, "private": str(path), "public": str(public)}, indent=1))
        return
    console.out.print(f"The key {key.public.id} is made.", highlight=False)
    for line in (
        f"private:  {path}  (who can read it can sign: keep it where releases are made, and nowhere else)",
        f"public:   {public}  (for whom is to trust it)",
        f"next:     export FER_SIGNING_KEY={path}",
        f"          fer keys trust {public}     # wherever its releases are used",
    ):
        console.out.print(console.plain(line), highlight=False, soft_wrap=True)


@app.command("show")
def show_keys(as_json: console.AsJson = False) -> None:
    """Show which key signs here, which keys are trusted, and whether signatures are required."""
    from fer import settings
    from fer.registry.trust import keys

    _read_secrets()
    configured = settings.Settings.load()
    source = configured.signing_key
    own = None if source is None else keys.signing_key(source).public.id
    trusted = keys.trusted(configured.trusted_keys)
    if as_json:
        document = {
            "signatures": configured.signatures,
            "signing_key": None if own is None else {"key": own, "source": source},
            "trusted": [{"key": other.key.id, "file": str(other.file)} for other in trusted],
        }
        typer.echo(json.dumps(document, indent=1))
        return
    signs = "no key (FER_SIGNING_KEY is not set)" if own is None else f"{own}, from {source}"
    console.out.print(f"signs here:  {console.plain(signs)}", highlight=False, soft_wrap=True)
    console.out.print(f"signatures:  {configured.signatures} (FER_SIGNATURES)", highlight=False, soft_wrap=True)
    if not trusted:
        line = f"trusted:     no key in {configured.trusted_keys}; trust one: fer keys trust FILE.pub"
        console.out.print(console.plain(line), highlight=False, soft_wrap=True)
        return
    table = Table("trusted key", "file")
    for other in trusted:
        table.add_row(other.key.id, console.plain(str(other.file)))
    console.out.print(table)


@app.command("trust")
def trust_key(
    file: Annotated[Path, typer.Argument(help="A public key, as `fer keys new` writes it (.pub).")],
    name: Annotated[str, typer.Option(help="Whose it is; a part of the name of its file here.")] = "",
    as_json: console.AsJson = False,
) -> None:
    """Trust a public key here: what its holder signed may be used. Others stay trusted, as while keys are changed."""
    from fer import settings
    from fer.engine import disk
    from fer.registry.trust import keys

    folder = settings.Settings.load().trusted_keys
    key = keys.read_public(file.expanduser())
    with disk.workspace_errors(folder):
        path = keys.trust(key, folder, name)
    if as_json:
        typer.echo(json.dumps({"key": key.id, "file": str(path)}, indent=1))
        return
    console.out.print(f"The key {key.id} is trusted: {console.plain(str(path))}", highlight=False, soft_wrap=True)


@app.command("distrust")
def distrust_key(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its 16 digits, as `fer keys show` has them.")],
    as_json: console.AsJson = False,
) -> None:
    """Trust a key here no more: what only its holder signed counts as not signed."""
    from fer import settings
    from fer.engine import disk
    from fer.registry.trust import keys

    folder = settings.Settings.load().trusted_keys
    with disk.workspace_errors(folder):
        files = keys.distrust(key, folder)
    if as_json:
        typer.echo(json.dumps({"key": key, "removed": [str(file) for file in files]}, indent=1))
        return
    for file in files:
        console.out.print(f"removed: {console.plain(str(file))}", highlight=False, soft_wrap=True)


def _read_secrets() -> None:
    from tasks import signing

    signing.know_secrets()
