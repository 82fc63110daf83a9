import functools
import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts import curation, files, manifest
from data_contracts import split as contract
from fer.curation import inspect, label_errors, split
from fer.curation.refs import CurationRef, InspectionRef, SplitRef
from fer.engine.local_workspace import LocalWorkspace
from fer.ingest.demo import faces as demo_faces
from fer.ingest.refs import ManifestRef

CLASSES = ("happy", "surprise", "sad")
N_PER_CLASS = 100
PLANTED = {"train": 12, "validation": 3, "test": 6}


@functools.cache
def faces():
    """(n, 2304) uint8 drawn faces of each class in turn; the classes, (n,); and the splits, a fifth of them test."""
    labels = np.arange(N_PER_CLASS * len(CLASSES)) % len(CLASSES)
    drawn = [
        demo_faces.draw(CLASSES[class_index], np.random.default_rng(number))
        for number, class_index in enumerate(labels)
    ]
    splits = np.array(["train", "train", "test", "validation", "train"])[np.arange(len(labels)) // 3 % 5]
    return np.stack(drawn).reshape(len(drawn), -1), labels, splits


def planted():
    """The classes with a few wrong ones in each split; whether each is wrong."""
    _, labels, splits = faces()
    draw, wrong = np.random.default_rng(1), np.zeros(len(labels), bool)
    for in_split, n in PLANTED.items():
        wrong[draw.choice(np.flatnonzero(splits == in_split), n, replace=False)] = True
    return np.where(wrong, (labels + 1) % len(CLASSES), labels), wrong


class Checked:
    def __init__(self, folder, given_labels, policy="keep", subject=None, **config):
        self.workspace = LocalWorkspace(folder)
        self.inputs = self.commit_inputs(given_labels, subject)
        settings = label_errors.LabelErrorConfig.of(inspect.InspectConfig(folds=4, **config), policy)
        self.ref = label_errors.label_errors(*self.inputs, settings, workspace=self.workspace)
        self.folder = self.workspace.folder(self.ref)
        self.rows = {row["image_id"]: row for row in pq.read_table(self.folder / files.SPLIT).to_pylist()}
        table = pq.read_table(self.folder / files.LABEL_ERRORS)
        assert table.schema.equals(curation.LABEL_ERRORS)
        self.labels = {row["image_id"]: row for row in table.to_pylist()}
        self.report = json.loads((self.folder / files.SPLIT_REPORT).read_bytes())

    def commit_inputs(self, labels, subject):
        """What the stages before leave."""
        pixels, _, splits = faces()

        def commit(stage, ref, write):
            def produce(out):
                write(out)
                return ref

            return self.workspace.run(stage, "0", type(ref), produce, resumable=False)

        rows = [
            {
                "image_id": f"{number:032x}",
                "pixel_sha256": f"{number:064x}",
                "label": CLASSES[labels[number]],
                "class_index": int(labels[number]),
                "subject": None if subject is None else subject(number),
                "duplicate_group": f"{number:032x}",
                "issues": [],
                "action": "keep",
                "split": str(splits[number]),
                "is_clean": True,
                "was_tested": False,
                "part": 0,
                "row": number,
            }
            for number in range(len(pixels))
        ]
        rows[0] |= {"split": contract.EXCLUDED, "reason": "exact duplicate", "is_clean": False}

        def table(schema):
            return pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema)

        def index(out):
            (out / files.THUMBNAILS).mkdir()
            column = pa.array([pixel.tobytes() for pixel in pixels], manifest.THUMBNAIL_SCHEMA.field("pixels").type)
            thumbnails = pa.table({"pixels": column}, schema=manifest.THUMBNAIL_SCHEMA)
            pq.write_table(thumbnails, out / files.THUMBNAILS / files.part(0))

        def write_split(out):
            pq.write_table(table(contract.SCHEMA), out / files.SPLIT)
            pq.write_table(table(contract.ASSIGNMENTS), out / files.ASSIGNMENTS)
            (out / files.SPLIT_REPORT).write_text(json.dumps({"config": {"seed": 0}, "history": "none"}))

        counts = {
            in_split: {name: sum((row["split"], row["label"]) == (in_split, name) for row in rows) for name in CLASSES}
            for in_split in files.SPLITS
        }
        n_clean = {in_split: sum(by_class.values()) for in_split, by_class in counts.items()}
        split_ref = SplitRef(
            classes=CLASSES, counts=counts, origin="drawn", n_clean=n_clean, excluded={"exact duplicate": 1}
        )
        return (
            commit(
                "index",
                ManifestRef(source="t", layouts=("x",), classes=CLASSES, n_found=len(rows), n_quarantined=0),
                index,
            ),
            commit(
                "curate",
                CurationRef(classes=CLASSES, issues={}, dropped={}, quarantined={}, failures=()),
                lambda out: pq.write_table(table(curation.CURATION), out / files.CURATION),
            ),
            commit(
                "inspect",
                InspectionRef(n_images=len(rows), n_pairs=0, n_groups=0),
                lambda out: pq.write_table(curation.PAIRS.empty_table(), out / files.PAIRS),
            ),
            commit("split", split_ref, write_split),
        )

    def of(self, *splits):
        return {name: row for name, row in self.labels.items() if row["split"] in splits}

    def doubted(self, *splits):
        return {name for name, row in self.of(*splits).items() if row["is_label_error"]}


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    results = {}

    def checked_with(policy):
        if policy not in results:
            results[policy] = Checked(tmp_path_factory.mktemp(policy), planted()[0], policy)
        return results[policy]

    return checked_with


@pytest.mark.parametrize("policy", ["keep", "drop", "quarantine", "stop"])
def test_no_image_leaves_validation_or_test_whatever_its_label_is_thought_of(checked, policy):
    result = checked(policy)
    assert result.doubted("test")
    assert result.doubted("validation")
    rows_before = pq.read_table(result.workspace.folder(result.inputs[3]) / files.SPLIT).to_pylist()
    held_out = [row for row in rows_before if row["split"] in ("validation", "test")]
    assert [result.rows[row["image_id"]] for row in held_out] == held_out
    assert {row["action"] for row in result.of("validation", "test").values()} == {"keep"}


@pytest.mark.parametrize("policy", ["drop", "quarantine"])
def test_images_of_train_whose_label_is_in_doubt_are_taken_out_with_the_reason(checked, policy):
    result = checked(policy)
    _, is_wrong = planted()
    excluded_ids = {name for name, row in result.rows.items() if row["reason"] == label_errors.REASONS[policy]}
    assert (
        excluded_ids
        == result.doubted("train")
        == {name for name in result.labels if result.labels[name]["action"] == policy}
    )
    right = sum(is_wrong[int(name, 16)] for name in excluded_ids)
    assert right / PLANTED["train"] > 0.4
    assert right / len(excluded_ids) > 0.4
    assert all(
        (result.rows[name]["split"], result.rows[name]["is_clean"]) == (contract.EXCLUDED, False)
        for name in excluded_ids
    )
    assert result.ref.excluded == {"exact duplicate": 1, label_errors.REASONS[policy]: len(excluded_ids)}
    labels_left = Counter(row["label"] for row in result.rows.values() if row["split"] == "train")
    assert result.ref.counts["train"] == labels_left
    assert result.ref.n_clean["train"] == labels_left.total()
    assert result.ref.n_label_errors == len(excluded_ids)
    assert result.ref.n_label_errors_held_out == len(result.doubted("validation", "test"))
    assert result.report["excluded"] == result.ref.excluded
    assert result.report["config"] == {"seed": 0}


def test_the_labels_of_validation_and_test_change_nothing_of_what_train_keeps(checked, tmp_path):
    given_labels, _ = planted()
    _, _, splits = faces()
    held_out = np.flatnonzero(splits != "train")
    changed_labels = given_labels.copy()
    changed_labels[held_out] = np.random.default_rng(2).permutation(given_labels[held_out])
    result = Checked(tmp_path, changed_labels, "drop")
    assert result.of("train") == checked("drop").of("train")
    kept = [{name for name, row in run.rows.items() if row["split"] == "train"} for run in (result, checked("drop"))]
    assert kept[0] == kept[1]
    assert len(result.doubted("test")) > 2 * len(checked("drop").doubted("test"))


@pytest.mark.parametrize("policy", ["keep", "drop", "quarantine"])
def test_an_image_that_is_taken_out_keeps_its_side(checked, policy):
    result = checked(policy)
    splits = [result.workspace.folder(ref) / files.ASSIGNMENTS for ref in (result.inputs[3], result.ref)]
    assert splits[0].read_bytes() == splits[1].read_bytes()


def test_where_nothing_is_taken_out_it_is_the_same_split_to_all_that_comes_after(checked):
    kept, dropped = checked("keep"), checked("drop")
    assert kept.ref.digest == split.digest(kept.workspace.folder(kept.inputs[3]))
    assert kept.ref.digest != dropped.ref.digest
    assert kept.ref.counts == kept.inputs[3].counts
    assert kept.ref.n_label_errors == dropped.ref.n_label_errors


def test_stop_ends_the_run_for_labels_of_train(checked):
    result = checked("stop")
    assert result.ref.failures == (f"{len(result.doubted('train')):,} images of train: label error: policy stop",)
    assert checked("drop").ref.failures == checked("keep").ref.failures == ()
    assert result.ref.counts == result.inputs[3].counts


def test_the_report_counts_by_split_and_by_label(checked):
    report = json.loads((checked("keep").folder / files.LABEL_ERRORS_REPORT).read_bytes())
    assert report["by_split"] == {in_split: len(checked("keep").doubted(in_split)) for in_split in files.SPLITS}
    counted = sum(sum(others.values()) for others in report["suggested_labels"].values())
    assert counted == sum(report["by_split"].values())
    assert report["config"]["policy"] == "keep"


def test_subjects_too_few_to_learn_from_are_said_and_nothing_is_taken_out(tmp_path):
    result = Checked(tmp_path, planted()[0], "drop", subject=lambda number: str(number % 3))
    assert result.ref.n_label_errors is None
    assert "doubt" not in result.ref.summary()
    assert not result.doubted(*files.SPLITS)
    assert result.ref.digest == split.digest(result.workspace.folder(result.inputs[3]))
