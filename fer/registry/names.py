"""What things of the registry are called: models, versions, aliases, statuses, and the keys of their objects."""

import re
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field

from fer import errors

NAME = r"[a-z0-9][a-z0-9-]{0,62}"
FILE = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}"
SHA256 = r"[0-9a-f]{64}"
CHAMPION = "champion"
LONGEST_NAME = 63  # characters; of NAME

Name = Annotated[str, Field(pattern=rf"^{NAME}$")]
Version = Annotated[int, Field(ge=1)]


def _as_now(status: Any) -> Any:
    return "refused" if status == "rejected" else status  # in older registries


Status = Annotated[Literal["released", "kept", "refused"], BeforeValidator(_as_now)]
"""Of a version: it passed its gates and was made champion; passed, but is not promoted by a run; did not pass."""


class Spec(NamedTuple):
    """A model and which version of it: a number, or an alias."""

    name: str
    which: str


def parse_spec(text: str) -> Spec:
    """`name`, `name@alias` or `name@3`; without `@`, the champion. Raises ConfigError."""
    match = re.fullmatch(rf"({NAME})(?:@([1-9][0-9]{{0,8}}|{NAME}))?", text)
    if match is None:
        raise errors.ConfigError(
            "A model must be NAME, NAME@ALIAS or NAME@VERSION.", received=text, todo=f"for example demo@{CHAMPION}"
        )
    return Spec(match[1], match[2] or CHAMPION)


def parse_version(which: str) -> int | None:
    """The number of a version; None for an alias."""
    return int(which) if re.fullmatch(r"[1-9][0-9]{0,8}", which) else None


def check_name(name: str) -> None:
    """Raise ConfigError unless a model may have this name."""
    _check(name, NAME, "A model's name")


def check_file(name: str) -> None:
    """Raise ConfigError unless a version's file may have this name."""
    _check(name, FILE, "A file's name")


def version_key(name: str, version: int) -> str:
    """The key of a version's manifest."""
    return f"models/{name}/versions/{version:05d}.json"


def alias_key(name: str, alias: str) -> str:
    """The key of an alias. Raises ConfigError if either name is not valid."""
    check_name(name)
    _check(alias, rf"(?![0-9]+$){NAME}", "An alias")
    return f"models/{name}/aliases/{alias}.json"


def pins_key(name: str) -> str:
    """The key of the list of a model's versions that stay."""
    return f"models/{name}/pins.json"


def log_key(name: str, number: int) -> str:
    """The key of an entry of the log."""
    return f"models/{name}/log/{number:08d}.json"


def _check(text: str, pattern: str, what: str) -> None:
    if re.fullmatch(pattern, text) is None:
        raise errors.ConfigError(f"{what} must match {pattern}.", received=repr(text))
