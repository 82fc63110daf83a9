"""The key that releases are signed by, where it is in a Prefect Secret."""

from typing import cast

from fer import errors
from fer.registry.trust import keys, policy
from fer.settings import Settings
from tasks import block_names


def know_secrets() -> None:
    """From now on, FER_SIGNING_KEY may name a Prefect Secret in this process."""
    keys.read_secrets_by(_read)


def require(configured: Settings) -> None:
    """Raise ConfigError unless the keys are at hand that the settings demand: a trusted one, and the private one."""
    know_secrets()
    policy.of(configured).signing_key()


def _read(name: str) -> str:
    """The content of the Secret block. Raises ConfigError, which does not show it."""
    from prefect.blocks.system import Secret

    block_names.checked(name)
    try:
        value = cast(Secret[str], Secret.load(name)).get()  # a coroutine only where an event loop runs
    except ValueError:
        raise errors.ConfigError(
            "FER_SIGNING_KEY must name a Secret block that Prefect has, or a file.",
            received=repr(f"{keys.SECRET}{name}"),
            todo="look for it by `prefect block ls`, or make it in the Prefect UI (fer ui) under Blocks, with the "
            "content of the file that `fer keys new` wrote",
        ) from None
    return str(value)
