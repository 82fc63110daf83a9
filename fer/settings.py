"""What can be set from outside: environment variables that begin with `FER_`. Nothing needs to be set.

FER_HOME=/data/fer FER_STORE_ENDPOINT=https://s3.eu-west-1.amazonaws.com fer retrain …
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self
from urllib.parse import urlsplit

import pydantic
from pydantic import Field, SecretStr

from fer import errors

_S3 = "s3://"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")  # Amazon S3, "Bucket naming rules"
_KEY_AND_SECRET = ("store_access_key_id", "store_secret_access_key")
_KEY_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Location(NamedTuple):
    """A bucket, and the prefix of keys in it; empty for the bucket's top."""

    bucket: str
    prefix: str


class Described(NamedTuple):
    """One setting as `fer doctor` shows it; a secret's value is masked."""

    variable: str
    value: str
    is_default: bool
    description: str


class FromEnvironment(pydantic.BaseModel):
    """Base of what environment variables of one prefix set; an empty variable counts as not set.

    pydantic-settings does the same, and takes a tenth of a second to be imported by every `fer`.
    """

    PREFIX: ClassVar[str]
    model_config = pydantic.ConfigDict(frozen=True, extra="ignore", validate_default=True, hide_input_in_errors=True)

    def __init__(self, **given: Any):
        """What is given, and the variables of what is not. Raises pydantic.ValidationError."""
        variables = {name.upper(): value for name, value in os.environ.items() if value}
        names = {name: f"{self.PREFIX}{name.upper()}" for name in type(self).model_fields}
        found = {name: variables[variable] for name, variable in names.items() if variable in variables}
        super().__init__(**{**found, **given})

    @classmethod
    def load(cls) -> Self:
        """Read the environment. Raises ConfigError naming each variable that is not valid; never shows a secret."""
        configured, faults = cls.load_valid()
        if faults:
            raise errors.ConfigError(
                "Settings must be valid.", received="; ".join(faults), todo="correct or unset them (see `fer doctor`)"
            )
        return configured

    @classmethod
    def load_valid(cls) -> tuple[Self, tuple[str, ...]]:
        """Read the environment, with the default of each setting that is not valid, and what is wrong with these."""
        defaults: dict[str, Any] = {}
        faults: list[str] = []
        while True:
            try:
                configured = cls(**defaults)
            except pydantic.ValidationError as error:  # raised to nobody: it would print the values, secrets among them
                for fault in error.errors(include_url=False, include_input=False):
                    if fault["type"] != "default_factory_not_called":
                        faults.append(_fault(cls.PREFIX, fault["loc"], fault["msg"]))
                        names = [str(fault["loc"][0])] if fault["loc"] else _KEY_AND_SECRET
                        defaults |= {name: cls._default(name, defaults) for name in names}
            else:
                configured.model_fields_set.difference_update(defaults)
                return configured, tuple(faults)

    @classmethod
    def _default(cls, name: str, chosen: dict[str, Any]) -> Any:
        return cls.model_fields[name].get_default(call_default_factory=True, validated_data=chosen)

    def described(self) -> tuple[Described, ...]:
        """Every setting with its variable, value (secrets masked) and description."""
        return tuple(
            Described(
                variable=self.PREFIX + name.upper(),
                value=_shown(getattr(self, name)),
                is_default=name not in self.model_fields_set,
                description=field.description or "",
            )
            for name, field in type(self).model_fields.items()
        )


class Settings(FromEnvironment):
    """The settings in force. `Settings.load()` reads them."""

    PREFIX = "FER_"

    home: Path = Field(
        default=Path(".fer"),
        validate_default=True,
        description="folder of the workspace, the embedded store, fetched models and reports",
    )
    workspace: Path | str = Field(
        default_factory=lambda data: data.get("home", Path(".fer")) / "workspace",
        validate_default=True,
        description="folder of the stages' outputs, or s3://BUCKET[/PREFIX] in the store for several machines",
    )
    links_into: Path | None = Field(
        default=None,
        description="folder that links in a source may lead into, e.g. the cache of DVC or git-annex; without it links "
        "are refused",
    )
    store_endpoint: str | None = Field(
        default=None,
        description="URL of the S3-compatible store of the models; without it an embedded one is started on loopback",
    )
    store_bucket: str = Field(default="fer-models", description="bucket of the models")
    store_prefix: str = Field(default="", description="folder within the bucket; empty for the bucket's top")
    store_region: str = Field(default="us-east-1", min_length=1, description="region that requests are signed for")
    store_access_key_id: str | None = Field(
        default=None, description="access key; without it boto3's own chain: AWS_* variables, ~/.aws, instance role"
    )
    store_secret_access_key: SecretStr | None = Field(
        default=None, description="secret of FER_STORE_ACCESS_KEY_ID; set both or neither"
    )
    signatures: Literal["optional", "required"] = Field(
        default="optional",
        description="`required`: a release or a log that is not signed by a trusted key is not used; `optional`: only "
        "one that a trusted key signed wrongly is not",
    )
    signing_key: str | None = Field(
        default=None,
        description="what releases and log entries are signed by: the file of a private key (`fer keys new`), or "
        "secret:NAME for a Prefect Secret block that holds its content",
    )
    trusted_keys: Path = Field(
        default_factory=lambda data: data.get("home", Path(".fer")) / "trusted-keys",
        validate_default=True,
        description="folder of the public keys (*.pub) that releases and logs may be signed by",
    )
    disk_budget_bytes: int | None = Field(
        default=None,
        ge=1,
        description="bytes that the workspace's folder and FER_HOME may take on this machine: from 80 % on runs and "
        "`fer doctor` warn, and beyond it no run begins; `fer gc` makes room",
    )
    run_timeout_s: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="seconds after which a run ends as TimedOut; deployments set it in `job_variables` of "
        "prefect.yaml. Without it a run may take as long as it takes",
    )
    run_retries: int = Field(
        default=0,
        ge=0,
        description="how often a run is begun again that ended by an error which the same call may not meet again, as "
        "a store that did not answer; deployments set it",
    )
    run_retry_wait_s: int = Field(default=600, ge=0, description="seconds before it is begun again")
    confirm_minutes: float = Field(
        default=10,
        ge=0,
        le=10_080,
        description="minutes for which predicting takes what the registry said of a release – which version is "
        "champion, that it was not withdrawn – for what still holds, rather than ask FER_STORE_ENDPOINT again. An "
        "embedded store is asked whenever it runs, and what it said holds until it is started again",
    )
    kaggle_wait_s: float = Field(
        default=600,
        ge=0,
        allow_inf_nan=False,
        description="seconds that a download may wait where Kaggle limits its rate and says until when (Retry-After); "
        "a run that would have to wait longer ends at once",
    )

    notice_after_days: float = Field(
        default=8,
        gt=0,
        le=365,
        description="days without a retraining that came to a verdict after which notice is given; read by `fer init`",
    )
    log_format: Literal["text", "json"] = Field(
        default="text",
        description="how Prefect's log lines are written to the terminal (-v) and to the files of `fer up`: `json` is "
        "one object a line",
    )

    def require_home(self) -> None:
        """For commands that only read: raise ConfigError where nothing was made yet, rather than make an empty home."""
        if self.store_endpoint is None and not self.home.is_dir():
            raise errors.ConfigError(
                "The registry must be there.",
                received=f"no folder {self.home}",
                todo="cd to the folder where you ran `fer retrain`, or set FER_HOME to its .fer; or make a first "
                "version: fer retrain",
            )

    @property
    def remote_workspace(self) -> Location | None:
        """Where in the store the workspace is; None if it is a folder of this machine."""
        return _location(self.workspace) if isinstance(self.workspace, str) else None

    @property
    def workspace_folder(self) -> Path:
        """The workspace's folder on this machine: the workspace itself, or what it has here of one in the store."""
        if isinstance(self.workspace, Path):
            return self.workspace
        location = f"{self.store_endpoint or ''} {self.workspace}"  # what is of one store is not of another
        return self.home / "workspaces" / hashlib.sha256(location.encode()).hexdigest()[:16]

    @pydantic.field_validator("links_into")
    @classmethod
    def _real_folder(cls, value: Path | None) -> Path | None:
        if value is not None and not value.expanduser().is_dir():
            raise ValueError("must be a folder that is there")
        return value and value.expanduser().resolve()

    @pydantic.field_validator("home")
    @classmethod
    def _folder(cls, value: Path) -> Path:
        if ":/" in str(value):
            raise ValueError("must be a folder on this machine, not a URL")
        return value.expanduser().resolve()

    @pydantic.field_validator("trusted_keys")
    @classmethod
    def _folder_of_keys(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @pydantic.field_validator("signing_key")
    @classmethod
    def _place_of_key(cls, value: str | None) -> str | None:
        if value is not None and ("PRIVATE KEY" in value or "\n" in value):
            raise ValueError("must name the file or the secret that holds the key, and not be the key itself")
        return value

    @pydantic.field_validator("workspace", mode="before")
    @classmethod
    def _workspace(cls, value: Path | str) -> Path | str:
        if not str(value).startswith(_S3):
            return cls._folder(Path(value))
        bucket, prefix = _location(str(value))
        cls._bucket(bucket)
        return f"{_S3}{bucket}/{cls._prefix(prefix)}".rstrip("/")

    @pydantic.field_validator("store_endpoint")
    @classmethod
    def _endpoint(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            host, user = parts.hostname, parts.username
            _ = parts.port  # raises ValueError where it is no number
        except ValueError:
            host = user = None
        if user is not None:
            raise ValueError("must not hold credentials; they go into FER_STORE_ACCESS_KEY_ID and its secret")
        if not host or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
            raise ValueError("must be http://HOST[:PORT][/PATH] or https://HOST[:PORT][/PATH]")
        if not all(_KEY_PART.fullmatch(part) for part in parts.path.strip("/").split("/") if part):
            raise ValueError(
                "must have a path of A-Z, a-z, 0-9, '.', '_' and '-', if any; the bucket is FER_STORE_BUCKET"
            )
        return value.rstrip("/")

    @pydantic.field_validator("store_bucket")
    @classmethod
    def _bucket(cls, value: str) -> str:
        if not _BUCKET.fullmatch(value) or ".." in value:
            raise ValueError("must be 3 to 63 of a-z, 0-9, '-' and '.', beginning and ending with a letter or digit")
        return value

    @pydantic.field_validator("store_prefix")
    @classmethod
    def _prefix(cls, value: str) -> str:
        value = value.strip("/")
        if value and not all(_KEY_PART.fullmatch(part) for part in value.split("/")):
            raise ValueError("must be parts of A-Z, a-z, 0-9, '.', '_' and '-', separated by '/'")
        return value

    @pydantic.model_validator(mode="after")
    def _key_and_secret(self) -> Self:
        if (self.store_access_key_id is None) != (self.store_secret_access_key is None):
            raise ValueError("FER_STORE_ACCESS_KEY_ID and FER_STORE_SECRET_ACCESS_KEY must be set both or neither")
        return self


@contextlib.contextmanager
def overridden(variables: Mapping[str, str]) -> Iterator[None]:
    """Have the environment name these, `FER_…` -> value, within the `with` block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _location(uri: str) -> Location:
    return Location(*uri.removeprefix(_S3).partition("/")[::2])


def _fault(prefix: str, location: tuple[int | str, ...], message: str) -> str:
    message = message.removeprefix("Value error, ")
    return f"{prefix}{str(location[0]).upper()} {message}" if location else message


def _shown(value: object) -> str:
    return "" if value is None else str(value)  # a SecretStr's str() is asterisks
