import stat

import pytest

from fer.engine.store import credentials


def test_what_was_made_is_read_and_its_owner_alone_may(tmp_path):
    new = credentials.make(tmp_path)
    assert credentials.read(tmp_path) == new
    assert stat.S_IMODE((tmp_path / "credentials.json").stat().st_mode) == 0o600
    assert credentials.make(tmp_path) != new
    assert [path.name for path in tmp_path.iterdir()] == ["credentials.json"]


@pytest.mark.parametrize("text", [None, "", "{", "[]", "1", '{"access_key_id": "fer"}'])
def test_what_is_not_whole_is_no_credentials(tmp_path, text):
    if text is not None:
        (tmp_path / "credentials.json").write_text(text)
    assert credentials.read(tmp_path) is None
