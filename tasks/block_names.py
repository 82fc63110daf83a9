"""The names of Prefect's blocks, checked before they travel: a key pasted in a name's place would be kept and shown."""

import re
from typing import Annotated

from pydantic import Field

from fer import errors, redaction

_MAX_CHARS = 100
# Prefect's grammar, but no long run of hexadecimal digits, as Kaggle's keys are. The server checks it too, where a
# deployment is run.
PATTERN = r"^(?!.*[0-9a-f]{20})[a-z0-9-]+$"


def checked(name: str) -> str:
    """The name. Raises ConfigError, which does not show it, where it is none that a block can have, or may be a key."""
    if len(name) <= _MAX_CHARS and re.fullmatch(PATTERN, name) and not redaction.holds_key(name):
        return name
    raise errors.ConfigError(
        "A Prefect block must be given by its name, of a-z, 0-9 and '-'.",
        received=f"{len(name)} characters that are no such name, or look like a key; they are not shown",
        todo="store the key in a Secret block (in the UI, fer ui, under Blocks) and give the block's name; a key that "
        "was typed here is in the shell's history: replace it",
    )


Name = Annotated[str, Field(json_schema_extra={"pattern": PATTERN, "maxLength": _MAX_CHARS})]
