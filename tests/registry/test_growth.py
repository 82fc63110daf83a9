"""What of today's data the champion has not learned."""

import pyarrow as pa
import pyarrow.parquet as pq
from registrations import parts, register

from data_contracts import files
from fer.registry import growth


def split_of(folder, pixels, splits):
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table({"pixel_sha256": list(pixels), "split": list(splits)}), folder / files.SPLIT)
    return folder


def test_without_a_champion_there_is_none(models, tmp_path):
    assert growth.since_champion(models, "demo", split_of(tmp_path / "split", "a", ["train"])) is None


def test_new_are_images_to_be_learned_whose_pixels_the_champion_has_not_seen(models, workspace, tmp_path):
    register(workspace, parts(workspace))  # learned: a, b, c
    same = split_of(tmp_path / "split", "caabde", ["train", "train", "train", "validation", "test", "excluded"])
    found = growth.since_champion(models, "demo", same)
    assert (found.version, found.n_learned, found.n_new, found.share) == (1, 3, 0, 0)
    more = split_of(tmp_path / "more", "abcxxyz", ["train", "train", "test", "train", "train", "validation", "test"])
    found = growth.since_champion(models, "demo", more)
    assert (found.n_new, found.share) == (2, 2 / 3)
    assert found.summary() == "2 images are new to demo@1, which learned 3"
