import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer import errors
from fer.ingest.naming import labels

SEVEN = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


def meaning(raw, classes, synonyms=None, **options):
    """The class that `raw` is taken for, or None."""
    return labels.spellings(classes, synonyms, **options).get(labels.normalised(raw))


@pytest.mark.parametrize(
    ("raw", "meant"),
    [
        ("Suprise", "surprise"),
        ("SURPRISED", "surprise"),
        (" Angry ", "angry"),
        ("anger", "angry"),
        ("Happiness", "happy"),
        ("sadness", "sad"),
        ("Fearful", "fear"),
        ("afraid", "fear"),
        ("disgusted", "disgust"),
        ("neutrality", "neutral"),
        ("No_Emotion", "neutral"),
    ],
)
def test_common_spellings_mean_their_class(raw, meant):
    assert meaning(raw, SEVEN) == meant


@given(st.sampled_from(SEVEN), st.sampled_from(["", " ", "-", "_", "."]), st.data())
def test_case_spaces_and_punctuation_do_not_matter(name, mark, data):
    raw = mark.join(data.draw(st.sampled_from([letter, letter.upper()])) for letter in name)
    assert meaning(mark + raw + mark, SEVEN) == name


@given(st.text())
def test_any_text_gives_a_class_or_none(raw):
    assert meaning(raw, SEVEN) in (*SEVEN, None)


@pytest.mark.parametrize("raw", ["", "?!", "contempt", "train", "7"])
def test_what_is_no_known_label_gives_none(raw):
    assert meaning(raw, SEVEN) is None


def test_a_label_outside_the_classes_gives_none():
    assert meaning("disgust", ("happy", "sad")) is None


def test_numbers_are_fer2013s_and_count_only_where_asked_for():
    numbered = [meaning(str(number), SEVEN, fer2013_numbers=True) for number in range(7)]
    assert numbered == ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    assert meaning("3", SEVEN) is None


@pytest.mark.parametrize(
    ("raw", "meant"), [("3.0", "happy"), (" +3. ", "happy"), ("-3", None), ("3.5", None), ("30", None)]
)
def test_a_whole_number_is_itself_however_it_is_written(raw, meant):
    assert meaning(raw, SEVEN, fer2013_numbers=True) == meant


@pytest.mark.parametrize(
    "raw", ["\u22121", "- 1", "-1.0", "\uff0d1", "\u20131", "3?", "(3)", "~3", "3.5", "1 2", "--1", "?"]
)
def test_a_number_with_a_sign_or_marks_is_not_the_number_alone(raw):
    assert meaning(raw, SEVEN, fer2013_numbers=True) is None
    assert labels.normalised(raw) not in map(str, range(7))


@pytest.mark.parametrize("raw", ["\u22121", "- 1", "-1.0", "\uff0d1", " -1 "])
def test_minus_one_is_itself_however_it_is_written(raw):
    assert meaning(raw, SEVEN, {"-1": "neutral"}) == "neutral"


def test_labels_without_letters_are_told_apart():
    synonyms = {"\U0001f600": "happy", "\U0001f621": "angry", ":-)": "happy", ":-(": "sad"}
    assert {raw: meaning(raw, SEVEN, synonyms) for raw in synonyms} == synonyms
    assert meaning("\U0001f922", SEVEN, synonyms) is None


def test_a_missing_label_is_never_ignored():
    decisions = labels.Decisions(SEVEN, ignored=("?", "", " "))
    assert [decisions.is_ignored(label) for label in (None, "", "  ")] == [False] * 3
    assert [decisions.is_ignored(label) for label in ("?", " ? ", "!")] == [True, True, False]
    assert "" not in decisions.known


@pytest.mark.parametrize("synonyms", [{"Joie!": "happy", "joie": "sad"}, {"": "happy"}, {" ": "sad"}])
def test_synonyms_that_are_blank_or_mean_two_classes_are_an_error(synonyms):
    with pytest.raises(errors.LabelError, match="must not be blank, and must stand for one class"):
        meaning("joie", SEVEN, synonyms)


def test_two_spellings_of_a_synonym_may_mean_one_class():
    assert meaning("joie", SEVEN, {"Joie!": "happy", "joie": "Happy"}) == "happy"


def test_minus_one_is_not_one_even_as_a_synonym():
    assert meaning("-1", SEVEN, {"1": "happy"}) is None
    assert meaning("-1", SEVEN, {"-1": "neutral"}) == "neutral"


@given(st.text())
def test_what_is_normalised_stays_as_it_is(raw):
    once = labels.normalised(raw)
    assert labels.normalised(once) == once


def test_extra_synonyms_are_accepted_and_win_over_the_built_in_ones():
    extra = {"Contempt": "disgust", "mad": "Happy"}
    assert meaning("contempt", SEVEN, extra) == "disgust"
    assert meaning("mad", SEVEN, extra) == "happy"


def test_a_class_may_have_another_name_than_ours():
    classes = ("joy", "sadness")
    assert meaning("happy", classes) == "joy"
    assert meaning("4", classes, fer2013_numbers=True) == "sadness"


def test_a_class_keeps_its_own_name_beside_its_synonym():
    assert meaning("joy", ("happy", "joy")) == "joy"
    assert meaning("happiness", ("joy", "happy")) == "happy"


def test_a_synonym_of_what_is_no_class_is_an_error():
    with pytest.raises(errors.LabelError, match="'x' for 'contempt'"):
        meaning("x", SEVEN, {"x": "contempt"})


@pytest.mark.parametrize("classes", [("happy", "Happy "), ("happy", "--")])
def test_classes_that_cannot_be_told_apart_are_an_error(classes):
    with pytest.raises(errors.LabelError, match="must differ"):
        meaning("happy", classes)


@pytest.mark.parametrize("mark", ["\0", "\n", "\x1b", "\x7f", "\u200f", "\u202e", "\u2066", "\u2028"])
def test_a_label_that_can_not_be_printed_means_no_class(mark):
    decisions = labels.Decisions(("angry", "happy"), {"joy": "happy"}, ("angry",))
    for text in (f"angry{mark}", f"{mark}angry", f"an{mark}gry", f"joy{mark}"):
        assert decisions.meaning(text) is None
        assert not decisions.is_ignored(text)
    with pytest.raises(errors.LabelError, match="must differ in their letters and digits, and be printable"):
        labels.Decisions((f"angry{mark}", "happy"))
