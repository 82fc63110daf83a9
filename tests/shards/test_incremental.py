import shutil

import numpy as np
import prepared
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prepared import dataset, files

from fer.engine.local_workspace import LocalWorkspace
from fer.images import encode
from fer.shards import incremental, parquet, preprocess, preprocessing

pytestmark = pytest.mark.usefixtures("unchecked")

CONFIG = preprocessing.PreprocessConfig(height=10, width=12, images_per_shard=8)


def picture(number):
    return encode.png(np.random.default_rng(number).integers(0, 256, (20, 20), np.uint8))


def preprocessed(workspace, contents, key, config=CONFIG, **options):
    """The shards of `contents`: number of an image -> (class index, split)."""
    rows = [(f"{n:032x}", label, split, 0, row) for row, (n, (label, split)) in enumerate(sorted(contents.items()))]
    source = dataset(workspace, rows, [[picture(n) for n in sorted(contents)]], key)
    return preprocess.preprocess(*source, config, workspace=workspace, **options)


def initial_contents(n=50):
    return {number: (number % 3, ("train", "train", "train", "validation", "test")[number % 5]) for number in range(n)}


def images_by_split(workspace, ref):
    """split -> image_id -> class index and pixels."""
    folder = workspace.folder(ref)
    images = {}
    for split in ("train", "validation", "test"):
        shards = list(parquet.iterate(folder, split))
        images[split] = {
            image_id: (int(label), pixels.tobytes())
            for shard in shards
            for image_id, label, pixels in zip(shard.image_ids, shard.class_indexes, shard.pixels, strict=True)
        }
        assert len(images[split]) == sum(len(shard.image_ids) for shard in shards)
    return images


@pytest.fixture
def decoded(monkeypatch):
    """The encoded images that were prepared since the last look."""
    decoded_files = []
    prepare = preprocessing.prepare_encoded

    def prepare_and_record(data, *rest):
        decoded_files.append(data)
        return prepare(data, *rest)

    monkeypatch.setattr(preprocessing, "prepare_encoded", prepare_and_record)
    monkeypatch.setattr(preprocessing, "probe", lambda config: (1, 2))
    return decoded_files


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path / "workspace")


def inodes(workspace, ref):
    return {path.name: path.stat().st_ino for path in workspace.folder(ref).glob("*-*.parquet")}


def test_only_new_images_are_decoded_and_full_shards_stay_as_they_are(workspace, tmp_path, decoded):
    before = preprocessed(workspace, initial_contents(), "one")
    decoded.clear()
    contents = initial_contents() | {100: (0, "train"), 101: (1, "train"), 102: (2, "test")}
    after = preprocessed(workspace, contents, "two")
    assert sorted(decoded) == sorted(picture(n) for n in (100, 101, 102))
    old, new = inodes(workspace, before), inodes(workspace, after)
    assert {name for name in old if new.get(name) == old[name]} >= {
        "train-00000.parquet",
        "train-00001.parquet",
        "train-00002.parquet",
        "validation-00000.parquet",
        "test-00000.parquet",
    }
    afresh = preprocessed(LocalWorkspace(tmp_path / "afresh"), contents, "two")
    assert after == afresh.model_copy(update={"path": after.path})
    assert images_by_split(workspace, after) == images_by_split(LocalWorkspace(tmp_path / "afresh"), afresh)


def test_nothing_is_decoded_for_the_same_images_in_other_parts(workspace, decoded):
    before = preprocessed(workspace, initial_contents(), "one")
    decoded.clear()
    rows = [
        (f"{n:032x}", label, split, 0, row)
        for row, (n, (label, split)) in enumerate(sorted(initial_contents().items()))
    ]
    moved_rows = [(image_id, label, split, 0, 49 - row) for image_id, label, split, _, row in rows]
    source = dataset(workspace, moved_rows, [[picture(n) for n in sorted(initial_contents(), reverse=True)]], "two")
    after = preprocess.preprocess(*source, CONFIG, workspace=workspace)
    assert decoded == []
    assert inodes(workspace, after) == inodes(workspace, before)
    assert after.digest == before.digest


def test_a_lost_shard_is_made_anew_alone(workspace, decoded):
    ref = preprocessed(workspace, initial_contents(), "one")
    before = files(workspace, ref)
    path = workspace.folder(ref) / "train-00001.parquet"
    lost = parquet.read(path).image_ids
    path.unlink()
    decoded.clear()
    assert preprocessed(workspace, initial_contents(), "one") == ref
    assert sorted(decoded) == sorted(picture(int(image_id, 16)) for image_id in lost)
    assert files(workspace, ref) == before


def test_a_removed_image_is_gone_and_nothing_is_decoded(workspace, decoded):
    preprocessed(workspace, initial_contents(), "one")
    decoded.clear()
    fewer = {n: label_and_split for n, label_and_split in initial_contents().items() if n not in (0, 26, 3)}
    after = preprocessed(workspace, fewer, "two")
    assert decoded == []
    assert set(images_by_split(workspace, after)["train"]) == {
        f"{n:032x}" for n, (_, split) in fewer.items() if split == "train"
    }


def test_another_label_takes_the_image_out_of_its_shard_and_puts_it_back_with_the_new_one(workspace, decoded):
    preprocessed(workspace, initial_contents(), "one")
    decoded.clear()
    after = preprocessed(workspace, initial_contents() | {5: (1, "train")}, "two")
    assert decoded == [picture(5)]
    assert images_by_split(workspace, after)["train"][f"{5:032x}"][0] == 1


def test_small_shards_are_merged_with_what_is_new(workspace):
    """A day's few images end in one small shard a split, not in one a day."""
    contents = initial_contents(40)
    for day in range(12):
        contents[1_000 + day] = (day % 3, "train")
        ref = preprocessed(workspace, contents, f"day{day}")
    sizes = [
        len(parquet.read(workspace.folder(ref) / name).image_ids)
        for name in parquet.names(workspace.folder(ref), "train")
    ]
    assert sum(sizes) == 24 + 12
    assert sum(size < 4 for size in sizes) <= 1


def test_another_config_or_a_damaged_output_keeps_nothing(workspace, decoded):
    before = preprocessed(workspace, initial_contents(), "one")
    decoded.clear()
    preprocessed(workspace, initial_contents(), "one", CONFIG.model_copy(update={"blur_kernel": 5}))
    assert len(decoded) == 50
    (workspace.folder(before) / "train-00001.parquet").unlink()
    decoded.clear()
    after = preprocessed(workspace, initial_contents() | {100: (0, "test")}, "two")
    assert len(decoded) == 51
    assert len(images_by_split(workspace, after)["train"]) == 30


def test_an_earlier_output_that_was_overwritten_in_place_is_not_used(workspace, tmp_path, decoded):
    before = preprocessed(workspace, initial_contents(), "one")
    path = workspace.folder(before) / "train-00001.parquet"
    path.write_bytes(path.read_bytes()[::-1])
    decoded.clear()
    after = preprocessed(workspace, initial_contents() | {100: (0, "test")}, "two")
    assert {picture(n) for n, (_, split) in initial_contents().items() if split == "train"} & set(decoded)
    fresh = LocalWorkspace(tmp_path / "fresh")
    assert images_by_split(workspace, after) == images_by_split(
        fresh, preprocessed(fresh, initial_contents() | {100: (0, "test")}, "two")
    )


@pytest.mark.parametrize("name", ["train-00001.parquet", "summaries.arrow"])
def test_nothing_is_read_of_an_earlier_output_with_a_damaged_file(workspace, tmp_path, name):
    before = preprocessed(workspace, initial_contents(), "one")
    path = workspace.folder(before) / name
    gone = int(parquet.read_labels(workspace.folder(before) / "train-00001.parquet")[0][0], 16)
    data = path.read_bytes()
    half = len(data) // 2
    path.write_bytes(data[:half] + bytes(64) + data[half + 64 :])
    fewer = {n: label_and_split for n, label_and_split in initial_contents().items() if n != gone}
    after = preprocessed(workspace, fewer, "two")
    fresh = LocalWorkspace(tmp_path / "fresh")
    assert images_by_split(workspace, after) == images_by_split(fresh, preprocessed(fresh, fewer, "two"))


def test_a_cut_travels_without_the_rest_of_its_split(workspace):
    contents = {n: (n % 3, "train") for n in range(3_000)}
    rows = [(f"{n:032x}", label, split, 0, n) for n, (label, split) in contents.items()]
    _, split = dataset(workspace, rows, [])
    cuts = incremental.plan_shards(workspace.folder(split) / "split.parquet", incremental.ReusePlan(), 10)
    assert max(cut.image_ids.get_total_buffer_size() for cut in cuts) < 1_000


def test_what_an_interrupted_attempt_cut_otherwise_is_removed(workspace, monkeypatch):
    earlier = dict.fromkeys(range(29), (0, "train")) | {100: (0, "test"), 101: (0, "validation")}
    base = preprocessed(workspace, earlier, "one")
    contents = earlier | dict.fromkeys(range(200, 227), (0, "train"))
    with monkeypatch.context() as stopped:
        stopped.setattr(preprocess.checks, "check", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            preprocessed(workspace, contents, "two")
    assert len(list(workspace.root.glob(".partial/preprocess/*/train-*.parquet"))) == 8
    shutil.rmtree(workspace.folder(base))
    after = preprocessed(workspace, contents, "two")
    assert len(parquet.names(workspace.folder(after), "train")) == 7
    assert len(images_by_split(workspace, after)["train"]) == 56


def test_of_several_earlier_outputs_the_one_with_most_of_the_images_is_kept(workspace, decoded):
    few = {n: label_and_split for n, label_and_split in initial_contents().items() if n < 10}
    for number, contents in enumerate((few, initial_contents(), few | {100: (0, "train")})):
        preprocessed(workspace, contents, f"{number}")
    decoded.clear()
    preprocessed(workspace, initial_contents() | {200: (0, "train")}, "now")
    assert decoded == [picture(200)]


def test_classes_of_other_names_keep_nothing(workspace, monkeypatch):
    preprocessed(workspace, initial_contents(), "one")
    monkeypatch.setattr(prepared, "CLASSES", ("fear", "joy", "rage"))
    after = workspace.folder(preprocessed(workspace, initial_contents() | {100: (0, "train")}, "two"))
    assert {parquet.read(path).classes for path in after.glob("*.parquet")} == {("fear", "joy", "rage")}


def test_progress_is_whole_once_what_was_not_kept_is_made(workspace):
    preprocessed(workspace, initial_contents(), "one")
    calls = []
    contents = initial_contents() | dict.fromkeys(range(100, 120), (0, "train"))
    preprocessed(workspace, contents, "two", progress=lambda *args: calls.append(args[:2]))
    assert calls
    assert all(total == calls[-1][0] < 50 for _, total in calls)


numbers = st.dictionaries(
    st.integers(0, 60), st.tuples(st.integers(0, 2), st.sampled_from(["train", "validation", "test"])), max_size=40
)


@settings(max_examples=settings.default.max_examples // 8)
@given(numbers, st.lists(numbers, min_size=1, max_size=3))
def test_whatever_came_before_the_images_and_the_digest_are_those_of_a_fresh_start(tmp_path_factory, now, before):
    whole = {100: (0, "train"), 101: (1, "validation"), 102: (2, "test")}
    workspace = LocalWorkspace(tmp_path_factory.mktemp("reuse"))
    for day, contents in enumerate(before):
        preprocessed(workspace, contents | whole, f"day{day}")
    after = preprocessed(workspace, now | whole, "now")
    fresh = LocalWorkspace(tmp_path_factory.mktemp("fresh"))
    afresh = preprocessed(fresh, now | whole, "now")
    assert after.digest == afresh.digest
    assert (after.counts, after.mean, after.std) == (afresh.counts, afresh.mean, afresh.std)
    assert images_by_split(workspace, after) == images_by_split(fresh, afresh)
    again = files(workspace, after)
    assert again["preprocessing.json"] == files(fresh, afresh)["preprocessing.json"]
