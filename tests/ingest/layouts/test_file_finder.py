import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer.ingest.layouts import file_finder
from fer.ingest.naming import split_names


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(["a", "b", "train", "test"]), max_size=3), max_size=8), st.data())
def test_a_file_is_found_by_the_longest_end_as_if_all_were_compared(folders, data):
    names = sorted({"/".join([*folder, "1.png"]) for folder in folders})
    parts = data.draw(st.lists(st.sampled_from(["a", "b", "train", "test"]), max_size=4))
    path = "/".join([*parts, "1.png"])

    def n_shared(name):
        pairs = itertools.zip_longest(reversed(name.split("/")), reversed(path.split("/")))
        return len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))

    def split_of(name):
        return next((part for part in reversed(name.split("/")) if part in ("train", "test")), None)

    longest = [name for name in names if n_shared(name) == max(map(n_shared, names))]
    allowed = [name for name in longest if None in (split_of(name), split_of(path)) or split_of(name) == split_of(path)]
    matches = file_finder.Paths(names, str, split_names.SplitNames()).by_end(path, None)
    assert set(matches) <= set(allowed)
    assert len(matches) == min(2, len(allowed))


@pytest.mark.parametrize(
    ("files", "folder", "names", "expected"),
    [
        (["Happy/IMG_1.JPG"], "", ["happy/img_1.jpg"], ["Happy/IMG_1.JPG"]),
        (["a/x.png", "a/X.png"], "a", ["x.png"], ["a/x.png"]),
        (["Happy/IMG_1.JPG"], "", ["C:/faces/HAPPY/img_1.jpg"], ["Happy/IMG_1.JPG"]),
        (["b/É.png"], "", ["e\u0301.PNG"], ["b/É.png"]),
        (["b/1.png"], "", ["2.png"], []),
        (["images/1.jpg", "images/2.jpg"], "labels", ["1", "2"], ["images/1.jpg", "images/2.jpg"]),
        (["a/1_aligned.jpg", "a/2_aligned.jpg"], "", ["1.jpg", "2.jpg"], ["a/1_aligned.jpg", "a/2_aligned.jpg"]),
        (["a/1.jpg", "a/2.jpg"], "", ["a/1_exp", "a/2_exp"], ["a/1.jpg", "a/2.jpg"]),
        (["a/crop-1.jpg", "a/crop-2.jpg"], "", ["1.jpg", "2.jpg"], ["a/crop-1.jpg", "a/crop-2.jpg"]),
        (["x/images/1.jpg", "y/images/1.jpg"], "y/labels", ["1"], ["y/images/1.jpg"]),
        (["a/1.png"], "", ["a\\1.jpg"], ["a/1.png"]),
        (["test/1.png"], "", ["train/1.png"], []),
    ],
)
def test_names_are_found_by_the_first_way_that_finds_most(files, folder, names, expected):
    finder = file_finder.FileFinder(files, split_names.SplitNames())
    found = finder.find(folder, {file_finder.Name(name): 1 for name in names})
    assert [file for name in names for file in found.get(file_finder.Name(name), [])] == expected
