import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from indexed import by_path, merged, png, run

from fer.engine.local_workspace import LocalWorkspace
from fer.ingest import index
from fer.ingest.naming import split_names

NAMES = split_names.SplitNames()


@pytest.mark.parametrize(
    ("ours", "names"),
    [
        ("train", ["train", "TRAIN_SET", "01_train", "train-48x48", "Trainingsdaten", "jeu d'entraînement"]),
        ("train", ["conjunto de entrenamiento", "treino", "训练集", "訓練データ", "학습 데이터", "обучающая выборка"]),
        ("validation", ["val", "dev", "eval", "valid_set", "Validierungsdaten", "données de validation"]),
        ("validation", ["validação", "验证集", "検証用", "검증_데이터", "doğrulama", "تحقق", "валидация"]),
        ("test", ["test1", "Test Images", "prueba", "jeu_de_test", "teste", "测试集", "テストデータ", "тест"]),
    ],
)
def test_splits_are_known_in_other_languages_and_with_words_around(ours, names):
    assert [NAMES.ours(NAMES.of(name)) for name in names] == [ours] * len(names)
    decomposed = [unicodedata.normalize("NFD", name) for name in names]
    assert [NAMES.ours(NAMES.of(name)) for name in decomposed] == [ours] * len(names)


@pytest.mark.parametrize(
    "name", ["strain", "latest", "interval", "devices", "contest", "settings", "2013", "", "/", "set"]
)
def test_words_that_only_end_like_a_split_are_none(name):
    assert NAMES.of(name) is None


@given(st.text(max_size=20))
def test_the_word_of_a_split_means_one_whatever_the_name(name):
    word = NAMES.of(name)
    assert word is None or NAMES.ours(word) in ("train", "validation", "test")


def splits_of(tmp_path, paths, official=None, **config):
    workspace = LocalWorkspace(tmp_path)
    names = index.OfficialNames(names=official or {})
    manifest = run(
        workspace,
        {path: png(n) for n, path in enumerate(paths)},
        index.IndexConfig(classes=("angry", "happy"), **config),
        official=names,
    )
    rows = by_path(workspace, manifest)
    declared = split_names.SplitNames(names.names)
    return [(rows[path]["label"], declared.ours(rows[path]["raw_split"])) for path in paths], manifest.split_warnings


def test_longer_names_that_hold_the_names_of_splits_are_splits_beside_each_other(tmp_path):
    found, warnings = splits_of(
        tmp_path, ["a/fer_train_x/happy/1.png", "a/ferTest/angry/1.png", "a/myValB/happy/1.png"]
    )
    assert (found, warnings) == ([("happy", "train"), ("angry", "test"), ("happy", "validation")], ())


def test_a_name_that_looks_like_a_split_alone_is_named_with_its_count(tmp_path):
    paths = ["fer_train/happy/1.png", "fer_train/angry/1.png", "others/happy/1.png"]
    found, warnings = splits_of(tmp_path, paths)
    assert found == [("happy", None), ("angry", None), ("happy", None)]
    (line,) = warnings
    assert "'fer_train' (2 images)" in line
    assert """--set 'split.official={"fer_train": "train"}'""" in line


def test_folders_of_folds_are_named(tmp_path):
    paths = [f"fold_{fold}/{label}/1.png" for fold in (1, 2) for label in ("happy", "angry")]
    _, (line,) = splits_of(tmp_path, paths)
    assert "'fold_1' (2 images), 'fold_2' (2 images)" in line


def test_a_folder_that_the_user_declares_is_a_split_and_no_class(tmp_path):
    paths = ["kujifunza/happy/1.png", "happy/Jaribio/2.png"]
    found, warnings = splits_of(tmp_path, paths, {"kujifunza": "train", "jaribio": "test"})
    assert (found, warnings) == ([("happy", "train"), ("happy", "test")], ())


def test_a_user_s_word_wins_over_the_usual_meaning(tmp_path):
    assert splits_of(tmp_path, ["eval/happy/1.png"], {"eval": "test"})[0] == [("happy", "test")]


def test_a_class_is_never_a_split(tmp_path):
    synonyms = {"test": "happy", "train": "angry"}
    paths = ["test/1.png", "train/1.png"]
    assert splits_of(tmp_path, paths, synonyms=synonyms)[0] == [("happy", None), ("angry", None)]


def test_one_folder_for_everything_is_no_split_that_is_missed(tmp_path):
    assert splits_of(tmp_path, ["my_train/happy/1.png", "my_train/angry/1.png"])[1] == ()


def test_file_names_that_begin_with_splits_say_them_where_folders_do_not(tmp_path):
    paths = ["happy/train_1.png", "angry/test_0001_aligned.png"]
    assert splits_of(tmp_path / "a", paths) == ([("happy", "train"), ("angry", "test")], ())
    in_folders = [f"train/{path}" for path in paths]
    assert splits_of(tmp_path / "b", in_folders)[0] == [("happy", "train"), ("angry", "train")]
    _, (line,) = splits_of(tmp_path / "c", [*paths, "happy/1.png"])
    assert "'…test…' (1 images), '…train…' (1 images)" in line


def test_file_names_may_end_with_splits(tmp_path):
    found, _ = splits_of(tmp_path, ["happy/1_train.png", "angry/2-Test.png"])
    assert found == [("happy", "train"), ("angry", "test")]


def test_folders_that_name_a_label_and_a_split_say_both(tmp_path):
    paths = ["happy_train/1.png", "Happy Test/2.png", "train-angry/3.png", "angryVal/4.png"]
    found, warnings = splits_of(tmp_path, paths)
    assert found == [("happy", "train"), ("happy", "test"), ("angry", "train"), ("angry", "validation")]
    assert warnings == ()


def test_a_few_folders_with_the_same_classes_below_them_look_like_splits(tmp_path):
    paths = [f"{folder}/{label}/1.png" for folder in ("kujifunza", "jaribio") for label in ("happy", "angry")]
    _, (line,) = splits_of(tmp_path / "a", paths)
    assert "'jaribio' (2 images), 'kujifunza' (2 images)" in line
    people = [f"{folder}/{label}/1.png" for folder in ("ann", "bob", "cy", "di") for label in ("happy", "angry")]
    assert splits_of(tmp_path / "b", people)[1] == ()


def test_each_source_is_looked_at_by_itself(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    sources = {"one": {"x_train/happy/1.png": png(1), "y/happy/2.png": png(2)}, "two": {"x_test/happy/3.png": png(3)}}
    (line,) = merged(workspace, sources).split_warnings
    assert "in one look like splits" in line


def test_a_common_word_stands_for_a_split_beside_names_that_are_otherwise_the_same():
    folders = ("FER2013Train", "FER2013Valid", "FER2013Test", "valid_emails")
    names = split_names.SplitNames(images=[f"data/{folder}/1.png" for folder in folders])
    assert [names.ours(names.of_image(f"data/{folder}/1.png")) for folder in folders] == [
        "train", "validation", "test", None,
    ]  # fmt: skip
