"""The policies of roles, enforced by a store of its own: what a role does works with its key, and nothing else."""

import json
import os
import subprocess
import time

import pytest
import signed_registry
from pydantic import SecretStr

from fer import errors
from fer.engine.store import ports, probing, process, security
from fer.engine.store.credentials import Credentials
from fer.engine.store.objectstore import ObjectStore
from fer.registry import moves, names, pins
from fer.registry.registry import Registry
from fer.registry.trust import access, keys, openssf, signing
from fer.registry.trust import releases as signed_releases
from fer.registry.trust.policy import Policy

BUCKET, PREFIX = "fer-models", "team/a"
pytestmark = pytest.mark.slow


def identities():
    """SeaweedFS's configuration: a user for each role, with its policy as far as SeaweedFS knows conditions."""
    users = [{"name": "admin", "actions": ["Admin", "Read", "Write", "List"]}]
    policies = []
    for role in access.ROLES:
        document = access.policy(role, BUCKET, PREFIX)
        document["Statement"] = [part for part in document["Statement"] if part["Sid"] not in access.APPEND_ONLY]
        policies.append({"name": f"of-{role}", "content": json.dumps(document)})
        users.append({"name": role, "policyNames": [f"of-{role}"]})
    for user in users:
        user["credentials"] = [{"accessKey": user["name"], "secretKey": f"key-of-{user['name']}"}]
    return {"identities": users, "policies": policies}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    """A SeaweedFS that knows these users."""
    folder = tmp_path_factory.mktemp("store")
    (folder / "data").mkdir()
    (folder / "identities.json").write_text(json.dumps(identities()))
    security.make(folder)
    chosen = ports.choose({})
    command = [*process._command(folder, chosen), f"-s3.config={folder / 'identities.json'}"]
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder)}
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{chosen[ports.S3]}"
        deadline = time.monotonic() + 60
        while True:
            try:
                as_user(url, "admin").ensure_bucket()
                as_user(url, "admin").put("ready", b"yes")
                break
            except errors.StoreError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield url
    finally:
        server.kill()  # asked kindly it waits for its clients' connections
        server.wait()


def as_user(url, name):
    return ObjectStore(url, BUCKET, Credentials(name, SecretStr(f"key-of-{name}")), prefix=PREFIX)


@pytest.fixture
def made(endpoint, tmp_path):
    """Two versions, registered and promoted with the trainer's key; and another team's object."""
    ObjectStore(endpoint, BUCKET, as_user(endpoint, "admin")._credentials, prefix="team/b").put("models/x", b"theirs")
    admin = as_user(endpoint, "admin")
    for listed in list(admin.list("models/")):
        admin.delete(listed.key)
    trained = Registry(as_user(endpoint, "trainer"))
    return [signed_registry.released(trained, tmp_path, number, bill=b"{}") for number in (1, 2)]


def refused(call):
    with pytest.raises(errors.StoreRefused, match="AccessDenied"):
        call()


def test_a_reader_reads_and_writes_nothing(endpoint, made, tmp_path):
    store = as_user(endpoint, "reader")
    models = Registry(store)
    store.ping()
    assert models.get("demo").version == 2
    assert len(models.versions("demo")) == 2
    assert (models.fetch(made[1], tmp_path / "fetched") / "model.keras").read_bytes() == b"weights 2"
    refused(lambda: store.put("models/demo/files/0/x", b""))
    refused(lambda: store.put_if_absent(names.log_key("demo", 9), b""))
    refused(lambda: store.put("models/demo/aliases/champion.json", b""))
    refused(lambda: store.delete(made[1].files["model.keras"].key))
    refused(lambda: moves.rollback(models, "demo"))


@pytest.mark.parametrize("role", access.ROLES)
def test_nobody_sees_or_changes_what_is_of_others(endpoint, made, role):
    theirs = ObjectStore(endpoint, BUCKET, as_user(endpoint, role)._credentials, prefix="team/b")
    refused(lambda: theirs.get("models/x"))
    refused(lambda: list(theirs.list("models/")))
    refused(lambda: theirs.put("models/x", b""))
    refused(lambda: theirs.delete("models/x"))


def test_a_trainer_does_what_a_run_does_and_takes_no_history_away(endpoint, made):
    store = as_user(endpoint, "trainer")
    assert probing.fault(store) is None
    store.put("reports/models/demo/1/x", b"")
    assert Registry(store).remove_orphans("demo", older_than_s=0) == ()
    refused(lambda: store.delete(names.log_key("demo", 1)))
    refused(lambda: store.delete(names.version_key("demo", 1)))
    refused(lambda: store.delete("models/demo/aliases/champion.json"))
    refused(lambda: store.put("elsewhere", b""))


def test_a_promoter_moves_the_champion_pins_and_signs_and_changes_no_file(endpoint, made):
    store, key = as_user(endpoint, "promoter"), keys.new()
    models = Registry(store, Policy(signer=lambda: key))
    assert probing.fault(store) is None
    assert moves.rollback(models, "demo").to_version == 1
    assert moves.promote(models, "demo", 2).to_version == 2
    assert pins.pin(models, "demo", 1)
    assert signing.release(models, made[1])
    assert list(signed_releases.found(store, made[1])) == [f".signature-{key.public.id}.json"]
    store.put(f"{signed_releases.prefix(made[1])}{openssf.name_of(key.public.id)}", b"{}")
    assert list(openssf.found(store, made[1])) == [openssf.name_of(key.public.id)]
    refused(lambda: store.put(made[1].files["model.keras"].key, b"mine"))
    refused(lambda: store.put(names.version_key("demo", 2), b"{}"))
    refused(lambda: store.put_if_absent("models/demo/files/0/model.keras", b"mine"))
    refused(lambda: store.delete(made[1].files["model.keras"].key))
    refused(lambda: store.delete(names.log_key("demo", 1)))
