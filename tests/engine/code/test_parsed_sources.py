"""What was made of sources is made once for all processes, and anew where it can't be relied on."""

import json

import pytest

from fer.engine.code import parsed_sources


@pytest.fixture
def process(tmp_path, monkeypatch):
    """Begin a process, as far as what it keeps is concerned; the one before has ended."""
    monkeypatch.setattr(parsed_sources, "_file", lambda: tmp_path / "kept.json")
    monkeypatch.setattr(parsed_sources.sys, "dont_write_bytecode", False)
    monkeypatch.setattr(parsed_sources.atexit, "register", lambda function: None)

    def forget():
        for remembered in (parsed_sources._kept, parsed_sources._used, parsed_sources._makers):
            remembered.cache_clear()

    def begin():
        parsed_sources._keep()
        forget()

    forget()
    yield begin
    forget()


def never():
    raise AssertionError("made again")


def test_what_one_process_made_the_next_finds_by_kind_and_source(process):
    assert parsed_sources.remembered("facts", b"a", lambda: [["x"], True]) == [["x"], True]
    assert parsed_sources.remembered("facts", b"a", never) == [["x"], True]
    process()
    assert parsed_sources.remembered("facts", b"a", never) == [["x"], True]
    assert parsed_sources.remembered("facts", b"b", lambda: 2) == 2
    assert parsed_sources.remembered("form", b"a", lambda: 3) == 3
    process()
    assert [parsed_sources.remembered("facts", source, never) for source in (b"a", b"b")] == [[["x"], True], 2]


def test_all_is_made_anew_when_the_code_that_makes_it_has_changed(process, monkeypatch):
    parsed_sources.remembered("facts", b"a", lambda: 1)
    process()
    monkeypatch.setattr(parsed_sources, "_makers", lambda: "other code")
    assert parsed_sources.remembered("facts", b"a", lambda: 2) == 2
    monkeypatch.undo()


@pytest.mark.parametrize("damage", [lambda text: text[:-9], lambda text: text.replace("41", "42"), lambda text: "{}"])
def test_a_damaged_file_is_as_none(process, tmp_path, damage):
    parsed_sources.remembered("facts", b"a", lambda: 41)
    process()
    kept = tmp_path / "kept.json"
    assert json.loads(kept.read_text())["values"]
    kept.write_text(damage(kept.read_text()))
    assert parsed_sources.remembered("facts", b"a", lambda: 7) == 7


def test_where_no_bytecode_is_written_nothing_is_kept(process, tmp_path, monkeypatch):
    monkeypatch.setattr(parsed_sources.sys, "dont_write_bytecode", True)
    parsed_sources.remembered("facts", b"a", lambda: 1)
    process()
    assert list(tmp_path.iterdir()) == []


def test_old_values_do_not_pile_up(process, monkeypatch):
    monkeypatch.setattr(parsed_sources, "_MAX_KEPT", 2)
    for source in (b"a", b"b", b"c"):
        parsed_sources.remembered("facts", source, lambda: 1)
        process()
    parsed_sources.remembered("facts", b"c", never)
    with pytest.raises(AssertionError):
        parsed_sources.remembered("facts", b"a", never)
