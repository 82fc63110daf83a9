import pytest

from fer.ingest import archives, exclusion

PATHS = ["a/happy/1.png", "a/happy/1_mask.png", "a/raw/2.png", "b/raw/3.png", "raw.png"]


@pytest.mark.parametrize(
    ("patterns", "kept"),
    [
        ((), [0, 1, 2, 3, 4]),
        (("*_mask.*",), [0, 2, 3, 4]),
        (("raw",), [0, 1, 4]),
        (("raw/",), [0, 1, 4]),
        (("a/raw",), [0, 1, 3, 4]),
        (("/a/*",), [3, 4]),
        (("*/raw/*.png", "raw.png"), [0, 1]),
        (("RAW",), [0, 1, 2, 3, 4]),
    ],
)
def test_files_are_left_out_by_globs_on_names_and_paths(patterns, kept):
    members = [archives.Member(path, 1) for path in PATHS]
    assert [member.name for member in exclusion.Exclusion(patterns).kept(members)] == [PATHS[n] for n in kept]


def test_patterns_that_leave_nothing_out_are_known():
    excluding = exclusion.Exclusion(("raw", "nothing", "a/x"))
    excluding.kept([archives.Member(path, 1) for path in PATHS])
    assert excluding.unused == ("nothing", "a/x")
