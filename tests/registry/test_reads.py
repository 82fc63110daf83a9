"""How often a test set was read: by versions whose images are the same, whatever their order."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from registrations import parts, register, state_for

from data_contracts import files
from fer.registry import reads
from fer.registry.reads import MANY


def written(folder, pixels, splits):
    folder.mkdir()
    pq.write_table(pa.table({"pixel_sha256": list(pixels), "split": list(splits)}), folder / files.SPLIT)
    return reads.digest(folder)


def test_the_digest_is_that_of_the_test_images_alone_in_any_order(tmp_path):
    first = written(tmp_path / "a", "abcd", ["train", "test", "test", "validation"])
    assert first == written(tmp_path / "b", "cxb", ["test", "train", "test"])
    assert first != written(tmp_path / "c", "bcd", ["test", "test", "test"])


def test_each_registration_is_a_read_of_its_test_set(models, workspace):
    for number, weights in enumerate("abc"):
        refs = parts(workspace, weights=weights, champion_version=number or None)
        register(workspace, refs, state_for(workspace, refs[1]))
    (read,) = reads.ledger(models.versions("demo"))
    assert (read.versions, read.n_comparisons, read.is_worn) == ((1, 2, 3), 2, False)
    assert read.by_luck == pytest.approx(2 * 0.025)
    assert len(read.test_set) == 64
    assert read.first <= read.last
    manifest = models.get("demo", "1")
    worn = [manifest.model_copy(update={"version": number}) for number in range(1, MANY + 1)]
    assert reads.ledger(worn)[0].is_worn
    assert not reads.ledger(worn[1:])[0].is_worn


def test_versions_that_do_not_say_what_they_were_tested_on_are_left_out(models, workspace):
    register(workspace, parts(workspace))
    assert reads.ledger([models.get("demo").model_copy(update={"test_set": ""})]) == ()
