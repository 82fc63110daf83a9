"""The command `fer models sign`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from flows.cli import console


def sign(
    spec: Annotated[str, typer.Argument(metavar="NAME|NAME@VERSION")],
    reason: Annotated[str, typer.Option(help="Why; it is kept in the log.")] = "",
    openssf: Annotated[
        Path | None,
        typer.Option(
            metavar="KEY.pem", help="Sign for the OpenSSF's tool instead, by this private P-256 key; not the log."
        ),
    ] = None,
    as_json: console.AsJson = False,
) -> None:
    """Sign a version that is there, by the key of FER_SIGNING_KEY; without @VERSION the log, and all versions.

    All files are read first: one that is not as it was registered is not signed. Look at what you sign:
    `fer models show` and `fer models log`.
    """
    from fer import settings
    from fer.registry import names, releases
    from fer.registry.trust import openssf as openssf_keys
    from fer.registry.trust import signing as registry_signing
    from tasks import signing

    settings.Settings.load().require_home()
    signing.know_secrets()
    other = None if openssf is None else openssf_keys.private(openssf.expanduser())
    if other is not None:
        openssf_keys.require()
    name, which = names.parse_spec(spec)
    is_all = "@" not in spec
    entry = None
    with releases.open_registry(unsigned=True) as models:
        key = registry_signing.key_of(models).public.id if other is None else other.id
        manifests = models.versions(name) if is_all else [models.get(name, which)]
        if is_all:  # those whose files housekeeping removed can't be looked at any more
            manifests = [manifest for manifest in manifests if registry_signing.has_files(models, manifest)]
        if other is None:
            signed = {manifest.version: registry_signing.release(models, manifest) for manifest in manifests}
            entry = registry_signing.log(models, name, reason) if is_all else None
        else:
            signed = {each.version: registry_signing.openssf_release(models, each, other) for each in manifests}
    if as_json:
        document = {
            "name": name,
            "key": key,
            "signed": [version for version, is_new in signed.items() if is_new],
            "signed_before": [version for version, is_new in signed.items() if not is_new],
            "log_entry": None if entry is None else entry.number,
        }
        typer.echo(json.dumps(document, indent=1))
        return
    kind = "key" if other is None else "P-256 key"
    for version, is_new in signed.items():
        done = "is signed by" if is_new else "was signed already by"
        console.out.print(f"{name}@{version} {done} the {kind} {key}.", highlight=False)
    if is_all and other is None:
        done = "was signed already by" if entry is None else f"is signed up to entry {entry.number} by"
        console.out.print(f"The log of {name} {done} the key {key}.", highlight=False)
