import pytest

from fer import errors
from fer.engine.objects import Objects


@pytest.fixture
def objects(store) -> Objects:
    return Objects(store)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_text("a")
    return path


def test_equal_files_are_one_object_whatever_they_are_called(objects, path, tmp_path):
    file = objects.share_finished(".partial/stage/k1", "a.txt", path)
    assert objects.share_finished(".partial/stage/k2", "b.txt", path) == file
    assert [listed.size_bytes for listed in objects.store.list("objects/")] == [1]
    assert objects.finished(".partial/stage/k1", "a.txt") == file
    assert objects.finished(".partial/stage/k1", "b.txt") is None
    objects.download(file, tmp_path / "again")
    assert (tmp_path / "again").read_text() == "a"


def test_an_object_is_asked_for_once_and_not_at_all_after_a_look(objects, path, monkeypatch):
    file = objects.share_finished("out", "a.txt", path)
    fresh = Objects(objects.store)
    fresh.look()
    asked = []
    monkeypatch.setattr(objects.store, "size", lambda key: asked.append(key) or 1)
    assert fresh.is_there(file)
    assert asked == []
    assert objects.is_there(file)
    assert objects.is_there(file)
    assert len(asked) == 1


def test_a_damaged_object_is_removed_to_be_sent_again(objects, path, tmp_path):
    file = objects.share_finished("out", "a.txt", path)
    objects.store.put(f"objects/{file['sha256']}", b"b")
    assert objects.is_there(file)
    with pytest.raises(errors.IntegrityError):
        objects.download(file, tmp_path / "again")
    assert not objects.is_there(file)
    objects.upload(path, file)
    objects.download(file, tmp_path / "again")
