"""A champion that an operator moves: what the log says, what a run may still do, and what a kill in between leaves."""

import itertools
import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from fer import errors
from fer.registry import log as registry_log
from fer.registry import moves
from fer.registry.manifest import Registration
from fer.registry.registry import Alias, Registry

ALIAS = "models/demo/aliases/champion.json"


class Killed(BaseException):
    """What ends a process in the middle of what it does."""


@pytest.fixture
def models(store):
    return Registry(store)


@pytest.fixture
def add(models, tmp_path):
    """Registers a version and, if it is to be, promotes it as a run does."""
    (tmp_path / "model.keras").write_bytes(b"weights")

    def registered(*, digest=None, champion=True, status="released", key=None, name="demo"):
        manifest = models.register(
            name,
            {"model.keras": tmp_path / "model.keras"},
            registration(digest=digest, status=status, key=key, champion=models.alias(name)),
            by="run first (1)",
        )
        if champion and status == "released":
            models.promote(name, manifest.version, models.alias(name), by="run first (1)")
        return manifest

    return registered


def registration(*, digest=None, status="released", key=None, champion: Alias | None = None) -> Registration:
    return Registration.model_validate(
        {
            "status": status,
            "reasons": ("accuracy 0.70, floor 0.6",),
            "registration_key": key or uuid.uuid4().hex,
            "model_digest": digest or uuid.uuid4().hex,
            "recipe": {},
            "inputs": {},
            "code_fingerprint": "ef",
            "metrics": {"accuracy": 0.7, "macro": {"f1": 0.6}},
            "environment": {},
            "champion_at_registration": champion.version if champion else None,
        }
    )


def actions(models, name="demo") -> list[tuple[str, int | None, int | None]]:
    return [(entry.action, entry.from_version, entry.to_version) for entry in models.log(name).entries]


def may_run_promote(models, version, name="demo") -> bool:
    try:
        models.promote(name, version, models.alias(name))
    except errors.StoreConflict as conflict:
        return f"fer models promote {name}@" not in str(conflict)
    return True


def test_every_move_is_in_the_log_with_who_when_from_to_verdict_and_reason(models, add):
    add()
    add()
    moves.rollback(models, "demo", reason="sees too many  sad faces", by="ann@host")
    moves.withdraw(models, "demo", 2, "its faces may not be used", by="ann@host")
    moves.promote(models, "demo", 2, "they may", by="bob@host")
    assert actions(models) == [
        ("register", None, None),
        ("promote", None, 1),
        ("register", 1, 1),
        ("promote", 1, 2),
        ("rollback", 2, 1),
        ("withdraw", 1, 1),
        ("promote", 1, 2),
    ]
    entries = models.log("demo").entries
    assert [entry.by for entry in entries] == ["run first (1)"] * 4 + ["ann@host"] * 2 + ["bob@host"]
    assert entries[3].verdict == ("accuracy 0.70, floor 0.6",)
    assert entries[4].reason == "sees too many sad faces"
    assert sorted(entry.at_utc for entry in entries) == [entry.at_utc for entry in entries]
    assert [entry.version for entry in entries] == [1, 1, 2, 2, 2, 2, 2]
    keys = [listed.key for listed in models.store.list("models/demo/log/")]
    assert keys == [f"models/demo/log/{number:08d}.json" for number in range(1, 8)]


def test_who_acts_is_the_user_and_the_host_where_nothing_else_is_said(models, add, monkeypatch):
    monkeypatch.setenv("LOGNAME", "ann")
    monkeypatch.setattr("platform.node", lambda: "lab")
    add()
    moves.withdraw(models, "demo", 1, "wrong")
    assert models.log("demo").entries[-1].by == "ann@lab"


def test_a_version_that_was_rolled_back_is_not_promoted_by_a_run_until_it_is_named(models, add):
    add()
    add()
    entry = moves.rollback(models, "demo", reason="too sad", by="ann@host")
    assert (entry.from_version, entry.to_version) == (2, 1)
    assert models.get("demo").version == 1
    with pytest.raises(errors.StoreConflict, match=r"version 2 was rolled back on .* by ann@host: too sad; .*demo@2"):
        models.promote("demo", 2, models.alias("demo"))
    moves.promote(models, "demo", 2)
    moves.promote(models, "demo", 1)
    assert may_run_promote(models, 2)


def test_the_same_model_under_another_version_is_barred_too(models, add):
    add()
    add(digest="same")
    moves.rollback(models, "demo")
    again = add(digest="same", champion=False)
    assert not may_run_promote(models, again.version)
    moves.promote(models, "demo", again.version)
    moves.promote(models, "demo", 1)
    assert may_run_promote(models, 2)


def test_another_model_is_promoted_after_a_rollback(models, add):
    add()
    add()
    moves.rollback(models, "demo")
    assert add().version == 3
    assert models.get("demo").version == 3


def test_a_rollback_goes_to_the_champion_before_or_to_the_version_that_is_named(models, add):
    for _ in range(4):
        add()
    assert moves.rollback(models, "demo").to_version == 3
    assert moves.rollback(models, "demo", to=1).to_version == 1
    with pytest.raises(errors.ConfigError, match="one before it"):
        moves.rollback(models, "demo")
    assert models.get("demo").version == 1


def test_a_rollback_goes_past_what_was_withdrawn_and_past_the_same_model(models, add):
    add()
    add()
    add(digest="same")
    add(digest="same")
    moves.withdraw(models, "demo", 2, "wrong")
    assert moves.rollback(models, "demo").to_version == 1


@pytest.mark.parametrize(
    ("to", "match"),
    [(9, "must be in the registry"), (4, "passed its gates"), (3, "another model"), (2, "demo@2` lifts it")],
)
def test_a_rollback_that_leads_nowhere_is_refused(models, add, to, match):
    add()
    add()
    moves.rollback(models, "demo")
    add()
    add(status="refused")
    with pytest.raises(errors.ConfigError, match=match):
        moves.rollback(models, "demo", to=to)
    assert models.get("demo").version == 3


def test_a_withdrawn_champion_gives_way_to_the_one_before_it_or_to_none(models, add):
    add()
    add()
    moves.withdraw(models, "demo", 2, "wrong faces", by="ann@host")
    assert models.get("demo").version == 1
    moves.withdraw(models, "demo", 1, "wrong faces too", by="ann@host")
    assert models.alias("demo") is None
    with pytest.raises(
        errors.ConfigError, match=r"no champion: version 1 was withdrawn on .* by ann@host: wrong faces"
    ):
        models.get("demo")
    assert models.get("demo", "2").version == 2
    assert not may_run_promote(models, 1)
    assert add().version == 3
    assert models.get("demo").version == 3


def test_a_version_that_is_not_champion_is_withdrawn_without_a_move(models, add):
    add()
    add(champion=False)
    before = models.alias("demo")
    moves.withdraw(models, "demo", 2, "wrong")
    assert models.alias("demo") == before
    assert not may_run_promote(models, 2)
    assert moves.withdraw(models, "demo", 2, "wrong") is None
    assert models.log("demo").withdrawn.keys() == {2}


@pytest.mark.parametrize(("version", "reason", "match"), [(1, "  ", "a reason"), (7, "x", "in the registry")])
def test_a_withdrawal_without_a_reason_or_a_version_is_refused(models, add, version, reason, match):
    add()
    with pytest.raises(errors.ConfigError, match=match):
        moves.withdraw(models, "demo", version, reason)


def test_a_reason_that_is_too_long_is_refused(models, add):
    add()
    with pytest.raises(errors.ConfigError, match="at most 1,000"):
        moves.withdraw(models, "demo", 1, "x" * 1_001)
    assert models.get("demo").version == 1


def test_what_is_kept_is_promoted_by_name_and_what_was_refused_is_not(models, add):
    add(status="kept")
    add(status="refused")
    with pytest.raises(errors.ConfigError, match=r"refused.*--override"):
        moves.promote(models, "demo", 2)
    assert moves.promote(models, "demo", 1).to_version == 1
    assert moves.promote(models, "demo", 1) is None


def test_what_was_refused_is_promoted_by_a_person_who_says_why_and_that_is_kept(models, add):
    add()
    refused = add(status="refused")
    with pytest.raises(errors.ConfigError, match="refused"):
        moves.promote(models, "demo", 2, override=" ")
    moves.promote(models, "demo", 2, by="ann@host", override="the floor was wrong")
    entry = models.log("demo").last_move
    assert (entry.override, entry.by, entry.reason) == (True, "ann@host", "the floor was wrong")
    assert models.get("demo").version == refused.version


OLD = b'{"version": 1, "previous": null, "moved_utc": "2026-11-01T00:00:00+00:00", "id": "0123"}'


@pytest.fixture
def old(models, add):
    """A registry from before there was a log: version 1 is champion, version 2 was refused."""
    add(champion=False)
    add(champion=False, status="refused")
    for listed in list(models.store.list("models/demo/log/")):
        models.store.delete(listed.key)
    models.store.put(ALIAS, OLD)
    return models


def test_a_registry_without_a_log_is_taken_as_it_is(old):
    assert old.get("demo").version == 1
    assert old.log("demo").entries == ()
    assert old.store.get(ALIAS).data == OLD


def test_the_first_move_in_a_registry_without_a_log_takes_its_champion_over(old, add):
    seen = old.alias("demo")
    manifest = add(champion=False)
    old.promote("demo", manifest.version, seen)
    assert actions(old) == [("found", None, 1), ("register", 1, 1), ("promote", 1, 3)]
    assert moves.rollback(old, "demo").to_version == 1


def test_what_the_champions_were_before_the_log_is_known_from_their_manifests(old, add):
    add(champion=False)
    for listed in list(old.store.list("models/demo/log/")):
        old.store.delete(listed.key)
    old.store.put(ALIAS, OLD.replace(b'"version": 1', b'"version": 3'))
    assert moves.rollback(old, "demo").to_version == 1
    assert not may_run_promote(old, 3)


def test_only_refused_versions_without_a_log_are_no_lost_champion(models, add):
    add(status="refused")
    for listed in [*models.store.list("models/demo/log/"), *models.store.list("models/demo/aliases/")]:
        models.store.delete(listed.key)
    assert models.alias("demo") is None
    assert add().version == 2
    assert models.get("demo").version == 2


def test_a_release_without_a_log_and_without_a_champion_is_a_lost_champion(old):
    old.store.delete(ALIAS)
    with pytest.raises(errors.IntegrityError, match=r"version 1 was released.*fer models repair demo"):
        old.alias("demo")


def test_an_alias_that_was_moved_past_the_log_is_an_integrity_error(models, add):
    add()
    models.store.put(ALIAS, OLD)
    with pytest.raises(errors.IntegrityError, match="fer models repair demo"):
        models.get("demo")


@pytest.mark.parametrize("lost", ["00000002", "00000004"])
def test_an_entry_that_was_lost_is_an_integrity_error(models, add, lost):
    add()
    add()
    models.store.delete(f"models/demo/log/{lost}.json")
    with pytest.raises(errors.IntegrityError, match=r"log.*fer models repair demo"):
        models.promote("demo", 2, None)


@pytest.mark.parametrize("damage", [b"", b"{}", b"null"])
def test_an_entry_that_was_damaged_is_an_integrity_error(models, add, damage):
    add()
    models.store.put("models/demo/log/00000001.json", damage)
    with pytest.raises(errors.IntegrityError, match=r"00000001.*fer models repair demo"):
        models.alias("demo")


def test_an_entry_in_anothers_place_is_an_integrity_error(models, add):
    add()
    models.store.put("models/demo/log/00000003.json", models.store.get("models/demo/log/00000002.json").data)
    with pytest.raises(errors.IntegrityError, match="00000003"):
        models.alias("demo")


MOVES = {
    "register": lambda models, add: add(key="the third", champion=False),
    "promote": lambda models, add: models.promote("demo", 3, models.alias("demo")),
    "rollback": lambda models, add: moves.rollback(models, "demo"),
    "withdraw": lambda models, add: moves.withdraw(models, "demo", 2, "wrong"),
    "first": lambda models, add: add(key="the first of another name", name="other"),
}


def dying(put, steps):
    """`put` as long as there are `steps`, then the death of its process."""

    def attempt(*arguments):
        if next(steps, None) is None:
            raise Killed
        return put(*arguments)

    return attempt


def put_back(store, objects):
    """Have the store hold these objects (their listing -> bytes) and no others."""
    wanted, there = ({listed.key: listed.etag for listed in listing} for listing in (objects, store.list("")))
    for key in there.keys() - wanted.keys():
        store.delete(key)
    for listed, data in objects.items():
        if there.get(listed.key) != listed.etag:
            store.put(listed.key, data)


@pytest.mark.parametrize("move", MOVES)
def test_a_kill_before_or_after_any_write_leaves_what_was_or_what_is_to_be(models, add, monkeypatch, move):
    add()
    add()
    if move == "promote":
        add(champion=False)
    objects = {listed: models.store.get(listed.key).data for listed in models.store.list("")}
    before, entries = models.alias("demo"), len(models.log("demo").entries)
    is_killed, steps_before = True, itertools.count()
    while is_killed:  # before each write, which is after the one before it; at last after all of them
        put_back(models.store, objects)
        steps = iter(range(next(steps_before)))
        with monkeypatch.context() as patch:
            for put in ("put", "put_if_absent", "put_if_match", "upload_file"):
                patch.setattr(models.store, put, dying(getattr(models.store, put), steps))
            try:
                MOVES[move](models, add)
                is_killed = False
            except Killed:
                pass
        state = models.ledger("demo").read()
        decided = len(state.log.entries) > entries
        if move in ("rollback", "withdraw") and decided:
            assert (state.champion, may_run_promote(models, 2)) == (1, False)
        elif move == "promote" and decided:
            assert state.champion == 3
        else:
            assert state.champion == before.version
        if not (move == "rollback" and decided):  # who rolls back twice goes back twice
            MOVES[move](models, add)
        expected = {"register": 2, "promote": 3, "rollback": 1, "withdraw": 1, "first": 2}
        assert models.get("demo").version == expected[move]
        versions = [manifest.version for manifest in models.versions("demo")]
        assert versions == list(range(1, len(versions) + 1))
        numbers = [entry.number for entry in models.log("demo").entries]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) - entries == (0 if move == "first" else 1)
        if move == "first":
            assert (len(models.versions("other")), models.get("other").version) == (1, 1)
    assert next(steps_before) >= 3


def test_an_alias_that_is_behind_its_log_is_read_by_the_log_and_brought_up_by_the_next_writer(models, add, monkeypatch):
    add()
    add()

    def unavailable(*_):
        raise errors.StoreUnavailable("The store must answer.")

    with monkeypatch.context() as patch:
        patch.setattr(models.store, "put_if_match", unavailable)
        moves.rollback(models, "demo")
    assert json.loads(models.store.get(ALIAS).data)["version"] == 2
    assert models.get("demo").version == 1
    assert moves.promote(models, "demo", 1) is None
    assert json.loads(models.store.get(ALIAS).data)["version"] == 1


def test_an_entry_whose_answer_was_lost_is_not_written_twice(models, add, monkeypatch):
    add()
    add()
    put = models.store.put_if_absent

    def lose_answer(key, data):
        put(key, data)
        raise errors.StoreUnavailable("The store must answer.")

    monkeypatch.setattr(models.store, "put_if_absent", lose_answer)
    assert moves.rollback(models, "demo").to_version == 1
    assert actions(models)[-1] == ("rollback", 2, 1)
    assert len(actions(models)) == 5


def test_of_rollbacks_at_once_one_is_done(models, add):
    for _ in range(4):
        add()
    ready = threading.Barrier(6)

    def back(_):
        ready.wait(60)
        try:
            return moves.rollback(models, "demo", to=1)
        except (errors.StoreConflict, errors.ConfigError) as refused:
            return refused

    with ThreadPoolExecutor(6) as racers:
        outcomes = list(racers.map(back, range(6)))
    assert len([outcome for outcome in outcomes if isinstance(outcome, registry_log.Entry)]) == 1
    assert actions(models)[8:] == [("rollback", 4, 1)]


def test_a_run_that_promotes_while_an_operator_goes_back_leaves_one_order(models, add):
    add()
    add()
    third = add(champion=False)
    seen, ready = models.alias("demo"), threading.Barrier(2)

    def at_once(call):
        ready.wait(60)
        try:
            return call()
        except errors.StoreConflict as conflict:
            return conflict

    calls = [
        lambda: models.promote("demo", third.version, seen),
        lambda: moves.rollback(models, "demo"),
    ]
    with ThreadPoolExecutor(2) as racers:
        promoted, _ = list(racers.map(at_once, calls))
    last = models.log("demo").entries[-1]
    assert models.get("demo").version == last.to_version
    assert (last.action == "promote") == isinstance(promoted, Alias)


class Registrations(RuleBasedStateMachine):
    """Any order of registrations and moves, beside the same in a few Python containers."""

    def __init__(self, models, add):
        super().__init__()
        self.models, self.add = models, add
        self.name = f"m-{uuid.uuid4().hex[:12]}"
        self.digests: list[str] = []
        self.champion: int | None = None
        self.barred: set[int] = set()
        self.withdrawn: set[int] = set()

    def digest(self, version):
        return self.digests[version - 1]

    def is_barred(self, version):
        return version in self.withdrawn | self.barred or self.digest(version) in map(self.digest, self.barred)

    @rule(digest=st.sampled_from(["a", "b", "c", "d"]))
    def register(self, digest):
        manifest = self.add(digest=digest, champion=False, name=self.name)
        self.digests.append(digest)
        assert manifest.version == len(self.digests)

    @precondition(lambda self: self.digests)
    @rule(data=st.data())
    def a_run_promotes(self, data):
        version = data.draw(st.integers(1, len(self.digests)))
        allowed = version == self.champion or not self.is_barred(version)
        assert may_run_promote(self.models, version, self.name) == allowed
        self.champion = version if allowed else self.champion

    @precondition(lambda self: self.digests)
    @rule(data=st.data())
    def promote(self, data):
        version = data.draw(st.integers(1, len(self.digests)))
        entry = moves.promote(self.models, self.name, version)
        assert entry is not None or version == self.champion
        self.champion = version
        self.withdrawn.discard(version)
        self.barred = {other for other in self.barred if self.digest(other) != self.digest(version)}

    @rule()
    def rollback(self):
        try:
            entry = moves.rollback(self.models, self.name)
        except errors.ConfigError:
            return
        assert entry.from_version == self.champion != entry.to_version
        assert not self.is_barred(entry.to_version)
        assert self.digest(entry.to_version) != self.digest(self.champion)
        self.barred.add(self.champion)
        self.champion = entry.to_version

    @precondition(lambda self: self.digests)
    @rule(data=st.data())
    def withdraw(self, data):
        version = data.draw(st.integers(1, len(self.digests)))
        entry = moves.withdraw(self.models, self.name, version, "wrong")
        assert (entry is None) == (version in self.withdrawn)
        if entry is not None:
            assert entry.to_version is None or not self.is_barred(entry.to_version) or version != self.champion
            self.withdrawn.add(version)
            self.barred.add(version)
            self.champion = entry.to_version if version == self.champion else self.champion

    @invariant()
    def the_registry_says_the_same(self):
        state = self.models.ledger(self.name).read()
        assert (state.champion, set(state.log.withdrawn), state.behind) == (self.champion, self.withdrawn, False)
        assert self.champion not in self.withdrawn
        for version in range(1, len(self.digests) + 1):
            barred = state.log.bar(version, self.digest(version)) is not None
            assert barred == self.is_barred(version)


def test_any_order_of_registrations_and_moves_keeps_what_it_promises(models, add):
    run_state_machine_as_test(
        lambda: Registrations(models, add),
        settings=settings(
            max_examples=12,
            stateful_step_count=10,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
        ),
    )
