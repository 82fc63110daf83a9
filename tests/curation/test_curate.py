import hashlib
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts import curation as contract
from data_contracts import files
from data_contracts import manifest as manifest_contract
from fer import errors, progress
from fer.curation import curate, split
from fer.curation.refs import InspectionRef, ValidationRef
from fer.engine.local_workspace import LocalWorkspace

CLASSES = ("happy", "sad", "surprise")
FINDING = ("outlier_score", "face_score")


def image(number, pixels=None, **differing):
    """What the manifest and inspection say of an image without any issue, but for what is given otherwise."""
    pixel_sha256 = hashlib.sha256(str(number if pixels is None else f"content {pixels}").encode()).hexdigest()
    return {
        "image_id": f"{number:032x}",
        "source": "archive:a",
        "path": f"happy/{number}.png",
        "raw_label": "happy",
        "label": "happy",
        "raw_split": None,
        "subject": None,
        "size_bytes": 100,
        "width": 48,
        "height": 48,
        "file_sha256": pixel_sha256,
        "pixel_sha256": pixel_sha256,
        "mean": 127.0,
        "std": 50.0,
        "p05": 30.0,
        "p99": 230.0,
        "entropy": 7.3,
        "sharpness": 0.75,
        "status": manifest_contract.ACCEPTED,
        "reason": None,
        "part": 0,
        "row": number,
        "outlier_score": 0.0,
        "face_score": 0.9,
    } | differing


def committed(workspace, images, pairs=(), inspected=None):
    key = hashlib.sha256(json.dumps([images, pairs]).encode()).hexdigest()

    def validation(out):
        rows = [{name: row[name] for name in row if name not in FINDING} for row in images]
        pq.write_table(pa.Table.from_pylist(rows, schema=manifest_contract.SCHEMA), out / files.ACCEPTED)
        return ValidationRef(
            classes=CLASSES, n_found=len(images), n_accepted=len(images), quarantined={}, failures=(), warnings=()
        )

    def inspection(out):
        inspected_images = images if inspected is None else inspected
        rows = [
            {name: row[name] for name in ("image_id", *FINDING)} | {"duplicate_group": row["image_id"]}
            for row in inspected_images
        ]
        pq.write_table(pa.Table.from_pylist(rows, schema=contract.FINDINGS).sort_by("image_id"), out / files.FINDINGS)
        ends = [{"first": f"{a:032x}", "second": f"{b:032x}", "kind": "near", "correlation": 0.95} for a, b in pairs]
        pq.write_table(pa.Table.from_pylist(ends, schema=contract.PAIRS), out / files.PAIRS)
        return InspectionRef(n_images=len(inspected_images), n_pairs=len(ends), n_groups=0)

    return (
        workspace.run("validate", key, ValidationRef, validation, resumable=False),
        workspace.run("inspect", key, InspectionRef, inspection, resumable=False),
    )


class Curated:
    """The outcome for some images: the Ref, the rows by number, and the report."""

    def __init__(self, folder, images, pairs=(), splits=None, **config):
        self.workspace = LocalWorkspace(folder)
        validation, inspection = committed(self.workspace, images, pairs)
        settings = curate.CurateConfig.model_validate(config)
        self.ref = curate.curate(
            validation,
            inspection,
            settings,
            splits or split.SplitConfig(),
            workspace=self.workspace,
            progress=progress.silent,
        )
        folder = self.workspace.folder(self.ref)
        self.table = pq.read_table(folder / files.CURATION)
        self.rows = {int(row["image_id"], 16): row for row in self.table.to_pylist()}
        self.report = json.loads((folder / files.CURATION_REPORT).read_bytes())

    def issues(self, number):
        return self.rows[number]["issues"]

    def fate(self, number):
        return self.rows[number]["action"], self.rows[number]["reason"]

    def having(self, issue):
        return [number for number, row in sorted(self.rows.items()) if issue in row["issues"]]


ORDINARY = [image(n) for n in range(10)]


def test_ordinary_images_have_no_issue_and_are_kept_in_order(tmp_path):
    curated = Curated(tmp_path, ORDINARY[::-1])
    assert curated.table.schema.equals(contract.CURATION)
    assert list(curated.rows) == list(range(10))
    assert all((row["issues"], row["action"], row["reason"]) == ([], "keep", None) for row in curated.rows.values())
    assert curated.ref.issues == dict.fromkeys(contract.ISSUES, 0)
    assert (curated.ref.dropped, curated.ref.quarantined, curated.ref.failures) == ({}, {}, ())


@pytest.mark.parametrize(
    ("issue", "differing", "nearly"),
    [
        ("blank", {"std": 0.0, "p99": 0.0, "entropy": 0.0, "sharpness": 0.0}, {"std": 0.001}),
        ("dark", {"p99": 81.0}, {"p99": 82.0}),
        ("bright", {"p05": 181.0}, {"p05": 180.0}),
        ("blurry", {"sharpness": 0.09}, {"sharpness": 0.1001}),
        ("low_information", {"entropy": 4.3}, {"entropy": 4.41}),
        ("odd_size", {"width": 97, "height": 48}, {"width": 90, "height": 48}),
        ("odd_size", {"width": 96, "height": 97}, {"width": 60, "height": 60}),
        ("odd_size", {"width": 68, "height": 33}, {"width": 60, "height": 40}),
        ("outlier", {"outlier_score": 3.6}, {"outlier_score": 3.5}),
        ("no_face", {"face_score": 0.299}, {"face_score": 0.301}),
        ("blank", {"std": 0.0, "face_score": 0.01}, {"face_score": 0.5}),
    ],
)
def test_an_issue_begins_at_its_threshold_and_is_the_only_one(tmp_path, issue, differing, nearly):
    curated = Curated(tmp_path, [*ORDINARY, image(50, **differing), image(51, **nearly)])
    assert curated.issues(50) == [issue]
    assert curated.issues(51) == []
    assert curated.ref.issues == dict.fromkeys(contract.ISSUES, 0) | {issue: 1}
    assert curated.report["issues"][issue]["examples"] == [f"{50:032x}"]


def test_sizes_that_vary_anyway_are_odd_only_far_outside_their_own_spread(tmp_path):
    varied = [image(n, width=40 + 20 * n, height=40 + 20 * n) for n in range(20)]
    curated = Curated(tmp_path, [*varied, image(50, width=1_200, height=1_200), image(51, width=60_000, height=60_000)])
    assert curated.having("odd_size") == [51]


def test_what_inspection_could_not_tell_is_no_issue(tmp_path):
    curated = Curated(tmp_path, [image(n, outlier_score=None, face_score=None) for n in range(10)])
    assert curated.ref.issues == dict.fromkeys(contract.ISSUES, 0)


def test_images_without_a_face_are_kept_or_treated_as_the_policy_says_the_least_like_one_first(tmp_path):
    images = [*ORDINARY, image(50, face_score=0.2, raw_split="train"), image(51, face_score=0.1, raw_split="test")]
    kept = Curated(tmp_path / "keep", images)
    assert [kept.fate(n) for n in (50, 51)] == [("keep", None)] * 2
    assert kept.report["issues"]["no_face"]["examples"] == [f"{51:032x}", f"{50:032x}"]
    dropped = Curated(tmp_path / "drop", images, policies={"no_face": "drop"})
    assert [dropped.fate(n) for n in (50, 51)] == [("drop", "no_face")] * 2
    stopped = Curated(tmp_path / "stop", images, policies={"no_face": "stop"})
    assert stopped.ref.failures == ("2 images: no face: policy stop",)


def test_copies_with_the_same_label_and_split_are_redundant_but_for_the_first_and_others_conflict(tmp_path):
    images = [
        image(0, pixels="a", raw_split="train"),
        image(1, pixels="a", raw_split="train"),
        image(2, pixels="a", raw_split="test"),
        image(3, pixels="b"),
        image(4, pixels="b"),
        image(5, pixels="c", raw_split="train"),
        image(6, pixels="c", raw_split="train", label="sad"),
        image(7, pixels="c", raw_split="train", label="sad"),
        *(image(n) for n in range(8, 20)),
    ]
    curated = Curated(tmp_path, images)
    assert curated.having("exact_duplicate") == [1, 4, 7]
    assert curated.having("conflicting_labels") == [5, 6, 7]
    assert curated.having("near_duplicate") == []
    assert curated.report["n_redundant_copies"] == 5  # 20 images of 15 contents
    assert curated.report["n_conflicting_groups"] == 1
    assert [curated.fate(n) for n in (1, 5, 7)] == [
        ("drop", "exact_duplicate"),
        ("drop", "conflicting_labels"),
        ("drop", "exact_duplicate"),
    ]
    assert curated.ref.dropped == {"exact_duplicate": 3, "conflicting_labels": 2}


def test_copies_are_redundant_on_one_split_however_the_sources_spell_it(tmp_path):
    images = [
        *(image(n, pixels="a", raw_split=raw) for n, raw in enumerate(("train", "Training", "test", "TRAIN"))),
        *(image(n) for n in range(10, 20)),
    ]
    assert Curated(tmp_path / "official", images).having("exact_duplicate") == [1, 3]
    one_side = split.SplitConfig(use_official=False)
    assert Curated(tmp_path / "drawn", images, splits=one_side).having("exact_duplicate") == [1, 2, 3]


def test_to_drop_near_duplicates_leaves_one_of_each_group_on_each_side(tmp_path):
    images = [
        *(image(n, raw_split="train") for n in range(3)),
        *(image(n, raw_split="test") for n in range(3, 5)),
        *(image(n, raw_split="train") for n in range(10, 20)),
    ]
    pairs = [(0, 1), (1, 2), (2, 3), (3, 4)]
    curated = Curated(tmp_path / "drop", images, pairs=pairs, policies={"near_duplicate": "drop"})
    assert curated.having("near_duplicate") == [0, 1, 2, 3, 4]
    assert [curated.fate(n)[0] for n in range(5)] == ["keep", "drop", "drop", "keep", "drop"]
    # the first that stays is none that another issue puts aside
    images[0] = image(0, raw_split="train", std=0.0)
    curated = Curated(tmp_path / "blank", images, pairs=pairs, policies={"near_duplicate": "quarantine"})
    assert [curated.fate(n)[0] for n in range(5)] == ["quarantine", "keep", "quarantine", "keep", "quarantine"]


def test_near_duplicates_are_known_for_every_copy_of_them_and_identical_images_alone_are_none(tmp_path):
    images = [image(0, pixels="a"), image(1, pixels="a"), image(2), image(3, pixels="b"), image(4, pixels="b")]
    curated = Curated(tmp_path, [*images, *(image(n) for n in range(5, 9))], pairs=[(0, 2), (3, 4)])
    assert curated.having("near_duplicate") == [0, 1, 2]
    assert curated.report["n_near_groups"] == 1


def test_the_strictest_policy_of_an_images_issues_decides(tmp_path):
    policies = {"dark": "drop", "blurry": "quarantine", "outlier": "quarantine", "bright": "stop"}
    images = [
        image(0, p99=10.0),
        image(1, p99=10.0, sharpness=0.01, outlier_score=9.0),
        image(2, p05=250.0),
        image(3, p05=250.0, p99=10.0),
        image(4, entropy=0.1),
        *(image(n) for n in range(5, 9)),
    ]
    curated = Curated(tmp_path, images, policies=policies)
    assert [curated.fate(n) for n in range(5)] == [
        ("drop", "dark"),
        ("quarantine", "blurry"),
        ("keep", None),
        ("drop", "dark"),
        ("keep", None),
    ]
    assert (curated.ref.dropped, curated.ref.quarantined) == ({"dark": 2}, {"blurry": 1})
    assert curated.ref.failures == ("2 images: bright: policy stop",)


def test_policy_stop_says_how_many_groups_conflict_and_nothing_where_there_are_none(tmp_path):
    pair = [image(0, pixels="a"), image(1, pixels="a", label="sad")]
    policies = {"conflicting_labels": "stop", "blank": "stop"}
    curated = Curated(tmp_path, [*pair, *(image(n) for n in range(2, 9))], policies=policies)
    assert curated.ref.failures == ("1 groups of identical images with conflicting labels (2 images): policy stop",)
    assert curated.fate(0) == ("keep", None)


def test_examples_are_ten_at_most_and_the_worst_come_first(tmp_path):
    curated = Curated(tmp_path, [image(n, p99=80.0 - n) for n in range(20)])
    assert curated.report["issues"]["dark"]["examples"] == [f"{n:032x}" for n in range(19, 9, -1)]


def test_the_report_has_policies_thresholds_and_sources(tmp_path):
    images = [image(n, raw_split="train", source="archive:b") for n in range(3)]
    images += [image(3, label="surprise"), *(image(n) for n in range(4, 10))]
    report = Curated(tmp_path, images).report
    assert report["sources"] == {
        "archive:a": {"with_split": 0, "without_split": 7, "folders_without": {}},
        "archive:b": {"with_split": 3, "without_split": 0, "folders_without": {}},
    }
    assert report["policies"]["outlier"] == report["issues"]["outlier"]["policy"] == "keep"
    assert report["thresholds"]["dark_p99"] == 82
    assert (report["n_images"], report["failures"]) == (10, [])


def test_the_digest_does_not_hang_on_the_order_of_rows(tmp_path):
    images = [image(n, pixels=n // 2) for n in range(10)]
    curated, again = Curated(tmp_path / "a", images), Curated(tmp_path / "b", images[::-1])
    assert curated.ref.digest == again.ref.digest


def test_inspection_of_other_images_is_an_error(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    validation, inspection = committed(workspace, ORDINARY, inspected=[*ORDINARY[:9], image(77)])
    with pytest.raises(errors.IntegrityError, match="10 accepted, 10 inspected"):
        curate.curate(validation, inspection, curate.CurateConfig(), split.SplitConfig(), workspace=workspace)
