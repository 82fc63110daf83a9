import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from fer.ingest import split_names
from fer.ingest.layouts import file_finder


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
    matches = file_finder.FileFinder(names, split_names.SplitNames()).by_end(path)
    assert set(matches) <= set(allowed)
    assert len(matches) == min(2, len(allowed))


def test_a_name_is_found_whatever_its_case_if_no_file_has_it_exactly():
    finder = file_finder.FileFinder(["Happy/IMG_1.JPG", "a/x.png", "a/X.png", "b/É.png"], split_names.SplitNames())
    assert finder.from_folder("", "happy/img_1.jpg") == ["Happy/IMG_1.JPG"]
    assert finder.from_folder("a", "x.png") == ["a/x.png"]
    assert finder.from_folder("A", "x.PNG") == ["a/X.png", "a/x.png"]
    assert finder.by_end("C:/faces/HAPPY/img_1.jpg") == ["Happy/IMG_1.JPG"]
    assert finder.by_end("e\u0301.PNG") == ["b/É.png"]
    assert finder.by_end("2.png") == []
