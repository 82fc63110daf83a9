import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from versions import release

from fer import errors
from fer.evaluation import predictions
from fer.evaluation.slices import figures, measure
from fer.registry import version_differences
from fer.reports import version_differences as shown


def test_two_versions_are_compared_on_the_test_images_of_both(tmp_path):
    a, b = release(tmp_path / "a", 1, 20), release(tmp_path / "b", 2, 25, first=10)
    found = version_differences.between(a, b, time_them=False)
    assert (found.a, found.b, found.n_test_a, found.answers.n_images) == ("demo@1", "demo@2", 40, 30)
    assert found.gained == tuple(f"id{number:03}" for number in range(20, 35))
    assert found.lost == ()
    assert (found.answers.accuracy.value, found.answers.n_gained) == (pytest.approx(15 / 30), 15)
    assert found.costs_b.model_dump(exclude={"latency"}) == {
        "size_bytes": 2, "n_parameters": 200, "train_minutes": 1.0, "peak_memory_mb": 900.0, "energy_kwh": None,
    }  # fmt: skip
    back = version_differences.between(b, a, time_them=False)
    assert (back.gained, back.lost, back.answers.accuracy) == ((), found.gained, found.answers.accuracy.negated())


def test_a_version_beside_itself_differs_in_nothing(tmp_path):
    a = release(tmp_path / "a", 1, 20)
    found = version_differences.between(a, a, time_them=False)
    assert (found.gained, found.lost, found.answers.accuracy.value) == ((), (), 0)
    assert shown.changes(found) == []
    assert shown.sentence(found) == "40 test images of both (40 and 40); the same: data, recipe, code, libraries"


def test_what_differs_in_the_making_is_named_setting_by_setting(tmp_path):
    a = release(tmp_path / "a", 1, 20)
    b = release(
        tmp_path / "b", 2, 20,
        recipe={"train": {"epochs": 5, "model": {"name": "vgg", "width": 8}}, "search": {}},
        inputs={"index": "bb", "train": "2"}, code_fingerprint="f0", environment={"keras": "3.16"},
    )  # fmt: skip
    found = version_differences.between(a, b, time_them=False)
    assert [(row["of"], row["what"], row["A"], row["B"]) for row in shown.changes(found)] == [
        ("data", "index", "aa", "bb"),
        ("recipe", "train.epochs", "3", "5"),
        ("recipe", "train.model.name", "cnn", "vgg"),
        ("recipe", "train.model.width", "–", "8"),
        ("code", "fingerprint", "ef", "f0"),
        ("libraries", "keras", "3.15", "3.16"),
    ]


def test_the_figures_say_what_was_not_measured_and_leave_out_answers_without_a_common_image(tmp_path):
    a, b = release(tmp_path / "a", 1, 20), release(tmp_path / "b", 2, 25, first=100)
    found = version_differences.between(a, b, time_them=False)
    assert found.answers is None
    rows = {row[""]: row for row in shown.figures(found)}
    assert (rows["ms for an image"]["A"], rows["training, kWh"]["B"]) == ("not measured", "not measured")
    assert (rows["parameters"]["B"], rows["parameters"]["B minus A (95 %)"]) == ("200", "+100")
    assert "accuracy" not in rows
    assert shown.sentence(found).startswith("0 test images of both (40 and 40)")


def test_answers_that_are_scored_anew_take_the_place_of_the_recorded_ones(tmp_path):
    a, b = release(tmp_path / "a", 1, 20), release(tmp_path / "b", 2, 25, first=100)
    answers = predictions.read(a.folder / predictions.FILE)
    scored = version_differences.Scored(("demo",), answers, answers)
    found = version_differences.between(a, b, scored, time_them=False)
    assert (found.answers.n_images, found.answers.accuracy.value, found.scored_on) == (40, 0, ("demo",))
    assert shown.sentence(found).startswith("40 test images of demo that neither was trained on; ")


def test_the_slices_of_the_later_one_are_compared_too(tmp_path):
    a, b = release(tmp_path / "a", 1, 20), release(tmp_path / "b", 2, 25, created_utc="2026-02-01T00:00:00Z")
    fields = dict.fromkeys(
        ("share", "accuracy", "accuracy_by_classes", "macro_f1", "accuracy_of_rest", "difference"), 0.0
    )
    fields |= dict.fromkeys(("p_value", "p_corrected"), 1.0) | {"is_worse": False, "n_images": 10}
    fields |= dict.fromkeys(("accuracy_interval", "difference_interval"), (0.0, 1.0))
    named = {"brightness": ("property", "dark"), "source": ("source", "x"), "subject": ("subject", "s")}
    found = figures.Slices(
        n_images=40, accuracy=0.5, min_slice_size=2, columns=(), not_evaluated=(),
        slices=tuple(
            figures.Slice(column=column, kind=kind, group=group, **fields) for column, (kind, group) in named.items()
        ),
    )  # fmt: skip
    (b.folder / figures.FILE).write_text(found.model_dump_json())
    brightness = ["dark"] * 30 + ["bright"] * 8 + [None] * 2
    image_ids = [f"id{row:03}" for row in range(40)]
    pq.write_table(
        pa.table({"image_id": image_ids, "brightness": brightness, "source": ["x", "y"] * 20}),
        b.folder / measure.MEMBERS,
    )
    manifest = b.manifest.model_copy(
        update={"files": b.manifest.files | dict.fromkeys((figures.FILE, measure.MEMBERS), *b.manifest.files.values())}
    )
    b = b._replace(manifest=manifest)
    there, back = (version_differences.between(*pair, time_them=False) for pair in ((a, b), (b, a)))
    assert [(one.name, one.n_images, one.n_gained) for one in there.answers.slices] == [
        ("dark", 30, 5),
        ("source x", 20, 3),
    ]
    assert [(one.name, one.n_images, one.n_lost) for one in back.answers.slices] == [
        ("dark", 30, 5),
        ("source x", 20, 3),
    ]
    assert "accuracy on dark (30)" in {row[""] for row in shown.figures(there)}


def test_a_version_without_predictions_is_refused(tmp_path):
    a = release(tmp_path / "a", 1, 20)
    b = release(tmp_path / "b", 2, 20, files={})
    with pytest.raises(errors.ConfigError, match="none in demo@2"):
        version_differences.between(a, b, time_them=False)
