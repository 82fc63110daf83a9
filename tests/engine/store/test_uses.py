import os
import threading

import pytest

from fer.engine.store import seaweedfs, uses


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home whose store is no process, but used as one."""
    monkeypatch.setattr(seaweedfs, "_shared_server", lambda folder, users: None)
    return tmp_path


def used_elsewhere(home):
    """Use the store from another thread, as another process would; it ends when it is told to."""
    begun, end = threading.Event(), threading.Event()

    def use():
        with seaweedfs.running(home):
            begun.set()
            end.wait(60)

    thread = threading.Thread(target=use)
    thread.start()
    begun.wait(60)

    def finish():
        end.set()
        thread.join()

    return finish


def test_who_was_alone_finds_the_token_of_its_use_until_the_next_one(home):
    assert uses.token(home) is None
    with seaweedfs.running(home):
        token = uses.token(home)
    assert uses.token(home) == token is not None
    with seaweedfs.running(home):
        assert uses.token(home) != token


@pytest.mark.parametrize("ends", ["before the read", "during the use", "after the use"])
def test_who_was_not_alone_finds_another_token(home, ends):
    """Whenever another use ends that might have written: what was read before may hold no more."""
    finish = used_elsewhere(home)
    with seaweedfs.running(home):
        if ends == "before the read":
            finish()
        token = uses.token(home)
        if ends == "during the use":
            finish()
    if ends == "after the use":
        finish()
    assert uses.token(home) != token


def test_a_use_that_begins_during_another_changes_its_token(home):
    with seaweedfs.running(home):
        token = uses.token(home)
        finish = used_elsewhere(home)
        assert uses.token(home) != token
    assert uses.token(home) != token
    finish()


def test_a_store_that_stays_changes_the_token_when_it_comes_and_goes(home, monkeypatch):
    monkeypatch.setattr(seaweedfs.process, "stop", lambda folder: None)
    tokens = []
    for change in (seaweedfs.up, seaweedfs.down):
        change(home)
        tokens.append(uses.token(home))
    assert None not in tokens
    assert len(set(tokens)) == 2


def test_a_process_that_is_gone_does_not_run(home):
    (home / "store").mkdir()
    assert not uses.may_run(home)
    for written, runs in ((f'{{"pid": {os.getpid()}}}', True), ('{"pid": 99999999}', False), ("no json", False)):
        (home / "store" / "server.json").write_text(written)
        assert uses.may_run(home) == runs


def test_the_token_of_a_store_that_runs_unused_tells_of_the_next_use(home):
    with seaweedfs.running(home):
        assert seaweedfs.token_unless_used(home) is None
    token = seaweedfs.token_unless_used(home)
    assert token == uses.token(home) is not None
    with seaweedfs.running(home):
        pass
    assert uses.token(home) != token
