"""Whoever can write to the bucket, and has no key: what they change is found before anything of it is loaded."""

import json
import shutil

import pytest
import signed_registry

from fer import errors
from fer.registry import log as registry_log
from fer.registry import moves, names, releases, repair
from fer.registry.ledger import Ledger
from fer.registry.registry import Registry
from fer.registry.trust import keys, logs, signing, verifying
from fer.registry.trust import releases as signed_releases
from fer.settings import Settings

ALIAS = "models/demo/aliases/champion.json"


@pytest.fixture
def key(monkeypatch, tmp_path, store_settings):
    return signed_registry.require(monkeypatch, tmp_path, store_settings)


@pytest.fixture
def made(key, store, tmp_path):
    """Versions 1 and 2 of `demo`, both signed; 2 is champion."""
    with releases.open_registry() as models:
        return [signed_registry.released(models, tmp_path, number, bill=b'{"bom": 1}') for number in (1, 2)]


@pytest.fixture
def intruder(store):
    """Who can write to the bucket, has no key, and a copy of this program."""
    return Registry(store)


def loaded(spec="demo@champion"):
    """What a consumer gets who has nothing here yet: the files' bytes."""
    shutil.rmtree(Settings.load().home / "models", ignore_errors=True)
    with releases.local_copy(spec) as (manifest, folder):
        return manifest.version, {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(match=None, spec="demo@champion"):
    with pytest.raises(errors.IntegrityError, match=match) as error:
        loaded(spec)
    return str(error.value)


def test_what_is_signed_is_loaded(made):
    version, contents = loaded()
    assert version == 2
    assert contents["model.keras"] == b"weights 2"
    assert loaded("demo@1")[0] == 1


def objects_of(manifest, store):
    beside = signed_releases.prefix(manifest)
    return [names.version_key("demo", manifest.version), *(listed.key for listed in store.list(beside))]


def test_a_flipped_byte_in_any_object_of_a_release_is_found(made, store):
    for place in objects_of(made[1], store):
        if place.endswith("/.manifest.json"):  # the copy, which is read for repairs alone, by its digest
            continue
        whole = store.get(place).data
        for position in (0, len(whole) // 2, len(whole) - 1):
            store.put(place, whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
            refused(spec="demo@2")
        store.put(place, whole)
    loaded()


def test_a_flipped_byte_in_any_object_of_the_log_is_found(made, store):
    for listed in list(store.list("models/demo/log/")):
        whole = store.get(listed.key).data
        for position in (len(whole) // 3, len(whole) // 2):
            store.put(listed.key, whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
            refused()
        store.put(listed.key, whole)
    loaded()


def test_an_alias_moved_by_hand_is_found(made, intruder):
    whole = intruder.store.get(ALIAS).data
    document = json.loads(whole)
    for version in (1, None):
        intruder.store.put(ALIAS, json.dumps(document | {"version": version}).encode())
        refused("alias demo@champion must be as it was left")
    intruder.store.delete(ALIAS)
    refused("alias demo@champion")


def test_a_champion_made_without_a_key_is_found(made, intruder):
    moves.rollback(intruder, "demo")
    said = refused("log of 'demo' must be signed.*not signed")
    assert "fer models sign demo" in said
    assert "log/00000005.json" in said


def test_a_champion_made_by_another_key_is_found(made, store):
    stranger = keys.new()
    policy = Registry(store).policy._replace(signer=lambda: stranger)
    moves.rollback(Registry(store, policy), "demo")
    said = refused(f"signed by the key {stranger.public.id} alone, which is not trusted here")
    assert "fer keys trust" in said


def test_a_log_written_anew_as_a_whole_is_found(made, intruder):
    for listed in list(intruder.store.list("models/demo/log/")):
        intruder.store.delete(listed.key)
    intruder.store.delete(ALIAS)
    ledger = Ledger(intruder.store, "demo", lambda: None)
    ledger.move(lambda _: registry_log.Act(action="found", by="me", version=1, to_version=1))
    refused("not signed")


def test_a_log_taken_back_to_an_earlier_state_is_found(made, intruder):
    loaded()
    entries = Ledger(intruder.store, "demo", lambda: None).entries()
    earlier = registry_log.Log(entries[:-1])
    intruder.store.delete(names.log_key("demo", len(entries)))
    intruder.store.put(ALIAS, registry_log.encoded(earlier.pointer()))
    said = refused("must go on from where it was when it was last read here")
    assert "entry 4" in said
    for entry in entries[:-1]:
        intruder.store.delete(names.log_key("demo", entry.number))
    intruder.store.delete(ALIAS)
    for version in (1, 2):
        intruder.store.delete(names.version_key("demo", version))
    refused("must go on")


def test_a_log_that_goes_on_while_it_is_read_is_not_taken_for_one_that_was_taken_back(made, monkeypatch):
    with releases.open_registry() as models:
        slow, quick = models.ledger("demo"), models.ledger("demo")
        read = slow.entries

        def entries():
            found = read()
            if len(found) == 4:
                moves.rollback(models, "demo")
                assert quick.read().log.head == 5
            return found

        monkeypatch.setattr(slow, "entries", entries)
        assert slow.read().log.head == 4


def test_a_release_without_a_signature_is_not_used(made, store):
    place = f"{signed_releases.prefix(made[1])}.signature-"
    for listed in list(store.list(place)):
        store.delete(listed.key)
    said = refused("release demo@2 must be signed.*not signed: s3://.*/versions/00002.json")
    assert "fer models sign demo@2" in said
    with releases.open_registry() as models, pytest.raises(errors.IntegrityError, match="not signed"):
        models.promotable("demo", 2)


def test_a_manifest_signed_by_another_key_is_found(made, store):
    """With its files, its claim in the log left alone: the manifest says something else, and is signed by somebody."""
    stranger = keys.new()
    place = names.version_key("demo", 2)
    data = store.get(place).data.replace(b'"accuracy": 0.7', b'"accuracy": 0.9')
    store.put(place, data)
    beside = signed_releases.prefix(made[1])
    stated = signed_releases.statement("demo", 2, data, b'{"bom": 1}')
    for listed in list(store.list(f"{beside}.signature-")):
        store.delete(listed.key)
    signed_releases.sign(store, beside, stated, stranger)
    refused(spec="demo@2")
    for listed in list(store.list("models/demo/log/")):  # without the claims, the signature alone tells
        store.delete(listed.key)
    refused(f"signed by the key {stranger.public.id} alone, which is not trusted", "demo@2")


def test_the_signature_of_another_version_does_not_fit(made, store):
    first, second = (signed_releases.found(store, manifest) for manifest in made)
    name = next(iter(second))
    store.put(signed_releases.prefix(made[1]) + name, next(iter(first.values())))
    refused(r"that does not fit", "demo@2")


def test_another_bill_of_materials_is_found(made, store):
    store.put(signed_releases.prefix(made[1]) + signed_releases.BILL, b"{}")
    refused("that does not fit", "demo@2")


def test_another_bill_of_materials_is_found_where_nothing_is_signed_too(store, tmp_path):
    models = Registry(store)
    manifest = signed_registry.released(models, tmp_path, 1, bill=b'{"bom": 1}')
    assert verifying.bill(models, manifest) == b'{"bom": 1}'
    place = signed_releases.prefix(manifest) + signed_releases.BILL
    for damage in (lambda: models.store.put(place, b"{}"), lambda: models.store.delete(place)):
        damage()
        with pytest.raises(errors.IntegrityError, match=r"\.sbom\.cdx\.json.*fer models repair demo"):
            verifying.bill(models, manifest)


def test_where_signatures_are_optional_a_wrong_one_is_found_all_the_same(made, store, monkeypatch):
    monkeypatch.setenv("FER_SIGNATURES", "optional")
    place = signed_releases.prefix(made[1])
    (name,) = signed_releases.found(store, made[1])
    whole = store.get(place + name).data
    store.delete(place + name)
    assert loaded()[0] == 2
    document = json.loads(whole)
    document["signature"]["value"] = "A" * 86 + "=="
    store.put(place + name, json.dumps(document).encode())
    refused("does not fit")


def test_a_key_that_follows_another_is_trusted_beside_it(made, monkeypatch, tmp_path):
    second = keys.new()
    public = keys.write(second, tmp_path / "second")
    keys.trust(keys.read_public(public), tmp_path / "trusted")
    monkeypatch.setenv("FER_SIGNING_KEY", str(tmp_path / "second"))
    with releases.open_registry() as models:
        manifest = signed_registry.released(models, tmp_path, 3)
    assert loaded()[0] == 3
    assert loaded("demo@1")[0] == 1
    assert f".signature-{second.public.id}.json" in signed_releases.found(models.store, manifest)


def test_nothing_is_written_without_a_key_where_signatures_are_required(made, monkeypatch, tmp_path):
    monkeypatch.delenv("FER_SIGNING_KEY")
    with releases.open_registry() as models:
        with pytest.raises(errors.ConfigError, match="FER_SIGNING_KEY"):
            signed_registry.released(models, tmp_path, 3)
        with pytest.raises(errors.ConfigError, match="FER_SIGNING_KEY"):
            moves.rollback(models, "demo")
        assert len(models.versions("demo")) == 2
        assert models.log("demo").champion == 2


def test_who_reads_needs_no_private_key(made, monkeypatch):
    monkeypatch.delenv("FER_SIGNING_KEY")
    assert loaded()[0] == 2


def test_signatures_without_a_trusted_key_are_an_error_of_the_settings(made, monkeypatch, tmp_path):
    monkeypatch.setenv("FER_TRUSTED_KEYS", str(tmp_path / "none"))
    with pytest.raises(errors.ConfigError, match="fer keys trust"):
        loaded()


def test_equal_releases_stay_equal_whoever_signs_them(store, tmp_path, key):
    unsigned = signed_registry.released(Registry(store), tmp_path)
    assert signed_releases.found(store, unsigned) == {}
    with releases.open_registry(unsigned=True) as models:
        assert models.get("demo", "1") == unsigned
        stated = signed_releases.stated(store, unsigned)
        signed_releases.sign(store, signed_releases.prefix(unsigned), stated, key)
        assert models.get("demo", "1") == unsigned
    assert loaded("demo@1")[0] == 1


def test_a_repaired_log_counts_once_it_is_signed(made, intruder, store):
    intruder.store.delete(names.log_key("demo", 2))
    with releases.open_registry(unsigned=True) as models:
        repair.repair(models, "demo", apply=True)
    refused("does not fit")


def test_a_repaired_alias_is_signed(made, store):
    store.delete(ALIAS)
    with releases.open_registry(unsigned=True) as models:
        repair.repair(models, "demo", apply=True)
        assert models.log("demo").entries[-1].action == "repair"
    assert loaded()[0] == 2


def test_a_champion_from_before_there_was_a_log_is_used_once_it_is_signed(made, store, monkeypatch):
    for listed in list(store.list("models/demo/log/")):
        store.delete(listed.key)
    store.put(ALIAS, json.dumps({"version": 1}).encode())
    monkeypatch.setattr(logs, "seen", lambda *_: None)  # who has not read it before
    refused("no log, but a champion")
    with releases.open_registry(unsigned=True) as models:
        signing.log(models, "demo")
        assert [entry.action for entry in models.log("demo").entries] == ["found"]
    assert loaded()[0] == 1


def test_no_object_of_the_registry_and_no_setting_holds_the_private_key(made, store, tmp_path):
    secret = (tmp_path / "key").read_text().splitlines()[1]
    for listed in store.list("models/"):
        assert secret.encode() not in store.get(listed.key).data
    configured = Settings.load()
    assert secret not in f"{configured!r} {configured.described()}"
