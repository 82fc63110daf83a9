"""The command `fer store policy`."""

import json
from typing import Annotated

import typer

from fer import errors


def policy(role: Annotated[str, typer.Argument(help="reader, trainer or promoter.")]) -> None:
    """Print what an access key of a role may do in the store, as an IAM policy (JSON) for FER_STORE_BUCKET and _PREFIX.

    A workspace in the bucket (FER_WORKSPACE=s3://…) needs reading, writing, deleting and listing of its own folder
    besides.
    """
    from fer import settings
    from fer.registry.trust import access

    known = next((known for known in access.ROLES if known == role), None)
    if known is None:
        raise errors.ConfigError("A role must be one that there is.", received=role, todo=f"{', '.join(access.ROLES)}")
    configured = settings.Settings.load()
    typer.echo(json.dumps(access.policy(known, configured.store_bucket, configured.store_prefix), indent=1))
