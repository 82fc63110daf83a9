import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts import files, properties
from data_contracts import manifest as contract
from fer import progress
from fer.curation import drift
from fer.curation.refs import ValidationRef
from fer.engine.local_workspace import LocalWorkspace

CLASSES = ("angry", "disgust", "happy")
CONFIG = drift.DriftConfig()
# FER2013's, roughly: property -> mean, standard deviation
PROPERTIES = {"mean": (129, 34), "std": (54, 14), "p05": (40, 30), "p99": (224, 30), "entropy": (7.2, 0.5)}


def frame(n, seed, shift=0.0, shares=(0.3, 0.02, 0.68), prefix=""):
    """(n) images drawn from one distribution; `shift` moves each property by so many standard deviations."""
    rng = np.random.default_rng(seed)
    drawn = {name: rng.normal(mean + shift * std, std, n) for name, (mean, std) in PROPERTIES.items()}
    drawn["p05"], drawn["p99"] = drawn["p05"].round(), drawn["p99"].round().clip(max=255)
    return pa.table(
        {
            "pixel_sha256": [f"{prefix or seed}-{number}" for number in range(n)],
            "label": np.array(CLASSES)[rng.choice(len(CLASSES), n, p=shares)],
            "sharpness": rng.lognormal(-0.3 + shift * 0.45, 0.45, n),
            "width": np.full(n, 48),
            "height": np.full(n, 48),
        }
        | drawn
    )


def drifted(now, then, config=CONFIG, side="all"):
    return [test["what"] for test in drift.compare({side: (now, then)}, config) if test["drifted"]]


@pytest.fixture(scope="module")
def large():
    return frame(36_000, seed=1_000_000)


def test_another_36_thousand_images_of_the_same_kind_are_no_drift(large):
    assert [drifted(frame(36_000, seed), large) for seed in range(4)] == [[]] * 4


@pytest.mark.parametrize("n_draws", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_100_new_images_of_the_same_kind_are_no_drift_in_any_draw(n_draws):
    then = frame(3_000, seed=1_000_000)  # fewer than FER2013's: quicker, and more is left to chance
    assert [drifted(frame(100, seed), then) for seed in range(n_draws)] == [[]] * n_draws


def test_a_difference_that_is_no_chance_but_small_is_no_drift(large):
    tests = drift.compare({"all": (frame(36_000, 1, shift=0.1), large)}, CONFIG)
    assert sum(test["p_corrected"] < 1e-6 for test in tests) >= 5
    assert not any(test["drifted"] for test in tests)


def test_a_difference_that_is_large_but_may_be_chance_is_no_drift(large):
    tests = [test for seed in range(10) for test in drift.compare({"new": (frame(60, seed), large)}, CONFIG)]
    assert sum(test["effect"] >= test["threshold"] for test in tests) >= 10
    assert not any(test["drifted"] for test in tests)


@pytest.mark.parametrize("n", [1_000, 36_000])
def test_a_shift_by_a_third_of_a_standard_deviation_is_drift_of_every_property_that_shifts(large, n):
    for seed in range(2):
        assert drifted(frame(n, seed, shift=0.33), large) == [
            name for name in properties.EDGES if name not in ("width", "height")
        ]


def test_a_class_that_doubles_or_vanishes_is_drift_of_the_class_shares_alone(large):
    assert drifted(frame(500, 1, shares=(0.6, 0.02, 0.38)), large) == ["class shares"]
    assert drifted(frame(500, 1, shares=(0.0, 0.02, 0.98)), large) == ["class shares"]


def test_other_sizes_are_drift(large):
    now = frame(500, 1).set_column(3, "width", pa.array([64] * 500))
    assert drifted(now, large) == ["width"]


def test_one_class_and_equal_values_everywhere_are_no_drift():
    only = frame(100, 1, shares=(0, 0, 1))
    tests = drift.compare({"all": (only, only)}, CONFIG)
    assert {(test["effect"], test["p"]) for test in tests} == {(0.0, 1.0)}


def test_new_gone_and_relabelled_images_are_told_by_their_pixels():
    then = frame(5, 1, prefix="p")
    now = pa.table(
        {"pixel_sha256": ["p-0", "p-1", "p-1", "p-2", "x", "x"], "label": [*then["label"][:2].to_pylist()] + [""] * 4}
    )
    change = drift.changes(now, then)
    assert change.new.tolist() == [False] * 4 + [True] * 2
    assert change.gone.tolist() == [False] * 3 + [True] * 2
    assert change.relabelled.tolist() == [False, False, True, True, False, False]


def committed(workspace, table):
    rows = table.to_pylist()
    blank = dict.fromkeys(("source", "path", "raw_label", "file_sha256"), "") | {"size_bytes": 1}
    blank |= {"status": contract.ACCEPTED, "part": 0}

    def produce(out):
        manifest_rows = [blank | row | {"image_id": f"{number:032x}", "row": number} for number, row in enumerate(rows)]
        pq.write_table(pa.Table.from_pylist(manifest_rows, schema=contract.SCHEMA), out / files.ACCEPTED)
        return ValidationRef(
            classes=CLASSES, n_found=len(rows), n_accepted=len(rows), quarantined={}, failures=(), warnings=()
        )

    key = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
    return workspace.run("validate", key, ValidationRef, produce, resumable=False)


def run(folder, now, then, anchor=None, **config):
    workspace = LocalWorkspace(folder)
    baseline, anchor_ref = (None if data is None else committed(workspace, data) for data in (then, anchor))
    settings = drift.DriftConfig(**config)
    ref = drift.drift(
        committed(workspace, now), baseline, anchor_ref, settings, workspace=workspace, progress=progress.silent
    )
    return ref, json.loads((workspace.folder(ref) / files.DRIFT_REPORT).read_bytes())


def test_the_first_data_is_compared_with_nothing_and_its_distributions_are_shown(tmp_path):
    ref, report = run(tmp_path, frame(100, 1), None)
    assert (ref.n_baseline, ref.n_new, ref.failures, ref.warnings) == (None, 100, (), ())
    assert sum(report["histograms"]["mean"]["now"]) == 100
    assert sum(report["classes"][label]["now"] for label in CLASSES if label in report["classes"]) == 100


def test_the_same_data_again_is_no_change(tmp_path):
    ref, report = run(tmp_path, frame(100, 1), frame(100, 1))
    assert (ref.n_baseline, ref.n_new, ref.n_gone, ref.n_relabelled, ref.warnings) == (100, 0, 0, 0, ())
    assert {test["of"] for test in report["tests"]} == {"all"}


def test_a_bad_batch_is_seen_undiluted_among_the_new_images(tmp_path):
    then = frame(5_000, 1)
    ref, report = run(tmp_path, pa.concat_tables([then, frame(200, 2, shift=2.0)]), then)
    assert (ref.n_new, ref.n_gone, ref.failures) == (200, 0, ())
    assert {test["of"] for test in report["tests"] if test["drifted"]} == {"new"}
    assert ref.warnings[0].startswith("mean of the 200 new images: median 128.1 → 196.1, ")
    assert len(ref.warnings) == 6
    shown = report["histograms"]["mean"]
    assert [sum(shown[name]) for name in ("then", "now", "new", "gone")] == [5_000, 5_200, 200, 0]
    assert len(shown["edges"]) == len(shown["now"]) + 1


def test_too_few_new_images_are_not_compared_by_themselves(tmp_path):
    then = frame(1_000, 1)
    now = pa.concat_tables([then, frame(49, 2, shift=3.0)])
    assert run(tmp_path, now, then)[0].warnings == ()
    assert run(tmp_path, now, then, min_new=49)[0].warnings != ()


def test_a_few_strange_images_a_day_are_seen_once_enough_of_them_have_come(tmp_path):
    anchor = frame(1_000, 1)
    days = [frame(30, seed, shift=3.0) for seed in (2, 3)]
    yesterday, today = (pa.concat_tables([anchor, *days[:n]]) for n in (1, 2))
    first, _ = run(tmp_path, yesterday, anchor)
    assert (first.is_anchored, first.warnings) == (False, ())
    second, report = run(tmp_path, today, yesterday, anchor)
    assert (second.n_new, second.is_anchored, report["n_gathered"]) == (30, True, 60)
    assert second.warnings[0].startswith("mean of the 60 new images: ")


def test_classes_too_rare_for_the_test_are_told_together():
    counts = np.array([[1, 30, 2, 17], [4, 20_000, 8, 16_000]])
    assert drift._pooled(counts).tolist() == [[20, 30], [16_012, 20_000]]
    enough = np.array([[30, 20], [20_000, 16_000]])
    assert drift._pooled(enough) is enough
    assert drift._pooled(np.array([[2, 48], [10, 36_000]])).tolist() == [[50], [36_010]]


def test_one_image_of_a_rare_class_among_50_is_no_drift():
    then = frame(36_000, seed=5, shares=(0.3, 12 / 36_000, 0.7 - 12 / 36_000))
    now = frame(50, seed=6, shares=(0.42, 0, 0.58))
    labels = ["disgust", *now["label"][1:].to_pylist()]
    (test,) = (
        test
        for test in drift.compare({"new": (now.set_column(1, "label", pa.array(labels)), then)}, CONFIG)
        if test["what"] == "class shares"
    )
    assert test["effect"] >= test["threshold"]  # large all the same
    assert test["p"] > CONFIG.alpha


def test_many_gone_or_relabelled_images_are_drift_and_the_action_says_what_follows(tmp_path):
    then = frame(100, 1)
    now = then.slice(0, 88).set_column(1, "label", pa.array(["happy"] * 88))
    ref, report = run(tmp_path, now, then, action="stop")
    assert ref.warnings == ()
    assert ref.failures[0].startswith("class shares of all images: total variation distance")
    assert ref.failures[1:] == (
        "12 of 100 images are gone (drift above 10 %)",
        f"{ref.n_relabelled} of 100 images are relabelled (drift above 5 %)",
    )
    assert sum(report["relabelled"][label]["happy"] for label in report["relabelled"]) == ref.n_relabelled > 5
    assert run(tmp_path, then.slice(0, 90), then)[0].warnings == ()


def test_no_images_now_are_all_gone_and_no_crash(tmp_path):
    ref, report = run(tmp_path, frame(0, 1), frame(100, 1))
    assert (ref.n_gone, report["tests"]) == (100, [])


def test_the_digest_is_that_of_the_outcome(tmp_path):
    first, _ = run(tmp_path / "a", frame(100, 1), frame(120, 2))
    assert first.digest == run(tmp_path / "b", frame(100, 1), frame(120, 2))[0].digest
    assert first.digest != run(tmp_path / "a", frame(101, 1), frame(120, 2))[0].digest
