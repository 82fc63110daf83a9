import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer import errors
from fer.ingest import image_files

some_bytes = st.lists(st.binary(max_size=50), max_size=12)


def written(folder, contents):
    path = folder / "part-00000.arrow"
    image_files.write(path, ((f"{number}.png", data) for number, data in enumerate(contents)))
    return path


@settings(max_examples=40)
@given(some_bytes, st.randoms())
def test_images_are_read_in_a_stream_or_one_by_one(tmp_path_factory, contents, random):
    path = written(tmp_path_factory.mktemp("encoded"), contents)
    assert list(image_files.stream(path)) == contents
    assert image_files.n_images(path) == len(contents)
    spans = image_files.spans(path)
    assert spans.shape == (len(contents), 2)
    chosen = random.sample(range(len(contents)), len(contents) // 2)
    assert list(image_files.read(path, spans[chosen])) == [contents[at] for at in chosen]


def test_many_or_large_images_go_in_several_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "_BATCH_FILES", 4)
    monkeypatch.setattr(image_files, "_BATCH_BYTES", 250)
    contents = [bytes([n]) * 100 for n in range(5)] + [bytes([n]) for n in range(9)]
    path = written(tmp_path, contents)
    with pa.ipc.open_file(path) as file:
        assert [file.get_batch(n).num_rows for n in range(file.num_record_batches)] == [2, 2, 4, 4, 2]
    assert list(image_files.stream(path)) == contents
    assert list(image_files.read(path, image_files.spans(path)[::-1])) == contents[::-1]


def test_a_part_cut_short_is_not_whole_and_nothing_half_written_stays(tmp_path):
    path = written(tmp_path, [b"one", b"two"])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(pa.ArrowInvalid):
        image_files.n_images(path)
    with pytest.raises(errors.IntegrityError, match=r"part-00000\.arrow"):
        image_files.spans(path)
    path.unlink()
    with pytest.raises(errors.IntegrityError, match=r"part-00000\.arrow"):
        image_files.spans(path)

    def broken():
        yield "1.png", b"one"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        image_files.write(tmp_path / "other.arrow", broken())
    assert not (tmp_path / "other.arrow").exists()
