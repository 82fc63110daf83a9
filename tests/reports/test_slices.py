import numpy as np

from fer.evaluation import predictions
from fer.evaluation.slices import figures
from fer.evaluation.slices.columns import Column
from fer.reports import slices


def written(tmp_path, *columns):
    right = np.r_[np.zeros(60), np.ones(140)].astype(bool)
    truth = np.zeros(200, np.int32)
    predicted = np.where(right, 0, 1).astype(np.int32)
    rows = predictions.Predictions(
        [str(row) for row in range(200)], truth, predicted, np.eye(2, dtype=np.float32)[predicted],
        np.ones(200, bool), ("happy", "sad"),
    )  # fmt: skip
    found = figures.measure(rows, columns, 50, ["people: the data does not say who is shown"])
    (tmp_path / figures.FILE).write_text(found.model_dump_json())
    return slices.markdown(tmp_path)


def test_the_worst_slice_comes_first_with_its_figures_and_what_is_missing_last(tmp_path):
    groups = np.array(["dark"] * 80 + ["light"] * 120, object)
    text = written(tmp_path, Column("light", "property", groups, ("dark", "light")))
    rows = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    assert [row.split(" | ")[0] for row in rows] == ["| slice", "| dark", "| light"]
    assert "0.250 (0.168 to 0.355)" in rows[1]
    assert rows[1].endswith("| yes |")
    assert "Of 2 slices of 50 images or more 1 are worse" in text
    assert text.rstrip().endswith("- Not evaluated: people: the data does not say who is shown.")


def test_what_names_a_group_breaks_no_table(tmp_path):
    groups = np.array(["a|b\n# c"] * 100 + ["d"] * 100, object)
    text = written(tmp_path, Column("<b>", "group", groups, ("a|b\n# c", "d")))
    assert not any(line.startswith("# c") for line in text.splitlines())
    assert "<b>" not in text


def test_without_a_slice_the_page_still_says_what_was_not_evaluated(tmp_path):
    assert "Not evaluated" in written(tmp_path)
