"""An installation: what it was asked for, what its services are given, and what others may see of it."""

import asyncio
import datetime
import importlib
import stat
import uuid

import pytest

from fer import errors
from flows.operating import installation
from flows.operating.installation import Installation

PASSWORD = {installation.PASSWORD: "ann:s3cret-of-ann"}
POSTGRESQL = {installation.DATABASE: "postgresql+asyncpg://prefect:s3cret@db.example:5432/runs"}


def asked(tmp_path, **given) -> Installation:
    return Installation(prefect_home=tmp_path / "prefect", **given)


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.5", "::", "fer.example"])
def test_beyond_loopback_a_password_is_demanded(tmp_path, host):
    with pytest.raises(errors.ConfigError, match="must ask for a password"):
        installation.require_guarded(asked(tmp_path, host=host), {})
    installation.require_guarded(asked(tmp_path, host=host), PASSWORD)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_on_loopback_none_is(tmp_path, host):
    installation.require_guarded(asked(tmp_path, host=host), {})


@pytest.mark.parametrize("value", ["s3cret", ":s3cret", "ann:"])
def test_a_password_that_lets_nobody_in_is_refused_and_not_shown(tmp_path, value):
    with pytest.raises(errors.ConfigError, match="USER:PASSWORD") as refused:
        installation.require_guarded(asked(tmp_path), {installation.PASSWORD: value})
    assert "s3cret" not in str(refused.value)


def test_settings_of_the_server_are_kept_until_they_are_replaced_or_emptied():
    kept = installation.given_settings(POSTGRESQL | {"PATH": "/bin", "PREFECT_API_URL": "x"}, {})
    assert kept == POSTGRESQL
    assert installation.given_settings({}, kept) == POSTGRESQL
    assert installation.given_settings(PASSWORD, kept) == POSTGRESQL | PASSWORD
    assert installation.given_settings({installation.DATABASE: ""}, kept) == {}


def test_what_is_kept_is_for_its_owner_alone(tmp_path):
    installation.folder(tmp_path).mkdir()
    installation.save_settings(tmp_path, POSTGRESQL)
    assert installation.server_settings(tmp_path) == POSTGRESQL
    file = installation.folder(tmp_path) / "server-settings.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_worker_gets_the_password_and_neither_the_database_nor_another_server(tmp_path):
    base = {"PATH": "/bin", "KAGGLE_KEY": "k", "PREFECT_API_URL": "http://other/api", **POSTGRESQL}
    kept = PASSWORD | POSTGRESQL
    worker = installation.environment(asked(tmp_path), tmp_path, "worker-1", kept, base)
    assert worker["PREFECT_API_URL"] == "http://127.0.0.1:4200/api"
    assert worker["PREFECT_API_AUTH_STRING"] == "ann:s3cret-of-ann"
    assert worker["KAGGLE_KEY"] == "k"
    assert not any(name.startswith("PREFECT_SERVER_") for name in worker)
    server = installation.environment(asked(tmp_path), tmp_path, installation.SERVER, kept, base)
    assert server.items() >= kept.items()
    assert "PREFECT_API_URL" not in server
    assert server["PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT"] == "false"


def test_what_the_user_sets_for_the_server_wins(tmp_path):
    own = {"PREFECT_SERVER_UI_API_URL": "https://fer.example/api"}
    server = installation.environment(asked(tmp_path, host="0.0.0.0"), tmp_path, installation.SERVER, own, {})
    assert server.items() >= own.items()


def test_the_database_is_named_without_user_and_password(tmp_path):
    assert installation.database(POSTGRESQL, tmp_path) == "postgresql://db.example:5432/runs"
    assert installation.database({}, tmp_path) == str(tmp_path / "prefect.db")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:4200/api"),
        ("0.0.0.0", "http://127.0.0.1:4200/api"),
        ("::", "http://[::1]:4200/api"),
    ],
)
def test_this_machine_reaches_the_server_by(tmp_path, host, url):
    assert asked(tmp_path, host=host).url == url


def test_a_damaged_record_counts_as_none(tmp_path):
    installation.folder(tmp_path).mkdir()
    installation.save(tmp_path, asked(tmp_path))
    assert installation.load(tmp_path) == asked(tmp_path, token=installation.load(tmp_path).token)
    (installation.folder(tmp_path) / "asked.json").write_text('{"port": ')
    assert installation.load(tmp_path) is None


def test_the_slot_of_a_run_outlives_a_restart_of_the_server(tmp_path):
    """A run whose lease of it is gone is ended by Prefect when it is to be renewed."""
    environment = installation.environment(asked(tmp_path), tmp_path, installation.SERVER, {}, {})
    storage = importlib.import_module(environment["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"]).ConcurrencyLeaseStorage
    lease = asyncio.run(storage(tmp_path).create_lease([uuid.uuid4()], datetime.timedelta(minutes=5)))
    again = asyncio.run(storage(tmp_path).read_lease(lease.id))
    assert again.resource_ids == lease.resource_ids
