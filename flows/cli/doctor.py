"""What is configured, what is reachable, what is missing, and the fix."""

import datetime
import os
import shutil
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import psutil

from fer import errors, limits, settings
from fer.engine import connect
from fer.engine.processes import cgroups, process_pool
from fer.engine.store import seaweedfs
from fer.housekeeping import budget
from fer.images import limits as image_limits
from flows.cli import prefect_home, prefect_ui

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

_NEEDED_DISK_GB = 5
_KAGGLE = "https://www.kaggle.com"
_TIMEOUT_S = 5
_SCHEDULED_AFTER = datetime.timedelta(minutes=1)  # the scheduler looks at what is new every few seconds


class Finding(NamedTuple):
    """One line of the examination."""

    level: Literal["ok", "warn", "fail"]
    subject: str
    text: str
    fix: str = ""


def examine() -> list[Finding]:
    """Look at everything that a run needs; changes nothing, but starts and stops the embedded store and Prefect's
    temporary server. A setting that is not valid is a finding; the others are examined with its default."""
    configured, faults = settings.Settings.load_valid()
    with tempfile.TemporaryDirectory() as folder:
        # An empty home would look like one that a run has used.
        trial = configured if configured.home.is_dir() else _elsewhere(configured, Path(folder))
        homes = _prefect_home(configured, trial)  # first: Prefect is imported by what follows
        findings = [_python(), _memory(), _disk(configured), *_disk_budget(configured), _store(configured, trial)]
        findings += _signatures(configured)
        if trial is not configured:
            seaweedfs.down(trial.home)  # its folder is about to go
        findings += [_kaggle_key(), _kaggle_answer(), *homes, *_prefect(configured), _telemetry()]
    for values, wrong in ((configured, faults), limits.Limits.load_valid(), image_limits.ImageLimits.load_valid()):
        changed = [setting for setting in values.described() if not setting.is_default]
        findings += [Finding("ok", "setting", f"{setting.variable}={setting.value}") for setting in changed]
        findings += [Finding("fail", "setting", fault, "correct or unset it") for fault in wrong]
    return findings


def _elsewhere(configured: settings.Settings, home: Path) -> settings.Settings:
    """The settings with another home, and its workspace in place of one on this machine."""
    here = {"home": home} | ({} if isinstance(configured.workspace, str) else {"workspace": home / "workspace"})
    return configured.model_copy(update=here)


def _python() -> Finding:
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("prefect", "keras", "numpy"))
    return Finding("ok", "python", f"{sys.version.split()[0]}, {versions}")


def _memory() -> Finding:
    machine = psutil.virtual_memory()
    limits = [(limit.left, limit.limit) for limit in cgroups.memory()]
    free, total = min([(machine.available, machine.total), *limits])
    n_cores = process_pool.usable_cores()
    text = f"{free / 1e9:.1f} of {total / 1e9:.1f} GB free, {n_cores} cores"
    if n_cores != os.cpu_count() or total != machine.total:
        text += f" for this process; the machine has {machine.total / 1e9:.1f} GB and {os.cpu_count()} cores"
    if free < 3e9:
        return Finding("warn", "memory", text, "close something: a training takes 1 to 3.3 GB in a process of its own")
    return Finding("ok", "memory", text)


def _disk(configured: settings.Settings) -> Finding:
    folder = configured.workspace_folder
    existing = next(path for path in [folder, *folder.parents] if path.exists())
    free_gb = shutil.disk_usage(existing).free / 1e9
    text = f"{folder}, {free_gb:,.0f} GB free"
    if configured.remote_workspace is not None:
        text = f"{configured.workspace}; what this machine has of it: {text}"
    if not os.access(existing, os.W_OK):
        return Finding("fail", "workspace", f"{text}, not writable", "set FER_HOME to a folder of yours")
    if free_gb < _NEEDED_DISK_GB:
        return Finding("warn", "workspace", text, "free some space, or set FER_HOME to a larger disk")
    return Finding("ok", "workspace", text)


def _disk_budget(configured: settings.Settings) -> list[Finding]:
    room = budget.look(configured)
    if room is None:
        return []
    if room.used_bytes >= room.budget_bytes:
        return [Finding("fail", "disk budget", room.sentence(), "no run begins: make room by fer gc, or raise it")]
    return [
        Finding("warn" if room.is_short else "ok", "disk budget", room.sentence(), "fer gc" if room.is_short else "")
    ]


def _store(configured: settings.Settings, trial: settings.Settings) -> Finding:
    from tasks import registry

    kind = configured.store_endpoint or "embedded SeaweedFS on loopback"
    try:
        with connect.store(trial) as store:
            registry.require_usable(store, configured)
            with connect.workspace(trial):
                pass
    except errors.FerError as error:
        return Finding("fail", "store", kind, str(error))
    return Finding("ok", "store", f"{kind}, bucket {configured.store_bucket}")


def _signatures(configured: settings.Settings) -> list[Finding]:
    """Whether the keys are there that the settings name; nothing where they name none."""
    from fer.registry.trust import policy
    from tasks import signing

    if configured.signatures == "optional" and configured.signing_key is None:
        return []
    signing.know_secrets()
    try:
        demands = policy.of(configured)
        key = demands.signer()
    except errors.FerError as error:
        return [Finding("fail", "signatures", configured.signatures, str(error))]
    by = "no key to sign with: models are used here, and none is made" if key is None else f"signs by {key.public.id}"
    return [Finding("ok", "signatures", f"{configured.signatures}; {len(demands.trusted)} trusted; {by}")]


def _kaggle_key() -> Finding:
    """In kagglehub's order; only where a key is, never the key."""
    folder = Path(os.environ.get("KAGGLE_CONFIG_DIR", Path.home() / ".kaggle"))
    if os.environ.get("KAGGLE_API_TOKEN"):
        return Finding("ok", "kaggle", "token from KAGGLE_API_TOKEN")
    if (folder / "access_token").is_file():
        return Finding("ok", "kaggle", f"token from {folder / 'access_token'}")
    if os.environ.get("KAGGLE_USERNAME") and os.environ.get("KAGGLE_KEY"):
        return Finding("ok", "kaggle", "key from KAGGLE_USERNAME and KAGGLE_KEY")
    if (folder / "kaggle.json").is_file():
        return Finding("ok", "kaggle", f"key from {folder / 'kaggle.json'}")
    return Finding("ok", "kaggle", "no key: public datasets only", "for others, make one: kaggle.com/settings")


def _kaggle_answer() -> Finding:
    """Asked without a key, through the proxies that the environment names."""
    import httpx

    try:
        httpx.head(_KAGGLE, timeout=_TIMEOUT_S)
    # The last two are httpx's for a proxy's URL that is not valid, and for SOCKS without its package.
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, ImportError) as error:
        fix = "check the network and HTTPS_PROXY; the sources `demo` and `archive:` need no Kaggle"
        return Finding("warn", "kaggle.com", f"does not answer ({type(error).__name__})", fix)
    return Finding("ok", "kaggle.com", "answers")


def _prefect_home(configured: settings.Settings, trial: settings.Settings) -> list[Finding]:
    try:
        reason = prefect_home.ensure(trial.home)
    except errors.WorkspaceError as error:
        return [Finding("fail", "prefect home", "none can be written", str(error))]
    if reason is None:
        return []
    text = f"{configured.home / 'prefect'}, as {reason}"
    return [Finding("warn", "prefect home", text, "set PREFECT_HOME to a folder of yours, or leave it so")]


def _temporary_server() -> Finding:
    """Start it once, as each run does."""
    from flows.cli import temporary_server

    began = time.monotonic()
    try:
        server = temporary_server.start()
    except errors.FerError as error:
        return Finding("fail", "prefect", "no server configured, and a temporary one can't be had", str(error))
    if server is not None:
        server.stop()
    text = f"no server configured: each run starts a temporary one (here in {time.monotonic() - began:.0f} s)"
    return Finding("ok", "prefect", text, f"to see runs: {prefect_ui.start_command()}")


def _prefect(configured: settings.Settings) -> list[Finding]:
    import httpx
    from prefect.settings import get_current_settings

    from flows.operating import own_server

    try:
        own_server.use(configured.home)
    except errors.PrefectUnavailable as error:
        return [Finding("fail", "prefect", "the installation's server does not answer", str(error))]
    url = get_current_settings().api.url
    if url is None:
        return [_temporary_server()]
    try:
        shown = httpx.URL(url).copy_with(userinfo=b"")  # what people paste into tickets
        httpx.get(f"{url}/health", timeout=_TIMEOUT_S).raise_for_status()
    except httpx.InvalidURL:
        set_by = prefect_ui.origin(prefect_ui.API_URL)
        fix = f"correct it, or {set_by.undo} to use a temporary server"
        return [Finding("fail", "prefect", f"PREFECT_API_URL of {set_by.place} is no URL", fix)]
    except httpx.HTTPError as error:
        fix = prefect_ui.remedy()
        return [Finding("fail", "prefect", f"{shown} does not answer ({type(error).__name__})", fix)]
    place = f"named by {prefect_ui.origin(prefect_ui.API_URL).place}"
    place = "of the installation here (fer up)" if own_server.is_used() else place
    return [Finding("ok", "prefect", f"{shown}, {place}"), *_deployed()]


def _deployed() -> list[Finding]:
    """The schedules and deployments of the server that answers."""
    import httpx
    from prefect import get_client

    from flows import deploying
    from flows.operating import automations

    try:
        with get_client(sync_client=True) as client:
            findings = _schedules(client)
            if missing := automations.missing(client):
                text = f"the server lacks {', '.join(missing)}; without these what is killed stays Running"
                findings += [Finding("warn", "automations", text, "fer init makes them, and fer up")]
            changed = deploying.overwritten(client)
    # The last two are for what another version of Prefect answers.
    except (httpx.HTTPError, ValueError, RuntimeError) as error:
        fix = "see that the server's Prefect is of the version above"
        return [Finding("warn", "schedules", f"the server does not tell ({type(error).__name__})", fix)]
    fix = "`prefect deploy` replaces that; put into prefect.yaml before what is to stay"
    for name, changes in changed.items():
        findings.append(Finding("warn", "deployment", f"{name}: {'; '.join(changes)}", fix))
    return findings


def _schedules(client: "SyncPrefectClient") -> list[Finding]:
    """Whether each active schedule has a coming run, and its pool a worker."""
    from flows import deploying

    now = datetime.datetime.now(datetime.UTC)
    coming: dict[str, datetime.datetime] = {}
    idle: dict[str, bool] = {}  # deployments without a coming run of one of their schedules -> whether they are new
    pools = set()
    for deployment in deploying.on_server(client):
        active = [] if deployment.paused else [schedule for schedule in deployment.schedules if schedule.active]
        for schedule in active:
            pools.add(deployment.work_pool_name)
            starts = deploying.next_start(client, schedule)
            if starts is None:
                changed = deployment.updated or now
                idle[deployment.name] = changed > now - _SCHEDULED_AFTER
            else:
                coming[deployment.name] = min(starts, coming.get(deployment.name, starts))
    if not coming and not idle:
        return [Finding("ok", "schedules", "none is active")]
    findings = []
    if coming:
        name, starts = min(coming.items(), key=lambda item: item[1])
        text = f"{len(coming)} with coming runs, {name} first at {starts:%Y-%m-%d %H:%M %Z}"
        findings.append(Finding("ok", "schedules", text))
    if idle:
        text = f"active, but without a coming run: {', '.join(sorted(idle))}"
        if all(idle.values()):
            findings += [Finding("warn", "schedules", text, "it is new on the server; look again in a minute")]
        else:
            start = prefect_ui.start_command()
            fix = f"the server's scheduler fails: see its log, start it from this environment ({start}); or pause them"
            findings += [Finding("fail", "schedules", text, fix)]
    for pool in sorted(name for name in pools if name is not None):
        if client.read_work_pool(pool).status == "READY":
            findings += [Finding("ok", "worker", f"one works for the pool {pool}")]
        else:
            fix = f"prefect worker start --pool {pool}; of the scheduled runs missed until then the newest is made up"
            findings += [Finding("warn", "worker", f"none works for the pool {pool}", fix)]
    return findings


def _telemetry() -> Finding:
    switched_on = [
        name
        for name, quiet in (
            ("DO_NOT_TRACK", "1"),
            ("PREFECT_SERVER_ANALYTICS_ENABLED", "false"),
            ("ORT_DISABLE_TELEMETRY", "1"),
        )
        if os.environ.get(name) != quiet
    ]
    if switched_on:
        return Finding("warn", "telemetry", "switched on by the environment", f"unset {', '.join(switched_on)}")
    return Finding("ok", "telemetry", "off")
