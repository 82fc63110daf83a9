import contextlib
import datetime
import shutil
import sqlite3
import threading
from pathlib import Path

import pytest
import registrations
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from fer import errors
from fer.curation import baseline
from fer.curation.refs import DriftRef, PreviousData, SplitRef, ValidationRef
from fer.engine import buckets
from fer.engine.local_workspace import LocalWorkspace
from fer.housekeeping import backup, backup_bucket
from fer.ingest.tombstones import records
from fer.registry import pins
from flows.cli import app as cli
from flows.operating import database as databases

SCOPE = baseline.Scope("demo", ("demo",))


def accept(workspace, key):
    """Data whose outputs are the files of this key, accepted."""
    validation = ValidationRef(classes=("happy",), n_found=1, n_accepted=1, quarantined={}, failures=(), warnings=())
    split = SplitRef(classes=("happy",), counts={}, origin="drawn")
    drift = DriftRef(n_baseline=None, n_new=0, n_gone=0, n_relabelled=0, failures=(), warnings=())
    made = [
        registrations.committed(workspace, stage, key, ref, {f"{stage}.parquet": key.encode()})
        for stage, ref in (("validate", validation), ("split", split))
    ]
    baseline.accept(workspace, SCOPE, PreviousData(), *made, drift, "inputs")
    return made


@pytest.fixture
def workspace(configured):
    return LocalWorkspace(configured.workspace_folder)


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "prefect" / "prefect.db"
    path.parent.mkdir()
    write(path, "before")
    return path


def write(path, text):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE IF NOT EXISTS run (name TEXT)")
        connection.execute("INSERT INTO run VALUES (?)", (text,))
        connection.commit()


def rows(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM run")]


@pytest.fixture
def kept(configured, models, workspace, database, tmp_path):
    """A backup of an installation with all that one holds."""
    registrations.register(workspace, registrations.parts(workspace, weights="a" * 64))
    pins.pin(models, "demo", 1)
    accept(workspace, "0")
    backup.write(tmp_path / "kept", configured, models, database)
    return tmp_path / "kept"


def objects(store):
    return {listed.key: store.get(listed.key).data for listed in store.list("models/")}


def test_all_that_was_lost_comes_back_as_it_was(configured, models, workspace, store, database, kept):
    before, notes = objects(store), baseline.notes(workspace)
    for key in before:
        store.delete(key)
    shutil.rmtree(workspace.root)
    shutil.rmtree(database.parent)
    said = backup.restore(kept, configured, models, database)
    assert len(said) == 4
    assert objects(store) == before
    assert baseline.notes(workspace) == notes
    assert {ref.path for ref in baseline.refs(baseline.find(workspace, SCOPE))} == {"validate/0", "split/0"}
    assert rows(database) == ["before"]
    assert models.alias("demo").version == 1
    assert list(pins.read(models, "demo")) == [1]


def test_where_nothing_is_lost_nothing_changes(configured, models, store, database, kept):
    before = objects(store)
    for _ in range(2):  # the second time the database is the backup's
        backup.restore(kept, configured, models, database, force=True)
    assert objects(store) == before
    assert len(list(database.parent.glob("prefect.db.before-*"))) == 1


def test_a_part_of_a_log_is_filled_up_and_what_came_later_stays(configured, models, store, workspace, database, kept):
    refs = registrations.parts(workspace, weights="b" * 64, passed=False)
    registrations.register(workspace, refs, registrations.state_for(workspace, refs[1]))
    whole = objects(store)
    store.delete("models/demo/log/00000002.json")
    backup.restore(kept, configured, models, database, force=True)
    assert objects(store) == whole


def test_a_registry_with_another_history_is_left_alone(configured, models, store, workspace, database, kept):
    for key in objects(store):
        store.delete(key)
    registrations.register(workspace, registrations.parts(workspace, weights="c" * 64))
    with pytest.raises(errors.IntegrityError, match="must have the history of the backup"):
        backup.restore(kept, configured, models, database, force=True)


def test_what_differs_is_replaced_only_by_force_and_the_database_kept_beside(
    configured, models, workspace, database, kept
):
    write(database, "after")
    accept(workspace, "1")
    with pytest.raises(errors.ConfigError, match="must not be there yet") as refused:
        backup.restore(kept, configured, models, database)
    assert "prefect.db" in str(refused.value)
    assert "accepted/demo" in str(refused.value)
    backup.restore(kept, configured, models, database, force=True)
    assert rows(database) == ["before"]
    [beside] = database.parent.glob("prefect.db.before-*")
    assert rows(beside) == ["before", "after"]
    assert baseline.find(workspace, SCOPE).split.path == "split/0"


def test_a_backup_goes_to_a_new_folder_unless_forced(configured, models, database, kept):
    first = backup.read(kept)
    with pytest.raises(errors.ConfigError, match="new or empty"):
        backup.write(kept, configured, models, database)
    assert backup.read(kept) == first
    write(database, "after")
    backup.write(kept, configured, models, database, force=True)
    assert rows(kept / "prefect.db") == ["before", "after"]
    assert [path.name for path in kept.parent.glob(".kept*")] == []


def test_a_database_that_is_written_to_meanwhile_is_kept_as_of_one_moment(configured, models, database, tmp_path):
    stop = threading.Event()

    def keep_writing():
        with contextlib.closing(sqlite3.connect(database)) as connection:
            while not stop.is_set():
                connection.executemany("INSERT INTO run VALUES (?)", [("pair",), ("pair",)])
                connection.commit()

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        for number in range(3):
            backup.write(tmp_path / f"kept{number}", configured, models, database)
    finally:
        stop.set()
        writer.join()
    assert all(rows(tmp_path / f"kept{number}" / "prefect.db").count("pair") % 2 == 0 for number in range(3))


def test_a_folder_without_a_list_is_no_backup(tmp_path):
    with pytest.raises(errors.ConfigError, match=r"must have a backup\.json"):
        backup.read(tmp_path)


@given(data=st.data())
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_byte_that_changed_anywhere_is_found_before_anything_is_restored(kept, data):
    path = data.draw(st.sampled_from(sorted(path for path in kept.rglob("*") if path.is_file())))
    whole = path.read_bytes()
    if not whole:
        return
    position = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[position] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(changed)
    try:
        with pytest.raises(errors.IntegrityError, match="nothing was restored"):
            backup.read(kept)
    finally:
        path.write_bytes(whole)


def test_the_commands_say_what_they_did_and_restore_not_under_a_server(
    configured, models, workspace, database, tmp_path, monkeypatch
):
    monkeypatch.setenv("PREFECT_HOME", str(database.parent))
    monkeypatch.delenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", raising=False)
    monkeypatch.delenv("PREFECT_API_DATABASE_CONNECTION_URL", raising=False)
    folder = str(tmp_path / "kept")
    assert "MB in" in CliRunner().invoke(cli.app, ["backup", folder]).output

    with monkeypatch.context() as server:
        server.setattr(databases, "users", lambda _: ["process 7 (python)"])
        refused = CliRunner().invoke(cli.app, ["restore", folder])
        assert isinstance(refused.exception, errors.WorkspaceError)
    write(database, "after")
    assert isinstance(CliRunner().invoke(cli.app, ["restore", folder]).exception, errors.ConfigError)
    assert CliRunner().invoke(cli.app, ["restore", folder, "--force"]).exit_code == 0
    assert rows(database) == ["before"]
    assert datetime.datetime.now(datetime.UTC) - backup.read(tmp_path / "kept").made_utc < datetime.timedelta(hours=1)


def test_what_is_to_be_forgotten_is_kept_and_put_back(configured, models, store, tmp_path):
    made = records.tombstone(["a" * 64], [], "digest", "me")
    records.write(store, made)
    backup.write(tmp_path / "kept", configured, models, None)
    store.delete(f"{records.PREFIX}{made.id}.json")
    assert records.read(store) is None
    backup.restore(tmp_path / "kept", configured, models, None)
    assert records.read(store) == records.Tombstones.of([made])


@pytest.fixture
def bucket(configured):
    """A prefix of another bucket of the store."""
    place = f"s3://fer-backups/{configured.store_prefix}"
    with buckets.opened(buckets.parse(place)) as there:
        there.ensure_bucket()
    return place


def test_a_backup_goes_to_another_bucket_and_comes_back_from_there(configured, models, workspace, bucket, store):
    refs = registrations.parts(workspace, weights="a" * 64)
    registrations.register(workspace, refs, registrations.state_for(workspace))
    before = {listed.key: store.get(listed.key).data for listed in store.list("models/")}
    made, where = backup_bucket.write(bucket, configured, models, None)
    assert where == bucket
    for key in before:
        store.delete(key)
    with backup_bucket.here(bucket) as folder:
        assert backup.read(folder) == made
        backup.restore(folder, configured, models, None)
    after = {listed.key: store.get(listed.key).data for listed in store.list("models/")}
    assert {key for key in before if not key.split("/")[-1].startswith(".sbom")} <= after.keys()
    assert all(after[key] == before[key] for key in after)
    assert models.get("demo").version == 1


def test_a_changed_byte_of_a_backup_in_a_bucket_is_found_before_anything_is_restored(
    configured, models, workspace, bucket
):
    refs = registrations.parts(workspace, weights="a" * 64)
    registrations.register(workspace, refs, registrations.state_for(workspace))
    made, _ = backup_bucket.write(bucket, configured, models, None)
    with buckets.opened(buckets.parse(bucket)) as there:
        name = next(name for name in made.files if name.endswith("model.keras"))
        there.put(name, b"x")
    with pytest.raises(errors.IntegrityError, match="must have the SHA-256"), backup_bucket.here(bucket):
        pass


def test_only_an_empty_prefix_or_another_backup_takes_a_backup(configured, models, bucket):
    backup_bucket.write(bucket, configured, models, None)
    with pytest.raises(errors.ConfigError, match="without objects"):
        backup_bucket.write(bucket, configured, models, None)
    backup_bucket.write(bucket, configured, models, None, force=True)
    with buckets.opened(buckets.parse(bucket)) as there:
        there.delete(backup.LIST)
        there.put("mine", b"x")
    with pytest.raises(errors.ConfigError, match="Only another backup is replaced"):
        backup_bucket.write(bucket, configured, models, None, force=True)


def test_of_dated_backups_the_last_ones_stay_and_other_things_too(configured, models, bucket, tmp_path):
    place = tmp_path / "backups"
    (place / "mine").mkdir(parents=True)
    for name in ("20200101T000000Z", "20210101T000000Z"):
        (place / name).mkdir()
        (place / name / backup.LIST).touch()
    _, where = backup_bucket.write_dated(str(place), configured, models, None, keep=2)
    assert sorted(path.name for path in place.iterdir()) == ["20210101T000000Z", Path(where).name, "mine"]
    with buckets.opened(buckets.parse(bucket)) as there:
        there.put(f"20200101T000000Z/{backup.LIST}", b"x")
        _, where = backup_bucket.write_dated(bucket, configured, models, None, keep=1)
        assert {listed.key.split("/")[0] for listed in there.list("")} == {where.rpartition("/")[2]}
