import os

from fer.reports.overview import disk_use
from fer.settings import Settings


def test_each_part_is_measured_and_a_file_with_two_names_counts_once(tmp_path):
    for place, n_bytes in (("workspace/train/0", 200_000), ("workspace/index/0", 100_000), ("store", 50_000)):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "file").write_bytes(os.urandom(n_bytes))
    (tmp_path / "workspace/split/0").mkdir(parents=True)
    os.link(tmp_path / "workspace/train/0/file", tmp_path / "workspace/split/0/file")
    (tmp_path / "workspace/split/0/link").symlink_to(tmp_path / "store/file")
    found = disk_use.measure(Settings(home=tmp_path))
    sizes = {use.part: use.size_bytes for use in found.parts}
    assert 350_000 <= sum(sizes.values()) < 400_000
    assert next(iter(sizes)) in {"workspace/train", "workspace/split"}
    assert sizes["store"] >= 50_000
    assert found.free_bytes < found.total_bytes


def test_where_nothing_was_made_yet_nothing_is_used(tmp_path):
    assert disk_use.measure(Settings(home=tmp_path / "absent")).parts == ()
