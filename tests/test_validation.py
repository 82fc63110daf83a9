import hashlib
import json
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts import manifest as contract
from fer import index, progress, refs, validation
from fer.workspace import Workspace

CLASSES = ("happy", "sad")
CONFIG = validation.ValidateConfig(min_images_per_class=2, max_quarantined_share=0.5)


def row(number, **differing):
    label = CLASSES[number % 2]
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return {
        "image_id": digest[:32],
        "path": f"{label}/{number:03d}.png",
        "raw_label": label,
        "label": label,
        "raw_split": None,
        "size_bytes": 100,
        "width": 48,
        "height": 48,
        "file_sha256": digest,
        "pixel_sha256": digest,
        "mean": 127.0,
        "std": 50.0,
        "status": contract.ACCEPTED,
        "reason": None,
        "part": 0,
        "row": number,
    } | differing


def rows(n=10, **differing_by_number):
    """Good rows, but for those numbers (`_3={...}`) that are given otherwise."""
    return [row(number, **differing_by_number.get(f"_{number}", {})) for number in range(n)]


UNREADABLE = {
    "status": contract.QUARANTINED,
    "reason": "not an image",
    "label": None,
    "width": None,
    "height": None,
    "pixel_sha256": None,
    "mean": None,
    "std": None,
}


def run(workspace, found, config=CONFIG, say=progress.silent):
    def produce(out):
        pq.write_table(pa.Table.from_pylist(found, schema=contract.SCHEMA), out / index.MANIFEST)
        return refs.ManifestRef(layout="class folders", classes=CLASSES, n_found=len(found), n_quarantined=0)

    key = hashlib.sha256(json.dumps(found).encode()).hexdigest()
    manifest = workspace.run("index", key, refs.ManifestRef, produce, resumable=False)
    return validation.validate(manifest, config, workspace=workspace, progress=say)


def paths(workspace, made, name):
    table = pq.read_table(workspace.folder(made) / name)
    assert table.schema.equals(contract.SCHEMA)
    return table["path"].to_pylist()


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path)


def test_good_images_are_all_accepted_in_silence(workspace, capfd, caplog):
    said = []
    made = run(workspace, rows(), say=lambda done, total, note="": said.append((done, total)))
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""
    assert said == [(n, 5) for n in range(6)]
    assert (made.n_found, made.n_accepted, made.quarantined) == (10, 10, {})
    assert made.failures == made.warnings == ()
    assert paths(workspace, made, validation.ACCEPTED) == [each["path"] for each in rows()]
    assert paths(workspace, made, validation.QUARANTINE) == []


def test_broken_blank_and_missized_images_go_to_quarantine_with_the_reason(workspace):
    found = rows(_1=UNREADABLE, _2={"std": 1.0}, _4={"width": 7}, _5={"height": 8_193}, _6={"std": 0.0, "width": 7})
    made = run(workspace, found)
    reasons = {"blank": 1, "not an image": 1, "too low or too high": 1, "too narrow or too wide": 2}
    assert made.quarantined == reasons
    assert made.failures == ()
    assert made.n_accepted == 5
    taken = pq.read_table(workspace.folder(made) / validation.QUARANTINE).to_pylist()
    assert [each["row"] for each in taken] == [1, 2, 4, 5, 6]
    assert [each["reason"] for each in taken][1:3] == ["blank", "too narrow or too wide"]
    assert {each["status"] for each in taken} == {contract.QUARANTINED}
    assert len(paths(workspace, made, validation.ACCEPTED)) == 5


@pytest.mark.parametrize(("share", "n_failures"), [(0.1, 0), (0.09, 1)])
def test_too_large_a_share_in_quarantine_stops(workspace, share, n_failures):
    config = validation.ValidateConfig(min_images_per_class=2, max_quarantined_share=share)
    failures = run(workspace, rows(_2={"std": 0.0}), config).failures
    assert list(failures) == ["too large a share of the images is in quarantine: 1 of 10"] * n_failures


@pytest.mark.parametrize(("least", "n_failures"), [(4, 0), (5, 1)])
def test_a_class_with_too_few_images_stops_and_is_named(workspace, least, n_failures):
    config = validation.ValidateConfig(min_images_per_class=least, max_quarantined_share=0.5)
    failures = run(workspace, rows(_3={"std": 0.0}), config).failures
    assert list(failures) == ["class with too few images: 1 of 2, e.g. sad (4)"] * n_failures


def test_a_class_without_any_image_stops_and_at_most_five_examples_of_a_fault_are_shown(workspace):
    made = run(workspace, rows(20, **{f"_{n}": {"label": "contempt"} for n in range(1, 20, 2)}))
    unknown, missing = made.failures
    assert "10 of 20" in unknown
    assert unknown.count(".png") == 5
    assert "sad (0)" in missing


BROKEN = {
    "image_id_unique": {"image_id": row(0)["image_id"]},
    "path_unique": {"path": row(0)["path"]},
    "file_digest": {"file_sha256": "f" * 63},
    "pixel_digest": {"pixel_sha256": "F" * 64},
    "pixel_digest_known": {"pixel_sha256": None},
    "label_in_classes": {"label": "contempt"},
    "label_known": {"label": None},
    "status_known": {"status": "maybe"},
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """The outcome for a manifest with a row for each entry of BROKEN, the first of them being row 3."""
    workspace = Workspace(tmp_path_factory.mktemp("broken"))
    made = run(workspace, rows(20, **{f"_{n}": differing for n, differing in enumerate(BROKEN.values(), start=3)}))
    return made, json.loads((workspace.folder(made) / validation.REPORT).read_bytes())


@pytest.mark.parametrize("rule", BROKEN)
def test_rows_that_break_the_contract_stop_and_are_shown(broken, rule):
    made, report = broken
    (found,) = [each for each in report["rules"] if each["id"] == rule]
    path = row(3 + list(BROKEN).index(rule), **BROKEN[rule])["path"]
    assert not found["passed"]
    assert path in found["examples"]
    assert any(found["finding"] in failure and path in failure for failure in made.failures)


def test_only_what_is_broken_fails(broken):
    made, report = broken
    failed = {each["id"] for each in report["rules"] if not each["passed"] and each["severity"] == "stop"}
    assert failed == BROKEN.keys()
    assert len(made.failures) == len(BROKEN)


def test_identical_images_are_counted_and_warned_of(workspace):
    same, other = row(0)["pixel_sha256"], row(3)["pixel_sha256"]
    found = rows(
        _2={"pixel_sha256": same}, _4={"pixel_sha256": same}, _5={"pixel_sha256": other}, _6={"pixel_sha256": other}
    )
    made = run(workspace, found)
    assert (made.n_redundant_copies, made.n_accepted, made.failures) == (4, 10, ())
    assert [each.partition(",")[0] for each in made.warnings] == [
        "same pixels as another image: 6 of 10",
        "same pixels as an image of another class: 3 of 10",
    ]
    report = json.loads((workspace.folder(made) / validation.REPORT).read_bytes())
    assert report["n_groups_with_conflicting_labels"] == 1


def test_everything_in_quarantine_is_a_failure_and_no_crash(workspace):
    made = run(workspace, rows(**{f"_{n}": {"std": 0.0} for n in range(10)}))
    assert made.n_accepted == 0
    assert len(made.failures) == 2


def test_the_digest_is_that_of_the_outcome_and_not_of_the_moment(workspace, tmp_path):
    first = run(workspace, rows(_3={"std": 0.0}))
    again = run(Workspace(tmp_path / "again"), rows(_3={"std": 0.0}))
    assert first.digest == again.digest
    strict = validation.ValidateConfig(min_images_per_class=2, max_quarantined_share=0.01)
    assert run(workspace, rows(_3={"std": 0.0}), strict).digest != first.digest
    assert run(workspace, rows()).digest != first.digest


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """The folder of the outcome for a manifest with an unreadable, a blank and a mislabelled image."""
    workspace = Workspace(tmp_path_factory.mktemp("mixed"))
    return workspace.folder(run(workspace, rows(_1=UNREADABLE, _3={"label": "contempt"}, _5={"std": 0.25})))


def test_the_data_docs_list_every_rule_with_its_reason_and_show_what_failed(mixed):
    docs = mixed / validation.DATA_DOCS
    assert (docs / "index.html").is_file()
    expected, found = (
        " ".join(page.read_text() for page in (docs / name).rglob("*.html")) for name in ("expectations", "validations")
    )
    assert all(rule.why in expected for rule in contract.rules(CLASSES, **CONFIG.model_dump()))
    assert "0.25" in found
    assert "contempt" in found


def test_the_data_docs_load_no_picture_from_the_vendor(mixed):
    pages = [page.read_text() for page in (mixed / validation.DATA_DOCS).rglob("*.html")]
    assert pages
    assert not any("great-expectations-web-assets" in page for page in pages)


def test_the_report_names_failures_counts_and_rules(mixed):
    text = validation.report(mixed)
    assert "8 of 10 images accepted" in text
    assert "label is none of the classes: 1 of 9" in text
    assert "quarantined: 1 not an image" in text
    assert "| happy | 5 |" in text
    assert "| label_in_classes | stop | ✗ 1 of 9 |" in text


def test_the_module_is_imported_without_what_is_slow_to_import():
    code = "import sys; from fer import validation, split; print({'great_expectations', 'pandas'} & sys.modules.keys())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert found.stdout.strip() == "set()"
