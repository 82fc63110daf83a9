import concurrent.futures
import statistics

import cv2
import numpy as np
import onnx_release
import pyarrow.parquet as pq
import pytest
from prepared import CLASSES, dataset, drawn, files

from fer import errors
from fer.engine import contracts, runners
from fer.engine.local_workspace import LocalWorkspace
from fer.images import decode, encode, prepare
from fer.ingest.demo import faces as demo_faces
from fer.serving.predictor import Predictor
from fer.shards import parquet, preprocess, preprocessing

CONFIG = preprocessing.PreprocessConfig(height=10, width=12, images_per_shard=7)
ONE = runners.Processes(workers=1)
TWO = runners.Processes(workers=2, alone_s=0)


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path / "workspace")


@pytest.fixture
def source(workspace):
    return dataset(workspace, *drawn())


def test_shard_pixels_are_those_that_prediction_makes(workspace, source):
    ref = preprocess.preprocess(*source, CONFIG, workspace=workspace)
    rows, encoded = drawn()
    by_id = {image_id: (class_index, encoded[part][row]) for image_id, class_index, _, part, row in rows}
    config = preprocessing.load_record(workspace.folder(ref)).config
    for split in ("train", "validation", "test"):
        images = parquet.load_split(workspace.folder(ref), split)
        assert sorted(images.image_ids) == [row[0] for row in rows if row[2] == split]
        for image_id, class_index, pixels in zip(images.image_ids, images.class_indexes, images.pixels, strict=True):
            assert class_index == by_id[image_id][0]
            assert np.array_equal(pixels[..., 0], preprocessing.prepare_encoded(by_id[image_id][1], config))


def test_each_split_is_in_the_order_of_image_id_and_cut_in_shards(workspace, source):
    ref = preprocess.preprocess(*source, CONFIG, workspace=workspace)
    folder = workspace.folder(ref)
    ids = [image_id for shard in parquet.iterate(folder, "train") for image_id in shard.image_ids]
    assert ids == sorted(ids)
    sizes = [len(parquet.read(folder / name).image_ids) for name in parquet.names(folder, "train")]
    assert sizes == [7, 7, 7, 3]
    assert {path.suffix for path in folder.iterdir() if path.is_file()} == {".parquet", ".json", ".arrow"}


def test_the_record_and_the_ref_say_what_was_made(workspace, source):
    ref = preprocess.preprocess(*source, CONFIG, workspace=workspace)
    record = preprocessing.load_record(workspace.folder(ref))
    train = parquet.load_split(workspace.folder(ref), "train")
    assert record.config == CONFIG
    assert (record.classes, record.height, record.width) == (CLASSES, 10, 12) == (ref.classes, ref.height, ref.width)
    values = train.pixels.ravel().tolist()
    assert record.mean == ref.mean == pytest.approx(statistics.fmean(values))
    assert record.std == ref.std == pytest.approx(statistics.pstdev(values))
    assert ref.counts["train"] == {"angry": 8, "happy": 8, "sad": 8}
    assert sum(ref.counts["validation"].values()) == 7
    assert list(ref.counts) == ["train", "validation", "test"]


@pytest.mark.slow  # starts two processes; threads are tested below
def test_one_and_two_workers_make_the_same_bytes(workspace, source, tmp_path):
    alone = preprocess.preprocess(*source, CONFIG, workspace=workspace, runner=ONE)
    other = LocalWorkspace(tmp_path / "other")
    together = preprocess.preprocess(*dataset(other, *drawn()), CONFIG, workspace=other, runner=TWO)
    assert together == alone
    assert files(other, together) == files(workspace, alone)


def test_the_digest_is_that_of_the_images_however_they_are_cut(unchecked, workspace, source, tmp_path):
    ref = preprocess.preprocess(*source, CONFIG, workspace=workspace)
    rows, parts = drawn()
    other = LocalWorkspace(tmp_path / "other")
    elsewhere = [
        (image_id, index, split, 4 - part, row) for image_id, index, split, part, row in rows
    ]  # the same images in other parts
    assert preprocess.preprocess(*dataset(other, elsewhere, parts[::-1]), CONFIG, workspace=other).digest == ref.digest
    changed = LocalWorkspace(tmp_path / "changed")
    parts[0][0] = encode.png(np.zeros((20, 20), np.uint8))
    again = preprocess.preprocess(*dataset(changed, rows, parts), CONFIG, workspace=changed)
    assert again.digest != ref.digest


def test_a_second_attempt_keeps_finished_shards_and_makes_the_rest(unchecked, workspace, tmp_path, monkeypatch):
    rows, encoded = drawn()
    whole = preprocess.preprocess(*dataset(workspace, rows, encoded), CONFIG, workspace=workspace)

    other = LocalWorkspace(tmp_path / "other")
    source = dataset(other, rows, encoded)
    prepare_whole, broken = prepare.prepare, [True]

    def prepare_until_broken(*args):
        if broken and shards_done() >= 3:
            raise KeyboardInterrupt
        return prepare_whole(*args)

    def shards_done():
        return len(list((other.root / ".partial").rglob("*.parquet")))

    monkeypatch.setattr(prepare, "prepare", prepare_until_broken)
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


def test_threads_of_one_process_make_the_same_bytes(unchecked, workspace, source, tmp_path):
    """As those of a Dask worker do."""
    alone = preprocess.preprocess(*source, CONFIG, workspace=workspace)

    class Threads(runners.Processes):
        def run(self, function, items, *, place, **_):
            folders = runners.Folders(tuple(place.workspace.folder(ref) for ref in place.inputs), place.out)
            with concurrent.futures.ThreadPoolExecutor(8) as threads:
                return list(threads.map(lambda item: function(folders, item), items))

    other = LocalWorkspace(tmp_path / "other")
    together = preprocess.preprocess(*dataset(other, *drawn()), CONFIG, workspace=other, runner=Threads())
    assert together == alone


def test_progress_counts_images(unchecked, workspace, source):
    calls = []
    preprocess.preprocess(*source, CONFIG, workspace=workspace, progress=lambda *args: calls.append(args[:2]))
    assert calls[0] == (7, 38)
    assert calls[-1] == (38, 38)
    assert calls == sorted(calls)


def test_without_train_images_it_says_how_many_there_are(workspace):
    rows = [(f"{i}", 0, "test", 0, i) for i in range(3)]
    source = dataset(workspace, rows, [[encode.png(np.zeros((9, 9), np.uint8))] * 3])
    with pytest.raises(errors.SourceError, match=r"'train': 0.*'test': 3"):
        preprocess.preprocess(*source, CONFIG, workspace=workspace)


def test_an_image_that_no_longer_decodes_is_named(workspace):
    source = dataset(workspace, [("the-id", 0, "train", 0, 0)], [[b"damaged"]])
    with pytest.raises(errors.IntegrityError, match="the-id: not an image"):
        preprocess.preprocess(*source, CONFIG, workspace=workspace)


def test_images_of_one_grey_have_no_deviation(workspace):
    rows = [(f"{i}", 1, split, 0, i) for i, split in enumerate(["train", "train", "validation", "test"])]
    source = dataset(workspace, rows, [[encode.png(np.full((30, 30), 77, np.uint8))] * 4])
    ref = preprocess.preprocess(*source, CONFIG, workspace=workspace)
    assert (ref.mean, ref.std) == (77.0, 0.0)
    assert ref.counts["train"] == {"angry": 0, "happy": 2, "sad": 0}
    assert [outcome.id for outcome in contracts.read(workspace.folder(ref)) if not outcome.passed] == ["contrast"]


def test_large_images_go_in_smaller_shards(unchecked, workspace, monkeypatch):
    monkeypatch.setattr(parquet, "_ROW_GROUP_BYTES", 10 * 12 * 5)
    ref = preprocess.preprocess(*dataset(workspace, *drawn()), CONFIG, workspace=workspace)
    folder = workspace.folder(ref)
    assert [pq.read_metadata(folder / name).num_rows for name in parquet.names(folder, "train")] == [5, 5, 5, 5, 4]


@pytest.mark.parametrize(
    "change",
    [
        {"height": 48, "width": 48},
        {"height": 64, "width": 64, "blur_kernel": 0},
        {"height": 96, "width": 96, "contrast": "equalise"},
        {"height": 224, "width": 224, "contrast": "clahe", "blur_kernel": 5},
        {"height": 48, "width": 48, "face": "crop"},
        {"height": 64, "width": 64, "face": "align", "face_margin": 0.2},
    ],
)
def test_prediction_prepares_files_as_shards_were_made(unchecked, workspace, tmp_path, change):
    """Byte for byte, JPEG and PNG, through the code that `fer predict` runs on a file."""
    draw = np.random.default_rng(1)
    smooth = [cv2.resize(draw.integers(0, 256, (9, 8), np.uint8), (190, 180)) for _ in range(6)]
    for seed, image in enumerate(smooth):
        face = demo_faces.draw(demo_faces.CLASSES[seed], np.random.default_rng(seed))
        image[20:140, 30:150] = cv2.resize(face, (120, 120), interpolation=cv2.INTER_CUBIC)
    encoded = [cv2.imencode(kind, image)[1].tobytes() for image, kind in zip(smooth, [".jpg", ".png"] * 3, strict=True)]
    splits = ["train", "train", "train", "train", "validation", "test"]
    rows = [(f"{n:032x}", n % 3, split, 0, n) for n, split in enumerate(splits)]
    config = preprocessing.PreprocessConfig(**change)
    ref = preprocess.preprocess(*dataset(workspace, rows, [encoded]), config, workspace=workspace)
    predictor = Predictor.from_folder(onnx_release.write(tmp_path / "release", **change))
    assert predictor.config == config
    for split in ("train", "validation", "test"):
        images = parquet.load_split(workspace.folder(ref), split)
        for image_id, pixels in zip(images.image_ids, images.pixels[..., 0], strict=True):
            image = decode.decode(encoded[int(image_id, 16)])
            (shown,) = predictor.look(image, whole=config.face == "whole").shown
            assert np.array_equal(shown.pixels, pixels)
