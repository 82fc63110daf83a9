"""Where signatures are required, no place that reads a release takes one that nobody signed."""

import pytest
import signed_registry
from registrations import parts, register, state_for

from fer import errors
from fer.models.networks import se_resnet
from fer.registry import growth, moves, reads, releases, starting_weights
from fer.registry.opponents import champion
from fer.registry.registry import Registry
from fer.registry.trust import keys, signing
from fer.registry.trust import releases as signed_releases
from fer.settings import Settings
from tasks import signing as signing_task

MODEL = se_resnet.Config()


@pytest.fixture
def made(models, workspace, monkeypatch, tmp_path, store_settings):
    """Versions 1 and 2 of `demo`, both signed; 1 is the anchor of 2, which is champion. `models` demands nothing."""
    signed_registry.require(monkeypatch, tmp_path, store_settings)
    register(workspace, parts(workspace, accuracy=(0.8, 0.9)))
    second = parts(workspace, weights="b", accuracy=(0.7, 0.8))
    register(workspace, second, state_for(workspace, second[1]))
    return [models.get("demo", str(number)) for number in (1, 2)]


def unsigned(models, manifest):
    for listed in list(models.store.list(f"{signed_releases.prefix(manifest)}.signature-")):
        models.store.delete(listed.key)


def refused(call, spec):
    with pytest.raises(errors.IntegrityError, match=f"release {spec} must be signed.*fer models sign {spec}"):
        call()


def met(workspace):
    return state_for(workspace, parts(workspace, weights="c")[1]).opponents


def test_what_is_signed_is_met_and_started_from(made, models, workspace):
    opponents = met(workspace)
    assert (opponents.champion.version, opponents.anchor.version) == (2, 1)
    resolved = starting_weights.resolve("registry:demo@1", MODEL)
    assert resolved.identity.startswith("registry:demo@1:")


def test_an_unsigned_champion_is_no_opponent_even_from_the_workspace(made, models, workspace):
    met(workspace)  # now its files are in the workspace
    unsigned(models, made[1])
    refused(lambda: met(workspace), "demo@2")
    refused(lambda: champion.released(made[1], workspace), "demo@2")
    refused(lambda: champion.procedure("demo", 2), "demo@2")
    with releases.open_registry() as demanding:
        refused(lambda: growth.since_champion(demanding, "demo", workspace.root / "none"), "demo@2")


def test_an_unsigned_release_is_no_anchor(made, models, workspace):
    unsigned(models, made[0])
    refused(lambda: met(workspace), "demo@1")


def test_an_unsigned_release_gives_no_weights_and_no_files(made, models):
    unsigned(models, made[0])
    refused(lambda: starting_weights.resolve("registry:demo@1", MODEL), "demo@1")
    refused(lambda: releases.manifest_of("demo@1"), "demo@1")
    refused(lambda: releases.local_copy("demo@1").__enter__(), "demo@1")


def test_an_unsigned_release_does_not_become_champion(made, models):
    unsigned(models, made[0])
    with releases.open_registry() as demanding:
        refused(lambda: moves.promote(demanding, "demo", 1), "demo@1")
        refused(lambda: moves.rollback(demanding, "demo", 1), "demo@1")


def test_an_unsigned_release_says_nothing_of_its_test_images(made, models):
    with releases.open_registry() as demanding:
        assert reads.tested_on(demanding, made[0]) is not None
        unsigned(models, made[0])
        assert reads.tested_on(demanding, made[0]) is None


def test_a_run_finds_out_before_it_trains_that_it_has_no_key(made, monkeypatch):
    signing_task.require(Settings.load())
    monkeypatch.delenv("FER_SIGNING_KEY")
    with pytest.raises(errors.ConfigError, match="FER_SIGNING_KEY"):
        signing_task.require(Settings.load())


def test_the_private_key_is_in_no_output_no_object_and_no_key_of_a_stage(made, models, workspace, tmp_path):
    met(workspace)
    secret = (tmp_path / "key").read_text().splitlines()[1].encode()
    for path in workspace.root.rglob("*"):
        assert not path.is_file() or secret not in path.read_bytes()
    for listed in models.store.list(""):
        assert secret not in models.store.get(listed.key).data


def test_other_keys_and_demands_change_no_key_of_a_stage(made, models, workspace, monkeypatch, tmp_path):
    fetched = met(workspace).champion.model
    monkeypatch.delenv("FER_SIGNATURES")
    monkeypatch.delenv("FER_SIGNING_KEY")
    monkeypatch.setenv("FER_TRUSTED_KEYS", str(tmp_path / "none"))
    assert met(workspace).champion.model == fetched


def test_the_same_release_by_another_key_is_the_same(made, models, workspace, tmp_path, monkeypatch):
    keys.write(keys.new(), tmp_path / "other")
    monkeypatch.setenv("FER_SIGNING_KEY", str(tmp_path / "other"))
    with releases.open_registry(unsigned=True) as signer:
        assert signing.release(signer, made[0])
    assert Registry(models.store).get("demo", "1") == made[0]
    assert len(signed_releases.found(models.store, made[0])) == 2
