"""An installation as systemd's user units: the processes of `fer up`, started at boot and again when one dies."""

import re
from collections.abc import Mapping
from pathlib import Path

from fer.engine import disk
from flows.operating import installation, services
from flows.operating.installation import SERVER, Installation

TARGET = "fer.target"
_TO_PASS_ON = re.compile(
    r"(FER|KAGGLE|AWS|PREFECT)_\w+|(https?|all|no)_proxy|KERAS_BACKEND|CUDA_VISIBLE_DEVICES|LANG|PATH|"
    r"SSL_CERT_FILE|REQUESTS_CA_BUNDLE",
    re.IGNORECASE,
)
_OWN = {"FER_HOME", "FER_DEBUG", "FER_STARTED_BY", installation.MARK}  # set by the unit, or of this process alone
_OF_SERVER_OR_CLIENT = ("PREFECT_SERVER_", "PREFECT_API_")
_STOP_TIMEOUT_S = 90  # a worker ends its runs first

_UNIT = """\
[Unit]
Description={description}
PartOf={target}
{order}StartLimitIntervalSec=0

[Service]
Type=exec
WorkingDirectory={home}
Environment={fer_home}
EnvironmentFile=-{variables}
ExecStart={command}
Restart=on-failure
RestartSec=5
KillMode=mixed
TimeoutStopSec={stop_s}
StandardOutput=append:{log}
StandardError=append:{log}

[Install]
WantedBy={target}
"""
_TARGET = """\
[Unit]
Description=fer: an installation in {home}
Wants={services}

[Install]
WantedBy=default.target
"""


def folder(environment: Mapping[str, str]) -> Path:
    """Where systemd looks for a user's own units."""
    configured = environment.get("XDG_CONFIG_HOME")
    return (Path(configured) if configured else Path.home() / ".config") / "systemd" / "user"


def units(home: Path, asked: Installation, *, with_store: bool) -> dict[str, str]:
    """The content of each unit, by its name."""
    names = [*([services.STORE] if with_store else []), *asked.services]
    made = {_unit(name): _service(home, name, with_store=with_store) for name in names}
    return made | {TARGET: _TARGET.format(home=_escaped(str(home)), services=" ".join(made))}


def write(home: Path, into: Path, made: Mapping[str, str], environment: Mapping[str, str]) -> None:
    """Write the units, and for their owner alone the variables that they pass on. Raises OSError.

    Units of workers that are not to be any more are removed.
    """
    into.mkdir(parents=True, exist_ok=True)
    installation.log(home, SERVER).parent.mkdir(parents=True, exist_ok=True)
    disk.write_private(_variables(home), environment_file(environment).encode())
    for path in into.glob("fer-*.service"):
        if path.name not in made:
            path.unlink()
    for name, content in made.items():
        disk.write(into / name, content.encode())


def environment_file(environment: Mapping[str, str]) -> str:
    """The variables of this shell that services need, in the form of systemd's EnvironmentFile."""
    lines = []
    for name, value in sorted(environment.items()):
        if name in _OWN or name.startswith(_OF_SERVER_OR_CLIENT) or not _TO_PASS_ON.fullmatch(name):
            continue
        if value and value.isprintable():  # one with a line break has no form there
            quoted = re.sub(r'(["\\`$])', r"\\\1", value)
            lines.append(f'{name}="{quoted}"\n')
    return "".join(lines)


def _service(home: Path, name: str, *, with_store: bool) -> str:
    before = [services.STORE] if with_store and name != services.STORE else []
    before += [SERVER] if name.startswith("worker-") else []
    others = " ".join(map(_unit, before))
    return _UNIT.format(
        description=f"fer: {name}",
        target=TARGET,
        order=f"After={others}\nWants={others}\n" if before else "",
        home=_escaped(str(home)),
        fer_home=_quoted(f"FER_HOME={home}"),
        variables=_escaped(str(_variables(home))),
        command=" ".join(_quoted(part).replace("$", "$$") for part in services.command(name)),
        stop_s=_STOP_TIMEOUT_S,
        log=_escaped(str(installation.log(home, name))),
    )


def _unit(service: str) -> str:
    return f"fer-{service}.service"


def _variables(home: Path) -> Path:
    return installation.folder(home) / "environment"


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(text: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", _escaped(text)) + '"'
