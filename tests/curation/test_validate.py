import hashlib
import html
import json
import os
import shlex
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from indexed import png
from indexed import run as indexed_run

from data_contracts import files
from data_contracts import manifest as contract
from fer import progress
from fer.curation import validate
from fer.engine.local_workspace import LocalWorkspace
from fer.ingest import index
from fer.ingest.refs import ManifestRef
from fer.recipes import overrides

CLASSES = ("happy", "sad")
CONFIG = validate.ValidateConfig(min_images_per_class=2, max_quarantined_share=0.5)


def row(number, **differing):
    label = CLASSES[number % 2]
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return {
        "image_id": digest[:32],
        "source": "archive:abc",
        "path": f"{label}/{number:03d}.png",
        "raw_label": label,
        "label": label,
        "raw_split": None,
        "size_bytes": 100,
        "format": "PNG",
        "width": 48,
        "height": 48,
        "file_sha256": digest,
        "pixel_sha256": digest,
        "mean": 127.0,
        "std": 50.0,
        "p05": 40.0,
        "p99": 220.0,
        "entropy": 7.0,
        "sharpness": 0.7,
        "status": contract.ACCEPTED,
        "reason": None,
        "part": 0,
        "row": number,
    } | differing


def rows(n=10, **differing_by_number):
    """Good rows, but for those numbers (`_3={...}`) that are given otherwise."""
    return [row(number, **differing_by_number.get(f"_{number}", {})) for number in range(n)]


NARROW = {"width": 4}
UNREADABLE = {"status": contract.QUARANTINED, "reason": "not an image", "label": None} | dict.fromkeys(
    ("format", "width", "height", "pixel_sha256", "mean", "std", "p05", "p99", "entropy", "sharpness")
)


def run(workspace, manifest_rows, config=CONFIG, on_progress=progress.silent):
    def produce(out):
        pq.write_table(pa.Table.from_pylist(manifest_rows, schema=contract.SCHEMA), out / files.MANIFEST)
        return ManifestRef(
            source="archive:abc",
            layouts=("class folders",),
            classes=CLASSES,
            n_found=len(manifest_rows),
            n_quarantined=0,
        )

    key = hashlib.sha256(json.dumps(manifest_rows).encode()).hexdigest()
    manifest = workspace.run("index", key, ManifestRef, produce, resumable=False)
    return validate.validate(manifest, config, workspace=workspace, progress=on_progress)


def paths(workspace, ref, name):
    table = pq.read_table(workspace.folder(ref) / name)
    assert table.schema.equals(contract.SCHEMA)
    return table["path"].to_pylist()


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path)


def test_good_images_are_all_accepted_in_silence(workspace, capfd, caplog):
    calls = []
    ref = run(workspace, rows(), on_progress=lambda done, total, text="": calls.append((done, total)))
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""
    assert calls == [(n, 5) for n in range(6)]
    assert (ref.n_found, ref.n_accepted, ref.quarantined) == (10, 10, {})
    assert ref.failures == ref.warnings == ()
    assert paths(workspace, ref, files.ACCEPTED) == [row["path"] for row in rows()]
    assert paths(workspace, ref, files.QUARANTINE) == []


def test_unreadable_and_missized_images_go_to_quarantine_with_the_reason(workspace):
    manifest_rows = rows(_1=UNREADABLE, _4={"width": 7}, _5={"height": 8_193}, _6={"height": 2, "width": 7})
    ref = run(workspace, manifest_rows)
    assert ref.quarantined == {"too narrow or too wide": 2, "not an image": 1, "too low or too high": 1}
    assert ref.failures == ()
    assert ref.n_accepted == 6
    quarantined = pq.read_table(workspace.folder(ref) / files.QUARANTINE).to_pylist()
    assert [row["row"] for row in quarantined] == [1, 4, 5, 6]
    assert quarantined[0]["reason"] == "not an image"
    assert {row["status"] for row in quarantined} == {contract.QUARANTINED}
    assert len(paths(workspace, ref, files.ACCEPTED)) == 6


@pytest.mark.parametrize(("share", "n_failures"), [(0.1, 0), (0.09, 1)])
def test_too_large_a_share_in_quarantine_stops(workspace, share, n_failures):
    config = validate.ValidateConfig(min_images_per_class=2, max_quarantined_share=share)
    failures = run(workspace, rows(_2=NARROW), config).failures
    assert list(failures) == ["too large a share of the images is in quarantine: 1 of 10"] * n_failures


@pytest.mark.parametrize(("least", "n_failures"), [(4, 0), (5, 1)])
def test_a_class_with_too_few_images_stops_and_is_named(workspace, least, n_failures):
    config = validate.ValidateConfig(min_images_per_class=least, max_quarantined_share=0.5)
    failures = run(workspace, rows(_3=NARROW), config).failures
    assert list(failures) == ["class with too few images: 1 of 2, e.g. sad (4)"] * n_failures


def test_the_settings_that_leave_too_small_classes_out_are_part_of_what_is_said(tmp_path):

    classes = ("happy", "sad", "fear", "angry")
    synonyms = {"scary": "fear", "glad": "happy"}
    files_of = {"happy": 3, "glad": 2, "sad": 4, "scary": 1}
    images = {f"{name}/{n}.png": png(100 * len(name) + n) for name, count in files_of.items() for n in range(count)}
    workspace = LocalWorkspace(tmp_path)
    config = validate.ValidateConfig(min_images_per_class=2)

    def failures(index_config):
        manifest = indexed_run(workspace, images, index_config)
        return validate.validate(manifest, config, workspace=workspace).failures

    (line,) = failures(index.IndexConfig(classes=classes, synonyms=synonyms))
    assert line.startswith(
        "class with too few images: 2 of 4, e.g. fear (1), angry (0); to train on the others: --set "
    )
    words = shlex.split(line.partition("others: ")[2])
    settings = overrides.parse_settings(words[1::2]).index
    changed = {name: value for name, value in settings if value is not None}
    assert failures(index.IndexConfig(**({"classes": classes, "synonyms": synonyms} | changed))) == ()


def test_a_class_without_any_image_stops_and_at_most_five_examples_of_a_fault_are_shown(workspace):
    ref = run(workspace, rows(20, **{f"_{n}": {"label": "contempt"} for n in range(1, 20, 2)}))
    unknown, missing = ref.failures
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
    workspace = LocalWorkspace(tmp_path_factory.mktemp("broken"))
    ref = run(workspace, rows(20, **{f"_{n}": differing for n, differing in enumerate(BROKEN.values(), start=3)}))
    return ref, json.loads((workspace.folder(ref) / files.VALIDATION_REPORT).read_bytes())


@pytest.mark.parametrize("rule", BROKEN)
def test_rows_that_break_the_contract_stop_and_are_shown(broken, rule):
    ref, report = broken
    (rule_outcome,) = [outcome for outcome in report["rules"] if outcome["id"] == rule]
    path = row(3 + list(BROKEN).index(rule), **BROKEN[rule])["path"]
    assert not rule_outcome["passed"]
    assert path in rule_outcome["examples"]
    assert any(rule_outcome["finding"] in failure and path in failure for failure in ref.failures)


def test_only_what_is_broken_fails(broken):
    ref, report = broken
    failed = {rule["id"] for rule in report["rules"] if not rule["passed"] and rule["severity"] == "stop"}
    assert failed == BROKEN.keys()
    assert len(ref.failures) == len(BROKEN)


def test_everything_in_quarantine_is_a_failure_and_no_crash(workspace):
    ref = run(workspace, rows(**{f"_{n}": NARROW for n in range(10)}))
    assert ref.n_accepted == 0
    assert len(ref.failures) == 2


def test_the_digest_is_that_of_the_outcome_and_not_of_the_moment(workspace, tmp_path):
    first = run(workspace, rows(_3=NARROW))
    again = run(LocalWorkspace(tmp_path / "again"), rows(_3=NARROW))
    assert first.digest == again.digest
    strict = validate.ValidateConfig(min_images_per_class=2, max_quarantined_share=0.01)
    assert run(workspace, rows(_3=NARROW), strict).digest != first.digest
    assert run(workspace, rows()).digest != first.digest


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """The folder of the outcome for a manifest with an unreadable, a narrow and a mislabelled image."""
    workspace = LocalWorkspace(tmp_path_factory.mktemp("mixed"))
    return workspace.folder(run(workspace, rows(_1=UNREADABLE, _3={"label": "contempt"}, _5=NARROW)))


def test_the_data_docs_list_every_rule_with_its_reason_and_show_what_failed(mixed):
    page = (mixed / files.DOCS / "index.html").read_text()
    assert all(html.escape(rule.why) in page for rule in contract.rules(CLASSES, **CONFIG.model_dump()))
    assert "contempt" in page


def test_the_data_docs_load_no_picture_from_the_vendor(mixed):
    pages = [page.read_text() for page in (mixed / files.DOCS).rglob("*.html")]
    assert pages
    assert not any("great-expectations-web-assets" in page for page in pages)


def test_the_report_names_failures_counts_and_rules(mixed):
    report = json.loads((mixed / files.VALIDATION_REPORT).read_bytes())
    assert (report["n_found"], report["n_accepted"]) == (10, 8)
    assert report["quarantined"] == {"not an image": 1, "too narrow or too wide": 1}
    assert report["quarantine_examples"]["too narrow or too wide"] == [row(5)["path"]]
    assert report["images_per_class"] == {"happy": 5, "sad": 2}
    assert report["config"] == CONFIG.model_dump()
    (rule,) = (rule for rule in report["rules"] if rule["id"] == "label_in_classes")
    assert (rule["passed"], rule["n_broken"], rule["n_checked"], rule["severity"]) == (False, 1, 9, "stop")


def test_the_module_is_imported_without_what_is_slow_to_import():
    slow = "{'great_expectations', 'pandas'}"
    code = f"import sys; from fer.curation import split, validate; print({slow} & sys.modules.keys())"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert process.stdout.strip() == "set()"
