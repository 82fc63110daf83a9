"""The commands `fer models reproduce` and `fer data forget`: what they refuse before anything is started."""

import pytest
import shell


@pytest.fixture
def home(tmp_path):
    (tmp_path / "fer").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "named in one way"),
        (["--subject", "S1", "--digest", "a" * 64], "--subject, --digest"),
        (["--subject", ""], "named in one way"),
        (["--digest", "abc"], "64 hexadecimal digits"),
    ],
)
def test_what_is_to_be_forgotten_is_named_in_one_way(home, capsys, arguments, message):
    ended = shell.fer_here("data", "forget", *arguments, home=home, capsys=capsys)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert not (home / "fer" / "store").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["demo@"], 2, "NAME@VERSION"),
        (["demo@1", "--source", "folder:nowhere"], 3, "The folder must exist"),
        (["demo@1", "--source", "nowhere"], 2, "A source must be"),
    ],
)
def test_a_release_and_its_sources_are_valid_before_it_is_made_again(home, capsys, arguments, code, message):
    ended = shell.fer_here("models", "reproduce", *arguments, home=home, capsys=capsys)
    assert ended.returncode == code
    assert message in ended.stderr


def test_without_a_registry_nothing_can_be_forgotten(tmp_path, capsys):
    ended = shell.fer_here("data", "forget", "--subject", "S1", home=tmp_path, capsys=capsys)
    assert ended.returncode == 2
    assert "fer retrain" in ended.stderr
