import pytest
from indexed import by_path, csv_row, merged, png, reasons, run

from fer import errors
from fer.engine.local_workspace import LocalWorkspace
from fer.ingest import index

HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
CLASSES = ("angry", "happy", "surprise")
ORDER = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")


def config(use, **more):
    return index.IndexConfig(classes=CLASSES, votes=use, **more)


def pixels(*emotions):
    rows = "".join(csv_row([n, 1, 2, 3], emotion) for n, emotion in enumerate(emotions))
    return ("emotion,pixels,Usage\n" + rows).encode()


def votes_csv(*rows, usage="Training", header=HEADER):
    lines = [f"{usage},," + ",".join(str(row.get(column, 0)) for column in ORDER) + "\n" for row in rows]
    return (header + "".join(lines)).encode()


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path)


VOTES = [{"happiness": 6, "surprise": 2, "neutral": 2}, {"anger": 10}, {"unknown": 6, "anger": 4}, {"NF": 10}]


def test_soft_adds_the_shares_of_the_classes_and_keeps_the_label(workspace):
    files = {"f/fer2013.csv": pixels(0, 0, 3, 3), "f/fer2013new.csv": votes_csv(*VOTES)}
    manifest = run(workspace, files, config("soft"))
    row_of = by_path(workspace, manifest)
    rows = [row_of[f"f/fer2013.csv#{n}"] for n in (1, 2, 3, 4)]
    assert [row["label"] for row in rows] == ["angry", "angry", "happy", "happy"]
    assert rows[0]["soft_label"] == [0, 0.75, 0.25]
    assert [row["soft_label"] for row in rows[1:]] == [[1, 0, 0], [1, 0, 0], None]
    assert (manifest.n_quarantined, manifest.ignored) == (0, {})


def test_majority_takes_the_label_from_the_votes(workspace):
    files = {"fer2013.csv": pixels(0, 3, 3, 3), "fer2013new.csv": votes_csv(*VOTES)}
    manifest = run(workspace, files, config("majority"))
    row_of = by_path(workspace, manifest)
    assert [row_of[f"fer2013.csv#{n}"]["label"] for n in (1, 2, 3, 4)] == ["happy", "angry", None, None]
    assert row_of["fer2013.csv#1"]["raw_label"] == "0"
    assert list(reasons(workspace, manifest).values()) == [None, None] + ["annotators saw no such expression"] * 2


def test_a_tie_is_decided_by_fer2013_or_not_at_all(workspace):
    tie = {"anger": 5, "happiness": 5}
    manifest = run(workspace, {"a.csv": pixels(3, 5), "b.csv": votes_csv(tie, tie)}, config("majority"))
    assert [row["label"] for row in by_path(workspace, manifest).values()] == ["happy", None]
    assert reasons(workspace, manifest)["a.csv#2"] == "the annotators' votes are tied"


def test_votes_that_nobody_asked_for_are_counted_as_ignored(workspace):
    manifest = run(workspace, {"a.csv": pixels(3), "b.csv": votes_csv({"anger": 10})}, config("ignore"))
    assert by_path(workspace, manifest)["a.csv#1"]["soft_label"] is None
    assert manifest.ignored == {"FERPlus votes": 1}


def test_votes_can_be_a_source_by_themselves(workspace):
    sources = {
        "votes": {"FERPlus/fer2013new.csv": votes_csv({"anger": 10}), "README.md": b"", "logo.png": png()},
        "pixels": {"fer2013.csv": pixels(3)},
        "other": {"happy/1.png": png()},
    }
    manifest = merged(workspace, sources, config("majority"))
    assert {path: row["label"] for path, row in by_path(workspace, manifest).items()} == {
        "fer2013.csv#1": "angry",
        "happy/1.png": "happy",
    }
    assert manifest.ignored == {".md": 1, ".png": 1}


def test_votes_alone_are_answered_with_the_setting_that_uses_them(workspace):
    with pytest.raises(errors.SourceError, match=r"set index\.votes to soft or majority, and give FER2013's"):
        run(workspace, {"fer2013new.csv": votes_csv({"anger": 10})})


def test_votes_that_are_missing_are_answered_with_where_to_get_them(workspace):
    for files in ({"fer2013.csv": pixels(3)}, {"happy/1.png": png()}):
        with pytest.raises(errors.SourceError, match=r"github\.com/microsoft/FERPlus and put it beside fer2013\.csv"):
            run(workspace, files, config("soft"))


@pytest.mark.parametrize(
    ("votes", "received"),
    [
        (votes_csv({"anger": 10}), "1 rows of votes and more of pixels"),
        (votes_csv(*[{"anger": 10}] * 3), "3 rows of votes and 2 of pixels"),
        (votes_csv(*[{"anger": 10}] * 2, usage="PublicTest"), "Usage 'PublicTest' and 'Training' in row 1"),
        (votes_csv({"anger": 10}, {"anger": -1}), "row 2 of"),
        (votes_csv({"anger": 10}, {"anger": "x"}), "row 2 of"),
        (votes_csv({"anger": 10}, {"NF": "1,2"}), "more cells than columns in row 2 of"),
    ],
)
def test_votes_that_do_not_fit_the_pixels_are_an_error(workspace, votes, received):
    with pytest.raises(errors.SourceError, match=received):
        run(workspace, {"fer2013.csv": pixels(3, 3), "fer2013new.csv": votes}, config("soft"))


def test_votes_that_are_none_are_shown_escaped_and_cut(workspace):
    for name, votes in {
        "a": votes_csv({"anger": "\x1b[2J" * 900, "fear": "x" * 4_000, "NF": "y" * 4_000}),
        "b": votes_csv({"anger": 10}, usage="\x1b[2J" * 900),
    }.items():
        with pytest.raises(errors.SourceError, match=r"\\x1b\[2J") as caught:
            run(LocalWorkspace(workspace.root / name), {"a.csv": pixels(3), "v.csv": votes}, config("soft"))
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 1_000


def test_votes_for_two_tables_of_pixels_are_an_error(workspace):
    sources = {"v": {"v.csv": votes_csv({"anger": 10})}, "a": {"a.csv": pixels(3)}, "b": {"b.csv": pixels(3)}}
    with pytest.raises(errors.SourceError, match="must belong to one table"):
        merged(workspace, sources, config("soft"))
    del sources["a"], sources["b"]
    with pytest.raises(errors.SourceError, match="must belong to one table"):
        merged(workspace, sources | {"c": {"happy/1.png": png()}}, config("soft"))


def test_rows_left_out_by_their_label_count_in_the_order_of_the_votes(workspace):
    files = {"a.csv": pixels(1, 3), "v.csv": votes_csv({"disgust": 10}, {"surprise": 10})}
    manifest = run(workspace, files, config("majority", ignore_labels=("disgust",)))
    assert {path: row["label"] for path, row in by_path(workspace, manifest).items()} == {"a.csv#2": "surprise"}


def test_contempt_counts_where_it_is_mapped_to_a_class(workspace):
    files = {"a.csv": pixels(0, 0), "v.csv": votes_csv({"contempt": 6, "anger": 4}, {"anger": 10})}
    without = run(workspace, files, config("majority"))
    assert reasons(workspace, without)["a.csv#1"] == "annotators saw no such expression"
    mapped = by_path(workspace, run(workspace, files, config("majority", synonyms={"contempt": "surprise"})))
    assert mapped["a.csv#1"]["label"] == "surprise"
    assert mapped["a.csv#1"]["soft_label"] == pytest.approx([0.4, 0, 0.6])
