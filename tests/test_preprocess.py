import hashlib
import statistics
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fer import contracts, errors, images, parallel, preprocess, refs, shards
from fer.workspace import Workspace

CLASSES = ("angry", "happy", "sad")
CONFIG = preprocess.PreprocessConfig(height=10, width=12, images_per_shard=7)
SPLIT_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("class_index", pa.int32()),
        ("split", pa.string()),
        ("part", pa.int32()),
        ("row", pa.int32()),
    ]
)


def committed(workspace, stage, ref, write):
    def produce(out):
        write(out)
        return ref

    return workspace.run(stage, "k", type(ref), produce, resumable=False)


def dataset(workspace, rows, encoded_by_part):
    """The Refs of an index and a split stage's output made by hand; rows: (image_id, class_index, split, part, row)."""

    def write_manifest(out):
        (out / "images").mkdir()
        for part, encoded in enumerate(encoded_by_part):
            table = pa.table({"path": [f"{part}/{i}.png" for i in range(len(encoded))], "data": encoded})
            pq.write_table(table, out / f"images/part-{part:05d}.parquet", row_group_size=4, compression="zstd")

    def write_split(out):
        columns = zip(*rows, strict=True) if rows else [[] for _ in SPLIT_SCHEMA]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, SPLIT_SCHEMA, strict=True)]
        pq.write_table(pa.Table.from_arrays(arrays, schema=SPLIT_SCHEMA), out / "split.parquet")

    n = len(rows)
    manifest = refs.ManifestRef(source="x", layouts=("x",), classes=CLASSES, n_found=n, n_quarantined=0)
    found = Counter((split, class_index) for _, class_index, split, _, _ in rows)
    counts = {
        each: {label: found[each, at] for at, label in enumerate(CLASSES)} for each in ("train", "validation", "test")
    }
    split = refs.SplitRef(classes=CLASSES, counts=counts, origin="drawn")
    return committed(workspace, "index", manifest, write_manifest), committed(workspace, "split", split, write_split)


def drawn(n: int = 45, per_part: int = 10):
    draw = np.random.default_rng(0)
    encoded = [images.encode_png(draw.integers(0, 256, (20, 20), np.uint8)) for _ in range(n)]
    splits = ["train", "train", "train", "validation", "test", "excluded"]
    rows = [
        (f"{i:032x}", None if splits[i % 6] == "excluded" else i % 3, splits[i % 6], i // per_part, i % per_part)
        for i in range(n)
    ]
    return rows, [encoded[start : start + per_part] for start in range(0, n, per_part)]


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def source(workspace):
    return dataset(workspace, *drawn())


def files(workspace, ref):
    """The files of an output but what is said about them, which holds the time of its making."""
    paths = (path for path in workspace.folder(ref).iterdir() if path.is_file() and path.name != "_ref.json")
    return {path.name: path.read_bytes() for path in paths}


def test_shard_pixels_are_those_that_prediction_makes(workspace, source):
    made = preprocess.preprocess(*source, CONFIG, workspace=workspace)
    rows, encoded = drawn()
    by_id = {image_id: (class_index, encoded[part][row]) for image_id, class_index, _, part, row in rows}
    config = preprocess.load_record(workspace.folder(made)).config
    for split in ("train", "validation", "test"):
        found = shards.load_split(workspace.folder(made), split)
        assert sorted(found.image_ids) == [row[0] for row in rows if row[2] == split]
        for image_id, class_index, pixels in zip(found.image_ids, found.class_indexes, found.pixels, strict=True):
            assert class_index == by_id[image_id][0]
            assert np.array_equal(pixels[..., 0], preprocess.prepare_encoded(by_id[image_id][1], config))


def test_each_split_is_in_the_order_of_its_hashed_ids_and_cut_in_shards(workspace, source):
    made = preprocess.preprocess(*source, CONFIG, workspace=workspace)
    folder = workspace.folder(made)
    ids = shards.load_split(folder, "train").image_ids
    assert ids == sorted(ids, key=lambda each: hashlib.sha256(each.encode()).digest())
    sizes = [len(shards.read(folder / name).image_ids) for name in shards.names(folder, "train")]
    assert sizes == [7, 7, 7, 3]
    assert {path.suffix for path in folder.iterdir() if path.is_file()} == {".parquet", ".json"}


def test_the_record_and_the_ref_say_what_was_made(workspace, source):
    made = preprocess.preprocess(*source, CONFIG, workspace=workspace)
    record = preprocess.load_record(workspace.folder(made))
    train = shards.load_split(workspace.folder(made), "train")
    assert record.config == CONFIG
    assert (record.classes, record.height, record.width) == (CLASSES, 10, 12) == (made.classes, made.height, made.width)
    values = train.pixels.ravel().tolist()
    assert record.mean == made.mean == pytest.approx(statistics.fmean(values))
    assert record.std == made.std == pytest.approx(statistics.pstdev(values))
    assert made.counts["train"] == {"angry": 8, "happy": 8, "sad": 8}
    assert sum(made.counts["validation"].values()) == 7
    assert list(made.counts) == ["train", "validation", "test"]


def test_one_and_two_workers_make_the_same_bytes(workspace, source, tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "usable_cores", lambda: 1)
    alone = preprocess.preprocess(*source, CONFIG, workspace=workspace)
    monkeypatch.setattr(parallel, "usable_cores", lambda: 2)
    other = Workspace(tmp_path / "other")
    together = preprocess.preprocess(*dataset(other, *drawn()), CONFIG, workspace=other)
    assert together == alone
    assert files(other, together) == files(workspace, alone)


def test_a_second_attempt_keeps_finished_shards_and_makes_the_rest(workspace, tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "usable_cores", lambda: 1)
    rows, encoded = drawn()
    whole = preprocess.preprocess(*dataset(workspace, rows, encoded), CONFIG, workspace=workspace)

    other = Workspace(tmp_path / "other")
    source = dataset(other, rows, encoded)
    prepare, broken = images.prepare, [True]

    def prepare_until_broken(*args):
        if broken and shards_done() >= 3:
            raise KeyboardInterrupt
        return prepare(*args)

    def shards_done():
        return len(list((other.root / ".partial").rglob("*.parquet")))

    monkeypatch.setattr(images, "prepare", prepare_until_broken)
    with pytest.raises(KeyboardInterrupt):
        preprocess.preprocess(*source, CONFIG, workspace=other)
    assert shards_done() == 3
    assert not list((other.root / ".partial").rglob("*.tmp"))

    kept = {path.name: path.stat().st_ino for path in (other.root / ".partial").rglob("*.parquet")}
    damaged = next((other.root / ".partial").rglob("train-00001.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-9])
    broken.clear()
    again = preprocess.preprocess(*source, CONFIG, workspace=other)
    assert again == whole
    assert files(other, again) == files(workspace, whole)
    inodes = {name: (other.folder(again) / name).stat().st_ino for name in kept}
    assert {name for name in kept if inodes[name] != kept[name]} == {"train-00001.parquet"}


def test_progress_counts_images(workspace, source, monkeypatch):
    monkeypatch.setattr(parallel, "usable_cores", lambda: 1)
    seen = []
    preprocess.preprocess(*source, CONFIG, workspace=workspace, progress=lambda *what: seen.append(what[:2]))
    assert seen[0] == (7, 38)
    assert seen[-1] == (38, 38)
    assert seen == sorted(seen)


def test_without_train_images_it_says_how_many_there_are(workspace):
    rows = [(f"{i}", 0, "test", 0, i) for i in range(3)]
    source = dataset(workspace, rows, [[images.encode_png(np.zeros((9, 9), np.uint8))] * 3])
    with pytest.raises(errors.SourceError, match=r"'train': 0.*'test': 3"):
        preprocess.preprocess(*source, CONFIG, workspace=workspace)


def test_an_image_that_no_longer_decodes_is_named(workspace):
    source = dataset(workspace, [("the-id", 0, "train", 0, 0)], [[b"damaged"]])
    with pytest.raises(errors.IntegrityError, match="the-id: not an image"):
        preprocess.preprocess(*source, CONFIG, workspace=workspace)


def test_images_of_one_grey_have_no_deviation(workspace):
    rows = [(f"{i}", 1, split, 0, i) for i, split in enumerate(["train", "train", "validation", "test"])]
    source = dataset(workspace, rows, [[images.encode_png(np.full((30, 30), 77, np.uint8))] * 4])
    made = preprocess.preprocess(*source, CONFIG, workspace=workspace)
    assert (made.mean, made.std) == (77.0, 0.0)
    assert made.counts["train"] == {"angry": 0, "happy": 2, "sad": 0}
    assert [each.id for each in contracts.read(workspace.folder(made)) if not each.passed] == ["contrast"]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 2**32))
def test_sums_merged_are_the_sums_of_all(n_first, n_second, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (n_first + n_second + 1, 3, 3), np.uint8)
    merged = preprocess.Sums.of(pixels[:n_first]) + preprocess.Sums.of(pixels[n_first:])
    assert merged == preprocess.Sums.of(pixels)
    assert merged.mean == pytest.approx(float(pixels.mean()))
    assert merged.std == pytest.approx(float(pixels.astype(float).std()))


def test_sums_do_not_overflow():
    white = np.full((2, 2_000, 2_000), 255, np.uint8)
    assert preprocess.Sums.of(white) == preprocess.Sums(8_000_000, 8_000_000 * 255, 8_000_000 * 255**2)


@pytest.mark.parametrize("kernel", [2, 4, -1, 33])
def test_a_blur_kernel_must_be_odd_or_none(kernel):
    with pytest.raises(ValidationError, match="blur_kernel"):
        preprocess.PreprocessConfig(blur_kernel=kernel)


def test_large_images_go_in_smaller_shards(workspace, monkeypatch):
    monkeypatch.setattr(shards, "_ROW_GROUP_BYTES", 10 * 12 * 5)
    monkeypatch.setattr(parallel, "usable_cores", lambda: 1)
    made = preprocess.preprocess(*dataset(workspace, *drawn()), CONFIG, workspace=workspace)
    folder = workspace.folder(made)
    assert [pq.read_metadata(folder / name).num_rows for name in shards.names(folder, "train")] == [5, 5, 5, 5, 4]


def test_a_record_notices_another_way_of_preparing_images_but_not_rounding(monkeypatch):
    config = preprocess.PreprocessConfig(height=16, width=16, blur_kernel=3)
    record = preprocess.Preprocessing(
        config=config, classes=("happy", "sad"), height=16, width=16, mean=1.0, std=1.0, probe=preprocess.probe(config)
    )
    assert record.is_kept()
    prepare = preprocess.images.prepare
    monkeypatch.setattr(preprocess.images, "prepare", lambda *a: np.clip(prepare(*a).astype(int) + 1, 0, 255))
    assert record.is_kept()
    monkeypatch.setattr(preprocess.images, "prepare", lambda *a: 255 - prepare(*a))
    assert not record.is_kept()
    monkeypatch.setattr(preprocess.images, "prepare", lambda image, h, w, k, s: prepare(image, h, w, 0, s))
    assert not record.is_kept()
