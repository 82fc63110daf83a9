import threading

import numpy as np
import peak_memory
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer import errors
from fer.images import augment
from fer.shards import parquet
from fer.shards.refs import ShardsRef
from fer.training import input_pipeline

CLASSES = ("left", "right", "top", "bottom")
SIZE = (5, 7)
SOME_AUGMENTATION = augment.AugmentConfig(rotation_deg=30, contrast=0.2, erasing=0.3)


def write(folder, n_images: int, n_shards: int, size=SIZE) -> dict[str, tuple[int, bytes]]:
    """Shards that hold images of one class each, as far as it goes; image id -> its class index and pixels."""
    rng = np.random.default_rng(n_images)
    ids = [f"id{row:05}" for row in range(n_images)]
    class_indexes = np.sort(np.arange(n_images) % len(CLASSES)).astype(np.int32)
    pixels = rng.integers(0, 256, (n_images, *size), np.uint8)
    for number, rows in enumerate(np.array_split(np.arange(n_images), n_shards)):
        parquet.write(
            folder / parquet.name("train", number),
            [ids[row] for row in rows],
            class_indexes[rows],
            pixels[rows],
            CLASSES,
        )
    return {ids[row]: (class_indexes[row], pixels[row].tobytes()) for row in range(n_images)}


def small_streaming(folder, *, buffer_images=40, open_row_groups=3, slice_images=4) -> input_pipeline.Streaming:
    return input_pipeline.Streaming(
        folder,
        "train",
        buffer_bytes=buffer_images * SIZE[0] * SIZE[1],
        open_row_groups=open_row_groups,
        slice_images=slice_images,
    )


def resident(folder) -> input_pipeline.Resident:
    return input_pipeline.Resident(parquet.load_split(folder, "train"))


BOTH = pytest.mark.parametrize("opened", [resident, small_streaming])


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """The folder of 130 images in 6 shards, and what they are."""
    folder = tmp_path_factory.mktemp("split")
    return folder, write(folder, 130, 6)


def ids_of(batches) -> list[str]:
    return [image_id for batch in batches for image_id in batch.image_ids]


@BOTH
def test_an_epoch_has_whole_batches_of_images_as_they_are_each_at_most_once(split, opened):
    folder, known = split
    batches = list(opened(folder).batches(16, seed=0, epoch=1))
    assert [batch.pixels.shape for batch in batches] == [(16, *SIZE, 1)] * 8
    assert {batch.pixels.dtype for batch in batches} == {np.dtype(np.uint8)}
    seen = ids_of(batches)
    assert len(set(seen)) == 128
    for batch in batches:
        for image_id, class_index, pixels in zip(batch.image_ids, batch.class_indexes, batch.pixels, strict=True):
            assert known[image_id] == (class_index, pixels.tobytes())


@settings(max_examples=30)
@given(
    n_images=st.integers(1, 90),
    n_shards=st.integers(1, 7),
    batch_size=st.integers(1, 40),
    buffer_images=st.integers(0, 120),
    open_row_groups=st.integers(1, 4),
    slice_images=st.integers(1, 50),
)
def test_streaming_shows_all_images_whatever_the_sizes(
    tmp_path_factory, n_images, n_shards, batch_size, buffer_images, open_row_groups, slice_images
):
    folder = tmp_path_factory.mktemp("split")
    known = write(folder, n_images, n_shards)
    streaming = small_streaming(
        folder, buffer_images=buffer_images, open_row_groups=open_row_groups, slice_images=slice_images
    )
    seen = ids_of(streaming.batches(batch_size, seed=1, epoch=2))
    assert len(seen) == len(set(seen)) == n_images // batch_size * batch_size
    assert sorted(ids_of(streaming.batches(1, seed=1, epoch=2))) == sorted(known)


@BOTH
def test_the_order_is_that_of_seed_and_epoch_for_who_begins_there_too(split, opened):
    folder, _ = split
    once = opened(folder)
    orders = {(seed, epoch): ids_of(once.batches(16, seed, epoch)) for seed in (0, 1) for epoch in (1, 2, 3)}
    assert len({tuple(order) for order in orders.values()}) == 6
    assert ids_of(opened(folder).batches(16, 0, 3)) == orders[0, 3]


@BOTH
def test_each_epoch_leaves_out_other_images(split, opened):
    folder, known = split
    left_out = {frozenset(known.keys() - ids_of(opened(folder).batches(64, 0, epoch))) for epoch in range(4)}
    assert {len(image_ids) for image_ids in left_out} == {2}
    assert len(left_out) > 1


@BOTH
def test_pieces_are_all_images_in_order(split, opened):
    folder, known = split
    chunks = list(opened(folder).chunks())
    assert [image.tobytes() for pixels, _ in chunks for image in pixels] == [pixels for _, pixels in known.values()]
    assert [label for _, labels in chunks for label in labels] == [class_index for class_index, _ in known.values()]
    assert {pixels.shape[1:] for pixels, _ in chunks} == {(*SIZE, 1)}


def test_batches_are_mixed_though_each_shard_is_of_one_class(tmp_path):
    write(tmp_path, 4_096, 32)
    streaming = small_streaming(tmp_path, buffer_images=512, open_row_groups=16, slice_images=8)
    batches = list(streaming.batches(32, seed=0, epoch=1))
    n_first = np.array([(batch.class_indexes == 0).sum() for batch in batches])
    binomial = np.sqrt(32 * 0.25 * 0.75)
    assert n_first.std() < 1.5 * binomial  # 13.9, which is 5.6 times as much, in the shards' order


def test_streaming_takes_no_more_memory_for_four_times_the_images(tmp_path):
    rises = []
    for n_images in (8_000, 32_000):
        folder = tmp_path / str(n_images)
        folder.mkdir()
        write(folder, n_images, n_images // 500, size=(32, 32))
        streaming = input_pipeline.Streaming(folder, "train", buffer_bytes=2**18)
        with peak_memory.risen() as rise:
            n_seen = sum(len(batch.image_ids) for batch in streaming.batches(16, 0, 1))
        rises.append(rise[0])
        assert n_seen == n_images
    assert rises[1] < rises[0] + 2**24  # of the 24 MB that there are more


def test_what_fits_is_resident_and_what_does_not_streams(split):
    folder, _ = split
    # 59,918 images of 5x7 are 22 bytes short of 2 MiB.
    for n_images, kind in ((59_918, input_pipeline.Resident), (59_919, input_pipeline.Streaming)):
        counts = {"train": {"left": 30_000, "right": n_images - 30_000}}
        source = ShardsRef(classes=CLASSES, height=5, width=7, counts=counts, mean=0, std=1)
        assert isinstance(input_pipeline.open_split(folder, "train", source, resident_mb=2), kind)


def test_a_split_without_shards_is_an_error_that_names_it(tmp_path):
    with pytest.raises(errors.IntegrityError, match=r"no train-00000\.parquet"):
        input_pipeline.Streaming(tmp_path, "train")


def test_a_damaged_shard_is_told_to_who_reads_ahead(tmp_path):
    write(tmp_path, 60, 3)
    path = tmp_path / parquet.name("train", 1)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(errors.IntegrityError, match=r"train-00001\.parquet must be whole"):
        list(input_pipeline.prefetch(small_streaming(tmp_path).batches(4, seed=0, epoch=1)))
    assert not prefetching()


def prefetching() -> bool:
    return any(thread.name == "prefetch" for thread in threading.enumerate())


def test_reading_ahead_keeps_order_and_ends_its_thread():
    assert list(input_pipeline.prefetch(number for number in range(100))) == list(range(100))
    assert not prefetching()


@pytest.mark.timeout(30)
def test_a_reader_that_stops_early_ends_the_thread_and_what_it_reads_from():
    produced, closed = [], threading.Event()

    def endless():
        try:
            while True:
                produced.append(len(produced))
                yield produced[-1]
        finally:
            closed.set()

    prefetched = input_pipeline.prefetch(endless())
    assert next(prefetched) == 0
    prefetched.close()
    assert closed.is_set()
    assert not prefetching()
    assert len(produced) < 10


def test_an_error_in_the_thread_comes_after_what_was_made_before_it():
    def failing():
        yield 1
        yield 2
        raise errors.IntegrityError("The third must be whole.")

    seen = []
    with pytest.raises(errors.IntegrityError, match="The third must be whole"):
        seen.extend(number for number in input_pipeline.prefetch(failing()) if seen.append(number))
    assert seen == [1, 2]


def augmented(folder, epoch, *, apply=True, opened=resident):
    return list(
        input_pipeline.augmented(opened(folder).batches(16, 0, epoch), 0, epoch, SOME_AUGMENTATION, apply=apply)
    )


def test_an_image_is_augmented_alike_wherever_it_comes_in_the_epoch(split):
    folder, known = split
    one, other = (
        {
            image_id: pixels.tobytes()
            for batch in augmented(folder, 1, opened=opened)
            for image_id, pixels in zip(batch.image_ids, batch.pixels, strict=True)
        }
        for opened in (resident, small_streaming)
    )
    both = one.keys() & other.keys()
    assert len(both) >= 126
    assert all(one[image_id] == other[image_id] for image_id in both)
    assert sum(one[image_id] != known[image_id][1] for image_id in both) > 0.9 * len(both)


def test_each_epoch_augments_anew_and_changes_no_data(split):
    folder, known = split
    source = resident(folder)
    first, second = (
        {
            image_id: pixels.tobytes()
            for batch in input_pipeline.augmented(source.batches(13, 0, epoch), 0, epoch, SOME_AUGMENTATION, apply=True)
            for image_id, pixels in zip(batch.image_ids, batch.pixels, strict=True)
        }
        for epoch in (1, 2)
    )
    assert sum(first[image_id] != second[image_id] for image_id in known) > 0.9 * len(known)
    (pixels, _), *_ = source.chunks()
    assert [image.tobytes() for image in pixels] == [pixels for _, pixels in known.values()]


def test_draws_go_with_the_batch_for_another_to_apply(split):
    folder, known = split
    for done, due in zip(augmented(folder, 1), augmented(folder, 1, apply=False), strict=True):
        assert done.draws is None
        assert [known[image_id][1] for image_id in due.image_ids] == [image.tobytes() for image in due.pixels]
        np.testing.assert_array_equal(augment.apply(due.pixels[..., 0], due.draws), done.pixels[..., 0])
