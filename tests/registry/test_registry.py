import contextlib
import datetime
import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import hypothesis
import hypothesis.strategies
import pydantic
import pytest

from fer import errors
from fer.engine import disk
from fer.registry import names
from fer.registry.manifest import Manifest, Registration
from fer.registry.registry import Registry


@pytest.fixture
def models(store):
    return Registry(store)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"weights" * 1000)
    (tmp_path / "metrics.json").write_bytes(b"{}")
    return {name: tmp_path / name for name in ("model.keras", "metrics.json")}


def _registration(key: str | None = None, **more: object) -> Registration:
    defaults = {
        "status": "released",
        "reasons": ("accuracy 0.70 >= 0.60",),
        "registration_key": key or uuid.uuid4().hex,
        "model_digest": "ab" * 32,
        "recipe": {"name": "demo", "train": {"epochs": 3, "input": (48, 48)}},
        "inputs": {"train": "cd" * 32},
        "code_fingerprint": "ef" * 32,
        "metrics": {"accuracy": 0.7, "per_class": {"happy": {"recall": 0.9}}},
        "environment": {"keras": "3.15.1"},
        "champion_at_registration": None,
    }
    return Registration.model_validate(defaults | more)


def uploaded(models) -> set[str]:
    """The files of `demo`, without the copies of manifests beside them."""
    keys = (listed.key for listed in models.store.list("models/demo/files/"))
    return {key for key in keys if not key.endswith("/.manifest.json")}


def _outcome(call):
    try:
        return call()
    except errors.StoreConflict as conflict:
        return conflict


def test_an_empty_registry_has_no_models(models):
    assert models.names() == ()
    assert models.versions("demo") == []
    assert models.alias("demo") is None


def test_a_version_says_what_it_was_registered_with_and_its_files_come_back(models, files, tmp_path):
    manifest = models.register("demo", files, _registration())
    assert (manifest.name, manifest.version, manifest.metrics["accuracy"]) == ("demo", 1, 0.7)
    assert models.get("demo", "1") == manifest
    assert models.versions("demo") == [manifest]
    assert models.names() == ("demo",)
    assert models.uri(manifest).endswith("/models/demo/versions/00001.json")
    folder = models.fetch(manifest, tmp_path / "fetched")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {n: p.read_bytes() for n, p in files.items()}


def test_racing_writers_get_distinct_versions_and_none_is_lost(models, files):
    with ThreadPoolExecutor(10) as racers:
        manifests = list(racers.map(lambda _: models.register("demo", files, _registration()), range(10)))
    assert sorted(manifest.version for manifest in manifests) == list(range(1, 11))
    assert models.versions("demo") == sorted(manifests, key=lambda manifest: manifest.version)


def test_racing_writers_of_the_same_registration_make_one_version_and_leave_no_other_files(models, files):
    models.register("demo", files, _registration())
    same = _registration("the same")
    with ThreadPoolExecutor(8) as racers:
        manifests = list(racers.map(lambda _: models.register("demo", files, same), range(8)))
    assert {manifest.version for manifest in manifests} == {2}
    keys = {file.key for manifest in models.versions("demo") for file in manifest.files.values()}
    assert uploaded(models) == keys


def test_a_registration_that_is_there_is_returned_and_uploads_nothing(models, files, monkeypatch):
    first = models.register("demo", files, _registration("again"))
    monkeypatch.setattr(models.store, "upload_file", lambda *_: pytest.fail("uploaded"))
    assert models.register("demo", files, _registration("again", metrics={})) == first


def test_a_lost_answer_to_the_commit_is_found_by_the_next_try(models, files, monkeypatch):
    real = models.store.put_if_absent

    def lose_answer(key, data):
        real(key, data)
        raise errors.StoreUnavailable("The store must answer.")

    monkeypatch.setattr(models.store, "put_if_absent", lose_answer)
    with pytest.raises(errors.StoreUnavailable):
        models.register("demo", files, _registration("once"))
    monkeypatch.undo()
    manifest = models.register("demo", files, _registration("once"))
    assert manifest.version == 1
    assert models.versions("demo") == [manifest]


def test_an_upload_that_fails_leaves_neither_a_version_nor_files(models, files, monkeypatch):
    real = models.store.upload_file
    monkeypatch.setattr(
        models.store,
        "upload_file",
        lambda key, path: real(key, path) if path.suffix == ".keras" else real(key, path / "missing"),
    )
    with pytest.raises(OSError, match="missing"):
        models.register("demo", files, _registration())
    assert list(models.store.list("")) == []
    assert models.names() == ()


def test_an_upload_that_was_killed_leaves_no_version_and_is_cleared_away_later(models, files):
    manifest = models.register("demo", files, _registration())
    models.store.put("models/demo/files/0123456789abcdef/model.keras", b"half of it")  # what a killed upload leaves
    assert models.versions("demo") == [manifest]
    assert models.remove_orphans("demo") == ()
    assert models.remove_orphans("demo", older_than_s=-60) == ("models/demo/files/0123456789abcdef/",)
    assert uploaded(models) == {file.key for file in manifest.files.values()}


def test_a_registration_clears_away_what_was_left_more_than_a_day_ago(models, files, monkeypatch):
    models.store.put("models/demo/files/0123456789abcdef/model.keras", b"half of it")
    models.store.put("models/demo/files/fedcba9876543210/model.keras", b"being uploaded")
    listed = models.store.list
    two_days = datetime.timedelta(days=2)

    def with_an_old_one(prefix):
        for entry in listed(prefix):
            yield entry._replace(modified=entry.modified - two_days) if "0123456789abcdef" in entry.key else entry

    monkeypatch.setattr(models.store, "list", with_an_old_one)
    manifest = models.register("demo", files, _registration())
    assert uploaded(models) == {file.key for file in manifest.files.values()} | {
        "models/demo/files/fedcba9876543210/model.keras"
    }


def test_orphans_that_may_not_be_removed_do_not_stop_a_registration(models, files, monkeypatch):
    def refuse(name):
        raise errors.StoreRefused("The store must accept the request.")

    monkeypatch.setattr(models, "remove_orphans", refuse)
    assert models.register("demo", files, _registration()).version == 1


def test_one_of_eight_first_promotions_wins(models, files):
    for _ in range(8):
        models.register("demo", files, _registration())
    ready = threading.Barrier(8)

    def promote(version):
        ready.wait(60)
        return _outcome(lambda: models.promote("demo", version, None))

    with ThreadPoolExecutor(8) as racers:
        outcomes = list(racers.map(promote, range(1, 9)))
    won = [outcome for outcome in outcomes if not isinstance(outcome, errors.StoreConflict)]
    assert len(won) == 1
    assert models.alias("demo") == won[0]
    assert models.get("demo").version == won[0].version


def test_eight_promotions_of_the_same_version_agree(models, files, monkeypatch):
    models.register("demo", files, _registration())
    put, ready = models.store.put_if_absent, threading.Barrier(8)

    def put_together(key, data):
        with contextlib.suppress(threading.BrokenBarrierError):
            ready.wait(60)
        ready.abort()
        return put(key, data)

    monkeypatch.setattr(models.store, "put_if_absent", put_together)
    with ThreadPoolExecutor(8) as racers:
        outcomes = list(racers.map(lambda _: _outcome(lambda: models.promote("demo", 1, None)), range(8)))
    assert outcomes == [models.alias("demo")] * 8
    assert [entry.action for entry in models.log("demo").entries] == ["register", "promote"]


def test_a_promotion_that_was_decided_on_an_older_champion_is_a_conflict(models, files):
    for _ in range(3):
        models.register("demo", files, _registration())
    first = models.promote("demo", 1, None)
    models.promote("demo", 2, first)
    with pytest.raises(errors.StoreConflict):
        models.promote("demo", 3, first)
    assert models.get("demo", "champion").version == 2


def test_a_champion_that_went_and_came_back_is_not_the_one_that_was_seen(models, files):
    for _ in range(3):
        models.register("demo", files, _registration())
    seen = models.promote("demo", 1, None)
    models.promote("demo", 1, models.promote("demo", 2, seen))
    with pytest.raises(errors.StoreConflict):
        models.promote("demo", 3, seen)


def test_a_number_is_not_given_again_when_the_newest_manifest_was_lost(models, files):
    models.register("demo", files, _registration("first"))
    models.register("demo", files, _registration("second"))
    models.store.delete("models/demo/versions/00002.json")
    assert models.register("demo", files, _registration("third")).version == 3
    with pytest.raises(errors.IntegrityError, match="fer models repair demo"):
        models.get("demo", "2")


def test_the_files_of_a_version_whose_manifest_was_lost_are_no_orphans(models, files):
    lost = models.register("demo", files, _registration())
    models.store.delete("models/demo/versions/00001.json")
    assert models.remove_orphans("demo", older_than_s=-60) == ()
    assert uploaded(models) == {file.key for file in lost.files.values()}


def test_a_registration_whose_manifest_was_lost_comes_back_when_it_is_made_again(models, files, monkeypatch):
    lost = models.register("demo", files, _registration("again"))
    models.store.delete("models/demo/versions/00001.json")
    monkeypatch.setattr(models.store, "upload_file", lambda *_: pytest.fail("uploaded"))
    assert models.register("demo", files, _registration("again")) == lost


def test_a_registration_that_lost_its_copy_too_gets_another_number(models, files):
    models.register("demo", files, _registration("again"))
    for listed in list(models.store.list("models/demo/files/")):
        models.store.delete(listed.key)
    models.store.delete("models/demo/versions/00001.json")
    assert models.register("demo", files, _registration("again")).version == 2


@pytest.mark.parametrize("damage", [b"", b"{", b'{"version": 1'])
def test_a_champion_that_was_lost_is_not_no_champion(models, files, damage):
    models.register("demo", files, _registration())
    models.promote("demo", 1, None)
    models.register("demo", files, _registration())
    if damage:
        models.store.put("models/demo/aliases/champion.json", damage)
    else:
        models.store.delete("models/demo/aliases/champion.json")
    for call in (
        lambda: models.alias("demo"),
        lambda: models.get("demo"),
        lambda: models.promote("demo", 2, None),
        lambda: models.register("demo", files, _registration()),
    ):
        with pytest.raises(errors.IntegrityError, match="fer models repair demo"):
            call()


def test_a_champion_that_was_altered_by_hand_is_an_integrity_error(models, files):
    for _ in range(2):
        models.register("demo", files, _registration())
    models.promote("demo", 1, None)
    key = "models/demo/aliases/champion.json"
    pointer, _ = disk.unsealed(models.store.get(key).data)
    older = {field: value for field, value in pointer.items() if field != "entry_sha256"}
    for altered, received in (
        (disk.sealed(pointer | {"version": 2}), r"version 2.*the log says version 1"),
        (json.dumps(older | {"version": 2}).encode(), r"version 2.*the log says version 1"),
        (json.dumps(pointer | {"version": 2}).encode(), "something else"),
    ):
        models.store.put(key, altered)
        with pytest.raises(errors.IntegrityError, match=rf"{received}.*repair"):
            models.get("demo")
    models.store.put(key, disk.sealed(pointer).replace(b'"version": 1', b'"version": 2'))
    with pytest.raises(errors.IntegrityError, match="repair"):
        models.get("demo")


@pytest.mark.parametrize("at", ["models/demo/log/", "models/demo/versions/"])
def test_a_first_version_that_comes_about_while_one_looks_is_no_lost_champion(models, files, monkeypatch, at):
    other, listed = Registry(models.store), models.store.list

    def another_is_first(prefix):
        if prefix == at:
            monkeypatch.undo()
            other.register("demo", files, _registration())
        return listed(prefix)

    monkeypatch.setattr(models.store, "list", another_is_first)
    assert models.alias("demo") is None
    assert models.register("demo", files, _registration()).version == 2


def test_promoting_the_champion_changes_nothing(models, files):
    models.register("demo", files, _registration())
    first = models.promote("demo", 1, None)
    assert models.promote("demo", 1, first) == first
    assert models.promote("demo", 1, None) == first


def test_a_refused_version_is_kept_with_its_reason_and_never_promoted(models, files):
    models.register("demo", files, _registration(status="refused", reasons=("accuracy 0.3 < 0.6",)))
    assert models.get("demo", "1").reasons == ("accuracy 0.3 < 0.6",)
    with pytest.raises(errors.ConfigError, match="refused"):
        models.promote("demo", 1, None)
    assert models.alias("demo") is None


@pytest.mark.parametrize("which", ["2", "champion", "no-such-alias"])
def test_a_version_that_is_not_there_is_a_clear_error(models, files, which):
    models.register("demo", files, _registration())
    with pytest.raises(errors.ConfigError, match="fer models list"):
        models.get("demo", which)


def test_a_tampered_file_is_not_delivered(models, files, tmp_path):
    manifest = models.register("demo", files, _registration())
    models.store.put(manifest.files["model.keras"].key, b"evil")
    with pytest.raises(errors.IntegrityError, match="SHA-256"):
        models.fetch(manifest, tmp_path / "fetched")
    assert not (tmp_path / "fetched" / "model.keras").exists()


def test_fetched_files_are_kept_if_whole_and_replaced_if_not(models, files, tmp_path, monkeypatch):
    manifest = models.register("demo", files, _registration())
    folder = models.fetch(manifest, tmp_path / "fetched")
    (folder / "model.keras").write_bytes(b"damaged")
    fetched = []
    real = models.store.download_file
    monkeypatch.setattr(
        models.store, "download_file", lambda *arguments: (fetched.append(arguments[1].name), real(*arguments))
    )
    models.fetch(manifest, folder)
    assert fetched == ["model.keras"]
    assert (folder / "model.keras").read_bytes() == files["model.keras"].read_bytes()


@pytest.mark.parametrize("change", [b"{", b'{"version": 9}', b"null"])
def test_a_damaged_manifest_or_alias_is_an_integrity_error(models, files, change):
    models.register("demo", files, _registration())
    models.promote("demo", 1, None)
    models.store.put("models/demo/versions/00001.json", change)
    models.store.put("models/demo/aliases/champion.json", b"[]")
    with pytest.raises(errors.IntegrityError, match="versions/00001"):
        models.get("demo", "1")
    with pytest.raises(errors.IntegrityError, match="aliases/champion"):
        models.alias("demo")


def test_a_manifest_in_anothers_place_is_an_integrity_error(models, files):
    models.register("demo", files, _registration())
    models.store.put("models/demo/versions/00002.json", models.store.get("models/demo/versions/00001.json").data)
    with pytest.raises(errors.IntegrityError):
        models.get("demo", "2")


@pytest.mark.parametrize(
    "change",
    [
        {"files": {"../evil": {"key": "models/demo/files/1/x", "sha256": "0" * 64, "size_bytes": 1}}},
        {"files": {"model": {"key": "models/other/files/1/x", "sha256": "0" * 64, "size_bytes": 1}}},
        {"files": {"model": {"key": "models/demo/files/../../x", "sha256": "0" * 64, "size_bytes": 1}}},
        {"status": "almost"},
        {"format_version": 2},
    ],
)
def test_a_manifest_can_only_name_its_own_files(models, files, change):
    good = models.register("demo", files, _registration()).model_dump()
    assert Manifest.model_validate(good)
    with pytest.raises(pydantic.ValidationError):
        Manifest.model_validate(good | change)


@pytest.mark.parametrize("name", ["", "Demo", "-demo", "de/mo", "..", "a" * 64])
def test_names_that_would_break_a_key_are_refused(models, files, name):
    with pytest.raises(errors.ConfigError):
        models.register(name, files, _registration())
    with pytest.raises(errors.ConfigError):
        models.alias("demo", name)


def test_files_with_a_path_for_a_name_are_refused(models, files):
    with pytest.raises(errors.ConfigError):
        models.register("demo", {"../model.keras": files["model.keras"]}, _registration())
    assert list(models.store.list("")) == []


@pytest.mark.parametrize(
    ("text", "spec"),
    [("demo", ("demo", "champion")), ("fer2013-cnn@7", ("fer2013-cnn", "7")), ("demo@champion", ("demo", "champion"))],
)
def test_a_model_is_named_with_its_version_or_alias(text, spec):
    assert names.parse_spec(text) == spec


@hypothesis.given(hypothesis.strategies.text(max_size=80))
def test_any_other_text_is_a_config_error(text):
    try:
        spec = names.parse_spec(text)
    except errors.ConfigError:
        return
    assert text in (spec.name, f"{spec.name}@{spec.which}")
