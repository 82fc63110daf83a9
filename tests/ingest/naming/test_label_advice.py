import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer import errors
from fer.ingest.naming import label_advice, labels
from fer.recipes import overrides

SEVEN = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


def tally_of(raws, classes=SEVEN, synonyms=None, ignored=()):
    """What a run makes of images with these labels, which a mapping counts."""
    tally = label_advice.Tally(classes, synonyms or {}, ignored)
    decisions = labels.Decisions(classes, synonyms, ignored)
    for n, raw in enumerate(raws):
        if not decisions.is_ignored(raw):
            tally.decide(decisions, f"{n}.png", raw)
    return tally


def settings_of(line):
    """The settings that a shell and the command make of a line."""
    words = shlex.split(line)
    assert words[::2] == ["--set"] * (len(words) // 2)
    index = overrides.parse_settings(words[1::2]).index
    return {name: value for name, value in index if value is not None}


def message(tally):
    with pytest.raises(errors.LabelError) as caught:
        tally.require_all_known()
    return str(caught.value)


def is_accepted(raws, changed, classes=SEVEN, synonyms=None, ignored=()):
    again = tally_of(
        raws,
        changed.get("classes", classes),
        changed.get("synonyms", synonyms),
        changed.get("ignore_labels", ignored),
    )
    again.require_all_known()
    return True


@pytest.mark.parametrize(
    ("raws", "expected"),
    [
        (["0_angry", "1_disgust", "sad"], {"0_angry": "angry", "1_disgust": "disgust"}),
        (
            ["angry_images", "Happy Faces", "sad-face"],
            {"angry_images": "angry", "Happy Faces": "happy", "sad-face": "sad"},
        ),
        (["neutral (1)", "surprise - Copy"], {"neutral (1)": "neutral", "surprise - Copy": "surprise"}),
        (["aia_anger", "jules_joy", "FearFaces"], {"aia_anger": "angry", "jules_joy": "happy", "FearFaces": "fear"}),
        (["AN", "DI", "HA"], {"AN": "angry", "DI": "disgust", "HA": "happy"}),
    ],
)
def test_a_label_that_can_be_guessed_is_proposed_as_a_synonym(raws, expected):
    assert settings_of(tally_of(raws).lines()[0]) == {"synonyms": expected}


@pytest.mark.parametrize("raw", ["images", "not_happy", "happy_or_sad", "jaffe", "un happy", "AN"])
def test_what_can_not_be_guessed_is_no_synonym(raw):
    assert label_advice.guessed([raw], labels.spellings(SEVEN)) == {}


def test_the_datas_own_classes_are_proposed_or_to_leave_the_others_out():
    lines = tally_of(["Ahegao", "Angry", "Happy", "Neutral"]).lines()
    assert [settings_of(line) for line in lines] == [
        {"classes": ("angry", "happy", "neutral", "Ahegao")},
        {"classes": ("angry", "happy", "neutral"), "ignore_labels": ("Ahegao",)},
    ]


def test_synonyms_of_classes_that_are_not_there_are_taken_out():
    synonyms = {"Suprise": "surprise", "furious": "angry"}
    (line, _) = tally_of(["angry", "happy", "Contempt"], synonyms=synonyms).lines()
    assert settings_of(line) == {"classes": ("angry", "happy", "Contempt"), "synonyms": {"furious": "angry"}}


def test_a_class_that_the_recipe_lacks_gets_its_usual_name():
    (line, *_) = tally_of(["happy", "digusted", "Disgust"], classes=("happy", "sad")).lines()
    assert settings_of(line) == {"classes": ("happy", "disgust")}


def test_numbers_are_left_to_be_filled_in():
    text = message(tally_of(["1", "2", "10", "happy"]))
    assert '--set \'index.synonyms={"1": "CLASS", "2": "CLASS", "10": "CLASS"}\'\n' in text
    assert "index.classes=" not in text


def test_one_unknown_folder_of_everything_is_no_proposal():
    text = message(tally_of(["images"] * 3))
    assert "--set" not in text
    assert "'images' (3 images)" in text


@settings(max_examples=2 * settings.default.max_examples)
@given(
    raws=st.lists(
        st.sampled_from(
            ["happy", "Sad", "0_angry", "Ärger", "HA", "joy", "生气", "it's", 'a "b"', "\x1b[2J", "a\u202eb", "x=1,2"]
        )
        | st.text(min_size=1, max_size=12),
        min_size=1,
        max_size=8,
    ),
    classes=st.sampled_from([SEVEN, ("happy", "sad"), ("joy", "anger", "Ärger"), ("0", "happy")]),
    synonyms=st.sampled_from([{}, {"Suprise": "happy", "生气": "happy"}]),
    ignored=st.sampled_from([(), ("contempt",)]),
)
def test_every_line_that_is_printed_makes_the_same_labels_known(raws, classes, synonyms, ignored):
    synonyms = {raw: name for raw, name in synonyms.items() if name in classes}
    tally = tally_of(raws, classes, synonyms, ignored)
    for line in tally.lines():
        assert line.isprintable()
        assert is_accepted(raws, settings_of(line), classes, synonyms, ignored)


def test_labels_that_are_words_always_get_a_line():
    raws = ["Freude", "Trauer", "Wut"]
    assert settings_of(tally_of(raws).lines()[0]) == {"classes": ("Freude", "Trauer", "Wut")}


def test_classes_without_an_image_are_left_out_of_the_line_for_those_that_have_some():
    synonyms = {"suprise": "surprise", "glad": "happy"}
    line = label_advice.classes_line({"happy", "sad"}, [], SEVEN, synonyms, ())
    assert settings_of(line) == {"classes": ("happy", "sad"), "synonyms": {"glad": "happy"}}
    line = label_advice.classes_line({"happy", "sad"}, ["Fear", "afraid"], SEVEN, {}, ("contempt",))
    assert settings_of(line) == {"classes": ("happy", "sad"), "ignore_labels": ("contempt", "Fear", "afraid")}
    assert label_advice.classes_line({"happy"}, [], SEVEN, {}, ()) == ""


@pytest.mark.parametrize(
    ("paths", "labels_found"),
    [
        (["aia/aia_anger/1.png", "bonnie/bonnie_joy/2.png"], ["anger", "joy"]),
        (["x/happy_1.png", "x/sad12.png"], ["happy", "sad"]),
        (["x/S1_happy_03.png", "x/S22_sad_4.png"], ["happy", "sad"]),
        (["jaffe/KA.AN1.39.tiff", "jaffe/KL.DI2.4.tiff", "jaffe/NA.HA3.7.tiff"], ["AN", "DI", "HA"]),
        (["AF01/AF01ANS.JPG", "AF01/AM12DIHL.JPG", "AF02/BF07HAS.JPG"], ["AN", "DI", "HA"]),
        (["1001_DFA_ANG_XX.jpg", "1001_IEO_HAP_HI.jpg", "1091_TIE_SAD_XX.jpg"], ["ANG", "HAP", "SAD"]),
    ],
)
def test_a_pattern_that_finds_a_known_label_in_every_path_is_proposed(paths, labels_found):
    line = label_advice.pattern_line(paths, labels.spellings(SEVEN))
    pattern = overrides.parse_settings(shlex.split(line)[1::2]).index.label_pattern
    from fer.ingest.naming import path_patterns

    finder = path_patterns.PathPattern("index.label_pattern", path_patterns.check(pattern))
    assert [finder.find(path) for path in paths] == labels_found


def test_no_pattern_is_proposed_where_names_say_nothing():
    assert label_advice.pattern_line(["a/1.png", "a/happy_2.png"], labels.spellings(SEVEN)) == ""


@pytest.mark.parametrize("raw", ["\x1b[2J\x1b]0;pwned\x07", "\u202eyppah", "h" * 10**5, "\0" * 4_096])
def test_an_error_repeats_labels_escaped_and_cut(raw):
    text = message(tally_of([*(raw + str(n) for n in range(9)), None]))
    assert text.replace("\n", "").isprintable()
    assert len(text) < 2_000


@given(st.lists(st.none() | st.text(max_size=4) | st.sampled_from(["happy", "Sad"]), max_size=8))
def test_labels_are_all_decided_or_else_an_error_counts_them(raws):
    tally = tally_of(raws, ("happy", "sad"))
    if tally.unknown or tally.unlabelled:
        assert tally.unknown.total() + len(tally.unlabelled) + sum(raw in ("happy", "Sad") for raw in raws) <= len(raws)
        assert "happy, sad" in message(tally)
    else:
        tally.require_all_known()


def test_the_error_lists_the_commonest_labels_and_counts_the_others():
    raws = [f"label {n}" for n in range(12) for _ in range(n + 1)]
    with pytest.raises(errors.LabelError, match=r"'label 11' \(12 images\), .*'label 4' \(5 images\), 4 more\. Next"):
        tally_of(raws, ("happy", "sad")).require_all_known()
