"""Workers at different commits that share a workspace are noticed; an upgrade of all is no mixture."""

import datetime

import pytest

from fer.engine.code import code_in_use
from fer.engine.local_workspace import LocalWorkspace

MONDAY = datetime.datetime(2026, 3, 2, 3, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
OLD, NEW = "a" * 64, "b" * 64


@pytest.fixture
def runs(tmp_path):
    """Note runs, each (place, code, day), and return what the last one is told."""
    workspace = LocalWorkspace(tmp_path)

    def run(*noted):
        said = ""
        for place, code, day in noted:
            said = code_in_use.note(workspace, place, code, MONDAY + day * DAY)
        return said

    return run


def test_one_code_everywhere_is_nothing_to_tell(runs):
    assert runs(("one", OLD, 0), ("two", OLD, 1), ("one", OLD, 2)) == ""


def test_a_worker_that_stays_at_an_older_commit_is_told_to_both(runs):
    assert runs(("one", OLD, 0), ("two", OLD, 0), ("one", NEW, 1)) == ""  # the upgrade has only begun
    said = runs(("two", OLD, 2))
    assert "one (code bbbbbbbb" in said
    assert "this is two (code aaaaaaaa" in said
    assert "two (code aaaaaaaa, last run 2026-03-04" in runs(("one", NEW, 3))
    assert runs(("two", NEW, 4)) == ""
    assert runs(("one", NEW, 5)) == ""


def test_code_that_ran_long_ago_does_not_count(runs):
    assert runs(("one", NEW, 0), ("two", OLD, 1), ("one", NEW, 20)) == ""


def test_other_code_in_the_same_place_is_an_upgrade_or_its_undoing(runs):
    assert runs(("three", OLD, 20), ("three", NEW, 21), ("three", OLD, 22)) == ""


def test_places_that_change_their_names_as_containers_do_are_an_upgrade_too(runs):
    assert runs(("pod-1", OLD, 0), ("pod-2", OLD, 1), ("pod-3", NEW, 2), ("pod-4", NEW, 3)) == ""


def test_this_code_has_a_digest_and_a_place():
    assert len(code_in_use.digest()) == 64
    assert code_in_use.here().count(":") >= 1
