"""What `fer models repair` finds lost or damaged, and what it puts back."""

import json
import uuid

import pytest

from fer import errors
from fer.engine import connect, disk
from fer.registry import moves
from fer.registry.manifest import Registration
from fer.registry.registry import Registry
from fer.registry.repair import repair
from fer.settings import Settings

ALIAS = "models/demo/aliases/champion.json"
ENTRY = "models/demo/log/{:08d}.json"
MANIFEST = "models/demo/versions/{:05d}.json"


@pytest.fixture(scope="module")
def objects(store_home, tmp_path_factory):
    """The objects (key -> bytes) of versions 1 to 3, promoted one after another; the third was rolled back."""
    model = tmp_path_factory.mktemp("release") / "model.keras"
    model.write_bytes(b"weights")
    with connect.store(Settings(home=store_home, store_endpoint=None, store_prefix=uuid.uuid4().hex)) as store:
        return everything(three_versions(Registry(store), model))


@pytest.fixture
def models(store, objects):
    """A registry of these, in a store of the test's own."""
    for key, data in objects.items():
        store.put(key, data)
    return Registry(store)


def three_versions(registry, model):
    for number in (1, 2, 3):
        registration = {
            "status": "released",
            "reasons": ("accuracy 0.70, floor 0.6",),
            "registration_key": uuid.uuid4().hex,
            "model_digest": str(number),
            "recipe": {},
            "inputs": {},
            "code_fingerprint": "ef",
            "metrics": {"accuracy": 0.7, "macro": {"f1": 0.6}},
            "environment": {},
            "champion_at_registration": number - 1 or None,
        }
        manifest = registry.register("demo", {"model.keras": model}, Registration.model_validate(registration))
        registry.promote("demo", manifest.version, registry.alias("demo"))
    moves.rollback(registry, "demo", reason="too sad")
    return registry


def everything(models) -> dict[str, bytes]:
    return {listed.key: models.store.get(listed.key).data for listed in models.store.list("models/")}


def test_a_registry_that_is_whole_has_nothing_to_repair(models):
    before = everything(models)
    assert repair(models, "demo", apply=True) == []
    assert repair(models, "other", apply=True) == []
    assert everything(models) == before


@pytest.mark.parametrize(
    "damage", [None, b"", b'{"version": 3}', b'{"version": 9, "entry": 7}', b'{"version": 1, "entry": 1000000000}']
)
def test_the_alias_is_made_anew_from_the_log(models, damage):
    if damage is None:
        models.store.delete(ALIAS)
    else:
        models.store.put(ALIAS, damage)
    before = everything(models)
    (finding,) = repair(models, "demo", apply=False)
    assert "demo@champion" in finding.what
    assert "version 2" in finding.fix
    assert everything(models) == before
    assert repair(models, "demo", apply=True, by="ann@host") == [finding]
    assert models.get("demo").version == 2
    assert models.log("demo").bar(3, None) is not None
    last = models.log("demo").entries[-1]
    assert (last.action, last.by, last.from_version, last.to_version) == ("repair", "ann@host", 2, 2)
    assert repair(models, "demo", apply=True) == []
    if damage is not None:
        assert damage in [data for key, data in everything(models).items() if key.startswith("models/demo/damaged/")]


def test_an_alias_that_is_behind_its_log_is_brought_up(models, monkeypatch):
    def unavailable(*_):
        raise errors.StoreUnavailable("The store must answer.")

    with monkeypatch.context() as patch:
        patch.setattr(models.store, "put_if_match", unavailable)
        moves.rollback(models, "demo")
    (finding,) = repair(models, "demo", apply=True)
    assert "entry 7 of the log, which goes to 8" in finding.what
    assert json.loads(models.store.get(ALIAS).data)["version"] == 1
    assert repair(models, "demo", apply=True) == []


@pytest.mark.parametrize("damage", [None, b"half of it"])
def test_a_manifest_comes_back_from_its_copy(models, damage):
    manifest, data = models.get("demo", "3"), models.store.get(MANIFEST.format(3)).data
    if damage is None:
        models.store.delete(MANIFEST.format(3))
    else:
        models.store.put(MANIFEST.format(3), damage)
    (finding,) = repair(models, "demo", apply=True)
    assert finding.fix
    assert models.get("demo", "3") == manifest
    assert models.store.get(MANIFEST.format(3)).data == data


@pytest.mark.parametrize("copy", [None, b"{}"])
def test_a_manifest_without_a_whole_copy_can_not_be_repaired_and_is_said(models, copy):
    key = models.log("demo").claims()[3].manifest.key
    models.store.delete(MANIFEST.format(3))
    if copy is None:
        models.store.delete(key)
    else:
        models.store.put(key, copy)
    (finding,) = repair(models, "demo", apply=True)
    assert "demo@3 is missing" in finding.what
    assert not finding.fix
    assert [manifest.version for manifest in models.versions("demo")] == [1, 2]


def test_a_version_without_a_file_is_said(models):
    models.store.put(models.get("demo", "1").files["model.keras"].key, b"cut")
    (finding,) = repair(models, "demo", apply=True)
    assert finding.what == "demo@1: model.keras missing or cut short"
    assert not finding.fix


@pytest.mark.parametrize("numbers", [(1,), (4,), (7,), (3, 4), (6, 7), (1, 2, 3, 4, 5, 6, 7)])
@pytest.mark.parametrize("damage", [None, b"{"])
def test_lost_entries_become_entries_that_say_so_and_the_champion_stays(models, numbers, damage):
    for number in numbers:
        if damage is None:
            models.store.delete(ENTRY.format(number))
        else:
            models.store.put(ENTRY.format(number), damage)
    with pytest.raises(errors.IntegrityError):
        models.alias("demo")
    findings = repair(models, "demo", apply=True)
    assert [finding.what.split(" of ")[0] for finding in findings[: len(numbers)]] == [
        f"entry {number}" for number in numbers
    ]
    assert all(finding.fix for finding in findings)
    assert models.get("demo").version == 2
    entries = {entry.number: entry.action for entry in models.log("demo").entries}
    assert {entries[number] for number in numbers} == {"lost"}
    assert repair(models, "demo", apply=True) == []


def rewritten(models, number, **changed):
    """Alter an entry as someone would who knows how its own SHA-256 is made."""
    document, _ = disk.unsealed(models.store.get(ENTRY.format(number)).data)
    models.store.put(ENTRY.format(number), disk.sealed(document | changed))


@pytest.mark.parametrize("number", [1, 3, 6, 7])
def test_an_altered_entry_is_found_by_the_one_after_it_or_by_the_alias(models, number):
    rewritten(models, number, by="somebody else")
    with pytest.raises(errors.IntegrityError, match=ENTRY.format(number)):
        models.alias("demo")
    (finding,) = (one for one in repair(models, "demo", apply=True) if "entry" in one.what)
    assert f"entry {number} " in finding.what
    assert models.log("demo").entries[number - 1].action == "lost"
    assert models.get("demo").version == 2
    assert repair(models, "demo", apply=True) == []


def test_an_entry_that_was_taken_out_is_found_where_the_others_were_renumbered(models):
    for number in range(3, 7):
        document, _ = disk.unsealed(models.store.get(ENTRY.format(number + 1)).data)
        models.store.put(ENTRY.format(number), disk.sealed(document | {"number": number}))
    models.store.delete(ENTRY.format(7))
    with pytest.raises(errors.IntegrityError):
        models.alias("demo")


def test_entries_that_no_digest_chains_are_only_those_before_the_first_that_one_does(models):
    rewritten(models, 4, before=None)
    with pytest.raises(errors.IntegrityError):
        models.alias("demo")


def test_a_log_from_before_entries_were_chained_is_read_and_chained_from_then_on(models):
    for number in range(1, 8):
        rewritten(models, number, before=None)
    alias, _ = disk.unsealed(models.store.get(ALIAS).data)
    models.store.put(ALIAS, disk.sealed({name: value for name, value in alias.items() if name != "entry_sha256"}))
    assert models.get("demo").version == 2
    moves.promote(models, "demo", 3)
    *older, newest = models.log("demo").entries
    assert newest.before == older[-1].digest
    assert {entry.before for entry in older} == {None}
    rewritten(models, 7, by="somebody else")
    with pytest.raises(errors.IntegrityError, match=ENTRY.format(7)):
        models.alias("demo")


def test_with_the_whole_log_and_the_alias_gone_the_newest_release_is_champion_and_it_is_said_why(models):
    for listed in [*models.store.list("models/demo/log/"), *models.store.list("models/demo/aliases/")]:
        models.store.delete(listed.key)
    (finding,) = repair(models, "demo", apply=True)
    assert "version 3" in finding.fix
    assert "if it was another, promote that one by name" in finding.fix
    assert models.get("demo").version == 3
    assert moves.rollback(models, "demo").to_version == 2


def test_what_another_writer_changed_meanwhile_is_a_conflict(models, monkeypatch):
    models.store.delete(ALIAS)
    put = models.store.put_if_absent

    def late(key, data):
        put(key, data.replace(b"demo", b"demo", 1) + b" ")
        return put(key, data)

    monkeypatch.setattr(models.store, "put_if_absent", late)
    with pytest.raises(errors.StoreConflict, match="fer models repair demo"):
        repair(models, "demo", apply=True)
