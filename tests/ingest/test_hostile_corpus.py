"""Every input of hostile_corpus and hostile_label_files through the real path: source, download, index.

Nothing is dropped, nothing escapes.
"""

import contextlib
import dataclasses
import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import hostile_corpus as corpus
import hostile_label_files as label_files
import hostile_models
import hostile_recipes
import numpy as np
import pyarrow.parquet as pq
import pytest

from data_contracts import files as names
from data_contracts import manifest as contract
from fer import errors
from fer.engine.local_workspace import LocalWorkspace
from fer.engine.workspace import Workspace
from fer.images import decode
from fer.ingest import download, index, sources
from fer.ingest.refs import ManifestRef

CONFIG = index.IndexConfig(classes=("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"))


@dataclasses.dataclass
class Place:
    """A folder with a workspace in it; what else appears in the folder has escaped."""

    root: Path

    @property
    def workspace(self) -> Workspace:
        return LocalWorkspace(self.root / "workspace")

    def run(self, archive: bytes) -> ManifestRef:
        path = self.root / "source.zip"
        path.write_bytes(archive)
        resolved = download.resolve(sources.parse(f"archive:{path}"))
        dataset = download.download(resolved, workspace=self.workspace)
        return index.index((dataset,), CONFIG, index.OfficialNames(), None, workspace=self.workspace)

    def rows(self, manifest: ManifestRef) -> list[dict[str, Any]]:
        return pq.read_table(self.workspace.folder(manifest) / names.MANIFEST).to_pylist()

    def half_written(self) -> list[Path]:
        return [path for path in (self.root / "workspace" / ".partial").rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("outside") / "inside")


@pytest.fixture(autouse=True, scope="module")
def _nothing_escapes(place: Place) -> Iterable[None]:
    place.root.mkdir()
    yield
    assert [path.name for path in place.root.parent.iterdir()] == ["inside"]
    assert {path.name for path in place.root.iterdir()} == {"source.zip", "workspace"}
    assert list(place.root.rglob("*.tmp")) == []


@pytest.fixture(scope="module")
def rows_of_images(place: Place) -> dict[str, dict[str, Any]]:
    """All images of the corpus in one archive, as one of them must not harm another: name -> its row."""
    files = {f"happy/{case.name}{case.suffix}": case.data for case in corpus.IMAGES}
    manifest = place.run(corpus.zipped(files))
    rows = place.rows(manifest)
    assert manifest.n_found == len(rows) == len(corpus.IMAGES)
    return {Path(row["path"]).stem: row for row in rows}


@pytest.fixture(scope="module")
def rows_of_table(place: Place) -> dict[str, dict[str, Any]]:
    """All rows of the corpus in one CSV: name -> its row in the manifest."""
    lines = b"".join(case.data + b"\n" for case in corpus.ROWS)
    manifest = place.run(corpus.zipped({"fer2013.csv": corpus.HEADER.encode() + b"\n" + lines}))
    rows = place.rows(manifest)
    assert manifest.n_found == len(rows) == len(corpus.ROWS)
    by_number = {int(row["path"].removeprefix("fer2013.csv#")): row for row in rows}
    return {case.name: by_number[number] for number, case in enumerate(corpus.ROWS, start=1)}


def named(cases: Iterable[corpus.Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "case",
        [
            pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.name in label_files.HEAVY else [])
            for case in cases
        ],
    )


def assert_row(row: dict[str, Any], outcome: corpus.Outcome) -> None:
    match outcome:
        case corpus.Accepted():
            assert (row["status"], row["reason"]) == (contract.ACCEPTED, None)
            assert outcome.label in (None, row["label"])
        case corpus.Quarantined():
            assert row["status"] == contract.QUARANTINED
            assert re.search(outcome.reason, row["reason"])
            assert row["pixel_sha256"] is row["width"] is row["mean"] is row["format"] is None
        case _:
            raise AssertionError("an image is accepted or in quarantine")


def test_the_corpus_is_large_enough_and_each_case_is_there_once() -> None:
    inputs = [*corpus.ALL, *label_files.LABEL_FILES, *hostile_models.MODELS, *hostile_recipes.RECIPES]
    assert len(inputs) == len({case.name for case in inputs}) >= 500
    assert len(corpus.IMAGES) >= 70
    assert len(corpus.ARCHIVES) >= 40
    assert len(corpus.ROWS) + len(corpus.TABLES) >= 40


@named(corpus.IMAGES)
def test_an_image_shows_what_it_should_or_is_in_quarantine(
    case: corpus.Case, rows_of_images: dict[str, dict[str, Any]]
) -> None:
    row = rows_of_images[case.name]
    assert_row(row, case.outcome)
    assert row["size_bytes"] == len(case.data)
    if isinstance(case.outcome, corpus.Accepted) and case.outcome.pixels is not None:
        expected = case.outcome.pixels()
        decoded = decode.decode_with_format(case.data)
        assert (row["height"], row["width"], row["format"]) == (*expected.shape, decoded.format)
        assert decoded.pixels.shape == expected.shape
        assert np.abs(decoded.pixels.astype(int) - expected).max() <= case.outcome.tolerance
        assert row["mean"] == pytest.approx(decoded.pixels.mean(), abs=0.01)


@named(corpus.ROWS)
def test_a_row_of_pixels_is_accepted_or_in_quarantine(
    case: corpus.Case, rows_of_table: dict[str, dict[str, Any]]
) -> None:
    assert_row(rows_of_table[case.name], case.outcome)


@named([*corpus.ARCHIVES, *corpus.TABLES, *label_files.LABEL_FILES])
def test_a_source_is_accounted_for_to_the_last_file_or_refused(case: corpus.Case, place: Place) -> None:
    run = functools.partial(place.run, case.data)
    if isinstance(case.outcome, corpus.Declared):
        with contextlib.suppress(errors.FerError):
            run()
    elif isinstance(case.outcome, corpus.Refused):
        with pytest.raises(case.outcome.error, match=case.outcome.message) as refusal:
            run()
        assert type(refusal.value) is not errors.FerError
        assert str(refusal.value).replace("\n", "").isprintable()
        assert len(str(refusal.value)) < 2_000
    else:
        manifest = run()
        statuses = [row["status"] for row in place.rows(manifest)]
        n_quarantined = case.outcome.n if isinstance(case.outcome, corpus.Quarantined) else 0
        n_accepted = case.outcome.n if isinstance(case.outcome, corpus.Accepted) else case.outcome.accepted
        assert statuses.count(contract.ACCEPTED) == n_accepted
        assert statuses.count(contract.QUARANTINED) == manifest.n_quarantined == n_quarantined
        assert manifest.n_found == n_accepted + n_quarantined
        if isinstance(case.outcome, corpus.Quarantined):
            reasons = [row["reason"] for row in place.rows(manifest) if row["reason"] is not None]
            assert all(re.search(case.outcome.reason, reason) for reason in reasons)
        ignored = {}
        if isinstance(case.outcome, corpus.Ignored):
            ignored = {case.outcome.kind: case.outcome.n}
        elif isinstance(case.outcome, corpus.Quarantined) and case.outcome.ignored:
            ignored = {case.outcome.ignored: 1}
        assert manifest.ignored == ignored
    assert place.half_written() == []


@pytest.mark.slow  # by what it computes
def test_the_corpus_is_the_same_each_time() -> None:
    cases = [*corpus.ALL, *(case for case in label_files.LABEL_FILES if case.name not in label_files.HEAVY)]
    assert [case.make() for case in cases] == [case.data for case in cases]
