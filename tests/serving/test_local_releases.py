import time
import uuid

import onnx_release
import pytest
import signed_registry

from fer import errors, settings
from fer.engine import disk
from fer.registry import log as registry_log
from fer.registry import moves, registry, releases
from fer.registry.manifest import Registration
from fer.registry.trust import copies
from fer.serving import local_releases
from fer.serving.predictor import Predictor


@pytest.fixture
def models(store, store_settings, monkeypatch):
    """The registry in a store of the test's own, which `local` opens too."""
    monkeypatch.setenv("FER_HOME", str(store_settings.home))
    monkeypatch.setenv("FER_STORE_PREFIX", store_settings.store_prefix)
    monkeypatch.delenv("FER_STORE_ENDPOINT", raising=False)
    return registry.Registry(store)


def registered(models, folder, name="demo"):
    """A version with the files of this folder."""
    registration = Registration(
        status="released", reasons=(), registration_key=uuid.uuid4().hex, model_digest=uuid.uuid4().hex, recipe={},
        inputs={}, code_fingerprint="ef", metrics={}, environment={}, champion_at_registration=None,
    )  # fmt: skip
    manifest = models.register(name, {path.name: path for path in folder.iterdir()}, registration)
    models.promote(name, manifest.version, models.alias(name))
    return manifest.version


@pytest.fixture
def folder(tmp_path):
    return onnx_release.write(tmp_path / "release", sets=True)


@pytest.fixture
def looked_up(monkeypatch):
    """What the registry is asked for in full, from now on."""
    asked, fetched = [], releases.fetched
    monkeypatch.setattr(releases, "fetched", lambda models, spec: asked.append(spec) or fetched(models, spec))
    return asked


def test_a_release_is_looked_up_once_and_confirmed_by_two_reads_until_something_moves(models, folder, looked_up):
    first = registered(models, folder)
    for _ in range(3):
        release = local_releases.local("demo")
        assert (release.label, release.withdrawn) == (f"demo@{first}", "")
    assert set(looked_up) == {"demo"}
    n_looks = len(looked_up)
    assert Predictor(release).name == f"demo@{first}"
    second = registered(models, folder)
    assert local_releases.local("demo").label == f"demo@{second}"
    assert len(looked_up) == 2 * n_looks
    moves.withdraw(models, "demo", second, "its faces may not be used")
    assert local_releases.local("demo").label == f"demo@{first}"
    assert "its faces may not be used" in local_releases.local(f"demo@{second}").withdrawn
    assert "its faces may not be used" in local_releases.local(f"demo@{second}").withdrawn


def test_the_only_model_is_no_more_the_only_one_once_there_is_another(models, folder, looked_up):
    registered(models, folder)
    assert local_releases.local(None).label == local_releases.local(None).label == "demo@1"
    n_looks = len(looked_up)
    registered(models, folder, "other")
    with pytest.raises(errors.ConfigError, match="demo, other"):
        local_releases.local(None)
    assert len(looked_up) == n_looks + 1
    assert local_releases.local("demo").label == "demo@1"


def test_a_file_that_was_altered_on_this_machine_is_found_before_it_is_used(models, folder):
    registered(models, folder)
    release = local_releases.local("demo")
    data = bytearray((release.folder / "model.onnx").read_bytes())
    data[-1] ^= 1
    (release.folder / "model.onnx").write_bytes(data)
    with pytest.raises(errors.IntegrityError, match=r"model\.onnx must be the one that was released"):
        Predictor.from_release("demo")
    (release.folder / "model.onnx").unlink()
    Predictor.from_release("demo")  # what is gone is fetched again


@pytest.fixture
def confirmed(monkeypatch, tmp_path):
    """A release that some store elsewhere confirmed so many seconds ago, and what is found by `local` then."""
    monkeypatch.setenv("FER_HOME", str(tmp_path))
    monkeypatch.setenv("FER_STORE_ENDPOINT", "http://127.0.0.1:1")
    folder = onnx_release.write(tmp_path / "models" / "demo" / "1")

    def asked(spec, configured):
        raise errors.StoreUnavailable("The store must answer.")

    monkeypatch.setattr(local_releases, "_asked", asked)

    def found(age_s, **changes):
        known = local_releases.Confirmation(
            name="demo", version=1, digests={path.name: disk.sha256(path) for path in folder.iterdir()}, withdrawn="",
            only=False, alias="a", entry=1, under=local_releases._digest(settings.Settings.load()),
            at=time.time() - age_s, use=None,
        ).model_copy(update=changes)  # fmt: skip
        local_releases._write(tmp_path / "models" / "confirmed.json", {"demo@champion": known})
        return local_releases.local("demo").label

    return found


def test_what_a_store_elsewhere_confirmed_holds_for_the_minutes_that_are_set(confirmed, monkeypatch):
    assert confirmed(age_s=60) == "demo@1"
    for age_s in (601, -5):  # a clock that was set back proves nothing
        with pytest.raises(errors.StoreUnavailable):
            confirmed(age_s=age_s)
    monkeypatch.setenv("FER_CONFIRM_MINUTES", "60")
    assert confirmed(age_s=601) == "demo@1"
    monkeypatch.setenv("FER_CONFIRM_MINUTES", "0")
    with pytest.raises(errors.StoreUnavailable):
        confirmed(age_s=1)


def test_what_was_confirmed_under_other_settings_or_lost_its_files_does_not_hold(confirmed, monkeypatch, tmp_path):
    with pytest.raises(errors.StoreUnavailable):
        confirmed(age_s=1, under="others")
    with pytest.raises(errors.StoreUnavailable):
        confirmed(age_s=1, digests={"gone.onnx": "0" * 64})
    confirmed(age_s=1)
    path = tmp_path / "models" / "confirmed.json"
    path.write_bytes(path.read_bytes().replace(b'"version": 1', b'"version": 2'))
    with pytest.raises(errors.StoreUnavailable):
        local_releases.local("demo")


def test_what_an_embedded_store_said_holds_until_it_is_used_again(confirmed, monkeypatch, tmp_path):
    monkeypatch.delenv("FER_STORE_ENDPOINT")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "used").write_text("one")
    assert confirmed(age_s=1_000_000, use="one") == "demo@1"
    for use in ("another", None):
        with pytest.raises(errors.StoreUnavailable):
            confirmed(age_s=1, use=use)


def test_what_was_verified_by_other_keys_is_verified_anew(confirmed, tmp_path):
    keys = tmp_path / "trusted-keys"
    keys.mkdir()
    confirmed(age_s=1)
    (keys / "ann.pub").write_text("a key")
    with pytest.raises(errors.StoreUnavailable):
        local_releases.local("demo")


def test_a_folder_is_used_where_signatures_are_required_only_if_it_is_a_signed_copy(
    models, folder, tmp_path, monkeypatch, store_settings
):
    signed_registry.require(monkeypatch, tmp_path, store_settings)
    with pytest.raises(errors.IntegrityError, match=r"no manifest.*fer models pull"):
        local_releases.in_folder(folder)
    with releases.open_registry() as signing:
        version = registered(signing, folder)
        copies.pull(signing, signing.get("demo", str(version)), tmp_path / "copy")
    assert Predictor(local_releases.in_folder(tmp_path / "copy")).name == "copy"
    (tmp_path / "copy" / "model.onnx").write_bytes(b"another model")
    with pytest.raises(errors.IntegrityError, match=r"model\.onnx"):
        Predictor(local_releases.in_folder(tmp_path / "copy"))
    manifest = tmp_path / "copy" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"released"', b'"kept"', 1))
    with pytest.raises(errors.IntegrityError, match="does not fit"):
        local_releases.in_folder(tmp_path / "copy")


def test_what_another_alias_points_to_is_asked_each_time(models, folder, looked_up):
    first, second = registered(models, folder), registered(models, folder)
    for version in (first, second):
        pointer = registry_log.Pointer(version=version)
        models.store.put("models/demo/aliases/staging.json", registry_log.encoded(pointer))
        assert local_releases.local("demo@staging").label == f"demo@{version}"
