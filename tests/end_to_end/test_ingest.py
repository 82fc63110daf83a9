"""The data's flow, with a real Prefect server and the real store, on few and small faces."""

import json
import zipfile
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import numpy as np
import pyarrow.parquet as pq
import pytest
from flow_artifacts import shown_in
from typer.testing import CliRunner

from data_contracts import files
from fer import errors, settings
from fer.engine import connect
from fer.images import encode
from fer.ingest.demo import faces as demo_faces
from fer.recipes import overrides
from fer.reports import library
from flows.cli import app as cli
from tasks.runs.results import IngestResult

pytestmark = pytest.mark.end_to_end

CLASSES = ("happy", "sad", "surprise")
QUICK = (
    'index.classes=["happy", "sad", "surprise"]',
    "contracts.min_images_per_class=5",
    "inspect.folds=2",
    "gate.min_images=1",
)


def archive(path: Path, n: int, *, extra: dict[str, bytes] | None = None) -> Path:
    """A zip of `n` faces a class; more faces leave the first ones as they are."""
    with zipfile.ZipFile(path, "w") as target:
        for label in CLASSES:
            for number in range(n):
                rng = np.random.default_rng([7, CLASSES.index(label), number])
                target.writestr(f"faces/{label}/{number:03}.png", encode.png(demo_faces.draw(label, rng)))
        for name, data in (extra or {}).items():
            target.writestr(name, data)
    return path


class Run(NamedTuple):
    result: IngestResult
    executed: list[str]
    id: UUID  # Prefect's


def run(*sources: str, quick=QUICK, **options) -> Run:
    from flows.ingest import ingest as flow
    from tasks.runs import events

    heard_events: list[events.Event] = []
    with events.heard_by(heard_events.append):
        settings = overrides.parse_settings(quick)
        state = flow(sources=list(sources), settings=settings, return_state=True, **options)
        result = state.result()
    executed = [event.name for event in heard_events if isinstance(event, events.Ended) and not event.cached]
    return Run(result, executed, state.state_details.flow_run_id)


def ingest(*sources: str, **options) -> tuple[IngestResult, list[str]]:
    return run(*sources, **options)[:2]


def splits(home: Path, result) -> dict[str, str]:
    rows = pq.read_table(home / "workspace" / result.split.path / files.SPLIT, columns=["pixel_sha256", "split"])
    return dict(zip(rows["pixel_sha256"].to_pylist(), rows["split"].to_pylist(), strict=True))


def test_checking_accepts_nothing_and_shares_nothing(home, tmp_path):
    source = f"archive:{archive(tmp_path / 'a.zip', 20)}"
    result, _ = ingest(source, accept=False)
    assert result.quality.verdict == "pass"
    assert result.drift.n_baseline is None
    assert Path(result.reports["data quality"]).read_text().startswith("<!doctype html>")
    assert not (home / "workspace" / ".accepted").exists()
    with connect.store(settings.Settings.load()) as store:
        assert list(store.list("reports/data/")) == []


def test_what_was_accepted_is_kept_to_and_compared_with_when_data_is_added(home, tmp_path):
    first, _ = ingest(f"archive:{archive(tmp_path / 'a.zip', 20)}")
    again, executed = ingest(f"archive:{archive(tmp_path / 'a.zip', 20)}")
    assert executed == []
    assert again.split == first.split
    grown, executed = ingest(f"archive:{archive(tmp_path / 'a.zip', 30)}")
    assert executed == [
        "download",
        "index",
        "validate",
        "inspect",
        "curate",
        "split",
        "label errors",
        "drift",
        "quality",
    ]
    assert (grown.drift.n_baseline, grown.drift.n_new, grown.drift.n_gone) == (60, 30, 0)
    assert grown.split.n_kept == 60
    assert splits(home, first).items() <= splits(home, grown).items()
    _, executed = ingest(f"archive:{archive(tmp_path / 'a.zip', 30)}")
    assert executed == []
    stricter, _ = ingest(f"archive:{tmp_path / 'a.zip'}", quick=(*QUICK, "curate.outlier_score=3"))
    assert splits(home, grown).items() == splits(home, stricter).items()
    other, _ = ingest(f"archive:{archive(tmp_path / 'unrelated.zip', 12)}")
    assert other.drift.n_baseline is None


def test_the_report_and_the_data_docs_are_in_the_store_and_named_in_the_run(home, tmp_path):
    result, _, run_id = run(f"archive:{archive(tmp_path / 'a.zip', 20)}")
    with connect.store(settings.Settings.load()) as store:
        pages = library.of_run(store, str(run_id))
        assert "Data quality" in store.get(f"{pages.top}/{pages.page}").data.decode()
        assert any(entry.key.endswith("manifest/index.html") for entry in store.list(f"{pages.top}/"))
    page = shown_in(run_id)["quality-report"].data
    assert Path(result.reports["data quality"]).name in page
    assert f"fer report {run_id} --open" in page


def test_data_that_breaks_a_contract_is_reported_and_not_accepted(home, tmp_path):
    broken = {f"faces/sad/broken{number}.png": b"no image" for number in range(30)}
    source = f"archive:{archive(tmp_path / 'a.zip', 12, extra=broken)}"
    accepted = {path: path.read_bytes() for path in (home / "workspace").glob(".accepted/*")}
    with pytest.raises(errors.ContractViolation, match=r"quarantine.*quality\.html") as raised:
        ingest(source)
    page = Path(str(raised.value).partition("read ")[2].partition(",")[0])
    assert "30" in page.read_text()
    with connect.store(settings.Settings.load()) as store:
        shared = [store.get(entry.key).data.decode() for entry in store.list("reports/data/") if "html" in entry.key]
    assert any("Not fit for training" in text for text in shared)
    assert any("too large a share" in text and "Data Docs" in text for text in shared)
    assert {path: path.read_bytes() for path in (home / "workspace").glob(".accepted/*")} == accepted


def test_data_that_cant_be_divided_is_reported_too(home, tmp_path):
    split = {f"faces/test/sad/{n}.png": encode.png(demo_faces.draw("sad", np.random.default_rng(n))) for n in (1, 2)}
    source = f"archive:{archive(tmp_path / 'a.zip', 12, extra=split)}"
    with pytest.raises(errors.UnfitData, match=r"Every image of a source with splits must have one") as raised:
        ingest(source, accept=False)
    report = json.loads(Path(raised.value.reports["as JSON"]).read_text())
    assert report["verdict"] == "stop"
    assert "Every image of a source with splits" in report["failures"][0]


def test_a_policy_of_stop_ends_the_run_after_the_report(home, tmp_path):
    black = {"faces/sad/black.png": encode.png(np.zeros((48, 48), np.uint8))}
    with pytest.raises(errors.ContractViolation, match="blank"):
        ingest(f"archive:{archive(tmp_path / 'a.zip', 12, extra=black)}", quick=(*QUICK, "curate.policies.blank=stop"))


def test_faces_are_in_a_page_of_their_own_on_this_machine_alone(home, tmp_path):
    copies = {"faces/happy/copy.png": encode.png(demo_faces.draw("sad", np.random.default_rng([7, 1, 0])))}
    result, _, run_id = run(f"archive:{archive(tmp_path / 'a.zip', 20, extra=copies)}", show_faces=True)
    face = "data:image/png;base64"
    assert face in Path(result.reports["with faces"]).read_text()
    assert face not in Path(result.reports["data quality"]).read_text()
    assert face not in shown_in(run_id)["quality-report"].data
    with connect.store(settings.Settings.load()) as store:
        shared = [store.get(entry.key).data for entry in store.list("reports/data/") if entry.key.endswith(".html")]
    assert shared
    assert all(face.encode() not in page for page in shared)


def test_several_sources_are_one_dataset(home, tmp_path):
    with zipfile.ZipFile(archive(tmp_path / "a.zip", 20)) as packed:
        packed.extractall(tmp_path / "folder")
    one, two = f"archive:{archive(tmp_path / 'b.zip', 25)}", f"folder:{tmp_path / 'folder'}"
    result, _ = ingest(one, two, accept=False)
    assert result.manifest.n_found == 3 * (20 + 25)
    assert result.curation.issues["exact_duplicate"] == 3 * 20
    swapped, executed = ingest(two, one, accept=False)
    assert executed == []
    assert swapped.manifest == result.manifest


def test_the_command_says_what_it_found_and_prints_json_on_demand(home, tmp_path):
    shell = CliRunner(env={"COLUMNS": "300"})
    arguments = ["data", "check", f"archive:{archive(tmp_path / 'a.zip', 20)}"]
    for setting in QUICK:
        arguments += ["--set", setting]
    shown = shell.invoke(cli.app, arguments)
    assert shown.exit_code == 0, shown.output
    assert "fit for training" in shown.output
    assert "quality.html" in shown.output
    as_json = shell.invoke(cli.app, [*arguments, "--json"])
    assert json.loads(as_json.stdout)["verdict"] == "pass"
    unfit = shell.invoke(cli.app, [*arguments, "--json", "--set", "contracts.min_images_per_class=21"])
    assert isinstance(unfit.exception, errors.UnfitData)
    assert unfit.exception.exit_code == 8
    assert json.loads(unfit.stdout)["verdict"] == "stop"


def test_what_a_model_thinks_of_labels_touches_train_alone_and_learns_nothing_from_the_test(home, tmp_path):
    draw = np.random.default_rng(3)

    def divided(name: str, test_labels: list[str]) -> dict[str, str]:
        """The split of each image's content, of an archive with splits whose test has these labels."""
        with zipfile.ZipFile(tmp_path / name, "w") as target:
            labels = iter(test_labels)
            for number in range(90):
                drawn_label = CLASSES[number % 3]
                data = encode.png(demo_faces.draw(drawn_label, np.random.default_rng([7, number])))
                split = "train" if number < 45 else "validation" if number < 60 else "test"
                label = (
                    next(labels) if split == "test" else CLASSES[(number + 1) % 3] if number % 9 == 0 else drawn_label
                )
                target.writestr(f"{split}/{label}/{number:03}.png", data)
        quick = (*QUICK, "inspect.max_label_share=1", "curate.policies.label_error=quarantine")
        result, _ = ingest(f"archive:{tmp_path / name}", quick=quick, accept=False)
        return splits(home, result)

    right = [CLASSES[number % 3] for number in range(60, 90)]
    first = divided("right.zip", right)
    second = divided("wrong.zip", draw.permutation(right).tolist())
    for split_of_image in (first, second):
        assert sum(split == "test" for split in split_of_image.values()) == 30
        assert sum(split == "validation" for split in split_of_image.values()) == 15
        assert 0 < sum(split == "train" for split in split_of_image.values()) < 45
    kept = [{name for name, split in split_of_image.items() if split == "train"} for split_of_image in (first, second)]
    assert kept[0] == kept[1]
