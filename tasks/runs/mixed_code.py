"""Workers at different commits that share a workspace are noticed by the next run, and said."""

import datetime

from pydantic import ValidationError

from fer import errors
from fer.engine.code import code_in_use
from fer.engine.workspace import Workspace
from tasks import caching


def tell(workspace: Workspace) -> None:
    """Note this code's use of the workspace; warn if other code uses it too. A run does not depend on it."""
    now = datetime.datetime.now(datetime.UTC)
    try:
        said = code_in_use.note(workspace, code_in_use.here(), code_in_use.digest(), now)
    except (errors.FerError, OSError, ValidationError) as error:
        said = f"it can't be known whether other code works in this workspace: {error}"
    if said:
        caching.say(said)
