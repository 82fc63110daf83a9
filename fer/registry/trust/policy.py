"""What is demanded of signatures here, whom is trusted, and by which key is signed."""

import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from fer import errors
from fer.registry.trust import keys, signatures
from fer.registry.trust.signatures import Signature
from fer.settings import Settings


class Verified(NamedTuple):
    """What came of a signature: the trusted key that made it, or else why it does not count; neither if there is none
    and none is demanded.
    """

    key: keys.Trusted | None = None
    fault: str = ""


class Policy(NamedTuple):
    """`required`: what is not signed by a trusted key is not used. `signer` gives the private key, None without one.

    `heads` is the folder where it is remembered how far logs went; None: nowhere.
    """

    required: bool = False
    trusted: tuple[keys.Trusted, ...] = ()
    signer: Callable[[], keys.PrivateKey | None] = lambda: None
    heads: Path | None = None

    @property
    def is_active(self) -> bool:
        """Whether signatures are looked at."""
        return self.required or bool(self.trusted)

    def verified(self, message: bytes, found: tuple[Signature, ...]) -> Verified:
        """What these signatures of a message amount to. One by a trusted key is enough; a wrong one is a fault."""
        wrong = ""
        for trusted in self.trusted:
            for signature in found:
                if signature.key != trusted.key.id:
                    continue
                if signatures.is_by(signature, message, trusted.key):
                    return Verified(trusted)
                wrong = f"a signature by the key {signature.key} ({trusted.file.name}) that does not fit"
        if wrong or not self.required:
            return Verified(fault=wrong)
        if found:
            by = ", ".join(sorted({signature.key for signature in found}))
            return Verified(fault=f"signed by the key {by} alone, which is not trusted here")
        return Verified(fault="not signed")

    def signing_key(self) -> keys.PrivateKey | None:
        """The private key to sign with; None without one. Raises ConfigError where one is needed, or can't be read."""
        key = self.signer()
        if key is None and self.required:
            raise errors.ConfigError(
                "A registry whose signatures are required (FER_SIGNATURES) must be written with a key.",
                received="no FER_SIGNING_KEY",
                todo="set it to the file of a private key, or to secret:NAME for a Prefect Secret; make one: "
                "fer keys new FILE",
            )
        return key


def of(configured: Settings) -> Policy:
    """What the settings demand. Raises ConfigError if a trusted key can't be read, or none is and one is needed."""
    trusted = keys.trusted(configured.trusted_keys)
    required = configured.signatures == "required"
    if required and not trusted:
        raise errors.ConfigError(
            "Where signatures are required (FER_SIGNATURES) a key must be trusted.",
            received=f"no file *.pub in {configured.trusted_keys}",
            todo="trust the public key of who releases: fer keys trust FILE.pub",
        )
    return without_demands(configured)._replace(required=required, trusted=trusted)


def without_demands(configured: Settings) -> Policy:
    """What the settings say of the key to sign with, with nothing demanded."""
    source = configured.signing_key
    place = [configured.store_endpoint or "", configured.store_bucket, configured.store_prefix]
    return Policy(
        signer=(lambda: None) if source is None else functools.cache(functools.partial(keys.signing_key, source)),
        heads=configured.home / "log-heads" / hashlib.sha256(json.dumps(place).encode()).hexdigest()[:16],
    )


def refused(what: str, where: str, fault: str, todo: str) -> errors.IntegrityError:
    """The error of something that is not signed as it must be."""
    return errors.IntegrityError(
        f"{what} must be signed by a key that is trusted here (fer keys show).",
        received=f"{fault}: {where}",
        todo=todo,
    )
