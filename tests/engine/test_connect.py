import json

import pytest
from two_files import run

from fer import errors
from fer.engine import connect
from fer.engine.local_workspace import LocalWorkspace
from fer.engine.store import credentials, seaweedfs
from fer.ingest.refs import DatasetRef
from fer.settings import Settings


def test_connect_makes_the_bucket_and_uses_the_prefix(store_home):
    with connect.store(Settings(home=store_home, store_bucket="own-bucket", store_prefix="mine")) as store:
        store.put("k", b"1")
        assert "own-bucket" in store.buckets()
        assert store.uri("k") == "s3://own-bucket/mine/k"


def test_connect_uses_the_store_that_is_set_and_starts_none(store_home, tmp_path):
    home = tmp_path / "home"
    known = credentials.read(store_home / "store")
    settings = Settings(
        home=home,
        store_endpoint=seaweedfs.status(store_home).endpoint,
        store_access_key_id=known.access_key_id,
        store_secret_access_key=known.secret_access_key,
        store_bucket="set-bucket",
    )
    with connect.store(settings) as store:
        with pytest.raises(errors.StoreRefused, match="set-bucket"):
            store.ping()
        store.ensure_bucket()
        store.ping()
    assert not home.exists()


def test_the_settings_workspace_is_a_folder_or_a_bucket_that_is_made_in_the_embedded_store(store_home, tmp_path):
    with connect.workspace(Settings(home=tmp_path)) as local:
        assert type(local) is LocalWorkspace
        assert local.root == tmp_path / "workspace"
    settings = Settings(home=store_home, workspace="s3://new-bucket/faces")
    with connect.workspace(settings) as workspace:
        assert connect.running_workspace(settings).committed("stage", "k1", DatasetRef) is None
        output = run(workspace)
        assert connect.running_workspace(settings).committed("stage", "k1", DatasetRef) == output
        assert workspace.objects.store.uri("stage") == "s3://new-bucket/faces/stage"
        assert workspace.objects.uri == settings.workspace
        assert workspace.root == settings.workspace_folder


def test_a_bucket_that_is_not_there_is_an_error_before_the_work(store, store_home):
    secret = json.loads((store_home / "store" / "credentials.json").read_text())
    settings = Settings(
        home=store_home,
        workspace="s3://no-such-bucket",
        store_endpoint=store.endpoint,
        store_access_key_id=secret["access_key_id"],
        store_secret_access_key=secret["secret_access_key"],
    )
    with pytest.raises(errors.StoreRefused, match="The bucket 'no-such-bucket' must exist"):
        connect.workspace(settings).__enter__()


def test_a_workspace_in_an_embedded_store_that_does_not_run_says_so(tmp_path):
    with pytest.raises(errors.StoreUnavailable, match="embedded store must run"):
        connect.running_workspace(Settings(home=tmp_path, workspace="s3://bucket"))


def test_a_home_of_its_own_has_the_store_and_the_trust_of_the_other(store_settings, store, tmp_path, monkeypatch):
    monkeypatch.setenv("FER_HOME", str(store_settings.home))
    monkeypatch.setenv("FER_STORE_PREFIX", store_settings.store_prefix)
    before = Settings.load()
    store.put("one", b"1")
    with connect.alone(before, tmp_path / "own"):
        own = Settings.load()
        assert (own.home, own.workspace_folder) == (tmp_path / "own", tmp_path / "own" / "workspace")
        assert own.trusted_keys == before.trusted_keys
        with connect.store(own) as same:
            assert same.get("one").data == b"1"
    assert Settings.load() == before
