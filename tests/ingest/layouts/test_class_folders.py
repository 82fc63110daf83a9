import pytest
from indexed import png, rows_of, run

from fer.engine.local_workspace import LocalWorkspace


@pytest.mark.parametrize(
    ("name", "raw_split"),
    [
        ("happy/1.png", None),
        ("data/train/happy/1.png", "train"),
        ("Test/happy/1.png", "Test"),
        ("happy/validation/1.png", "validation"),
        ("train/happy/Training_1.png", "Training"),
        ("test/happy/PublicTest_1.png", "PublicTest"),
        ("test/happy/PrivateTest_1.png", "PrivateTest"),
        ("a/b/c/d/happy/1.jfif", None),
        ("train_set/happy/1.png", "train"),
        ("Train Images/happy/1.png", "train"),
        ("images-test/happy/1.png", "test"),
        ("data/ValidationSet/happy/1.png", "validation"),
        ("happy/test split/1.png", "test"),
        ("Public_Test/happy/1.png", "Public_Test"),
        ("TEST /happy/1.png", "TEST"),
        ("dataset/images/happy/1.png", None),
        ("settings/happy/1.png", None),
    ],
)
def test_the_split_is_that_of_the_file_name_or_else_of_the_folder(tmp_path, name, raw_split):
    workspace = LocalWorkspace(tmp_path)
    (row,) = rows_of(workspace, run(workspace, {name: png()}))
    assert (row["label"], row["raw_split"]) == ("happy", raw_split)
