"""Releases made again from their manifests, with a real Prefect server, the real store, real training, and the real
client of Kaggle, where the data is from."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import kaggle_server
import pyarrow.parquet as pq
import pytest
import quick_demo

from data_contracts import files as files_of
from fer import settings
from fer.engine import connect
from fer.housekeeping.erasure import erase, reach
from fer.ingest.demo import archive
from fer.recipes import overrides
from fer.registry import registry, releases
from fer.registry.manifest import Registration
from fer.registry.provenance import lineage

pytestmark = [pytest.mark.end_to_end, pytest.mark.usefixtures("module_in_this_process")]

SOURCE = "kaggle:faces/drawn"
SETTINGS = (
    *(setting for setting in quick_demo.SETTINGS if not setting.startswith(("demo.", "export."))),
    'export.formats=["onnx"]',
    "export.int8=false",
)
REBUILT = {"download", "index", "validate", "inspect", "curate", "split", "label errors", "preprocess", "balance"}
REBUILT |= {"train", "calibrate", "evaluate", "robustness", "explanations", "slices", "export"}
NOT_REBUILT = {"gate"}


def drawn(folder: Path, n_happy: int) -> bytes:
    """An archive of drawn faces; more leave the first ones as they are."""
    counts = {"happy": n_happy, "sad": 30, "surprise": n_happy}
    archive.write_archive(folder / "drawn.zip", archive.DemoConfig(images_per_class=counts, duplicates=3))
    return (folder / "drawn.zip").read_bytes()


@pytest.fixture(scope="module")
def version(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A release of the second of three versions of a dataset, the first of which was accepted before by another run:
    the release's split keeps that one's assignments.
    """
    from flows.ingest import ingest
    from flows.retrain import retrain

    folder = tmp_path_factory.mktemp("kaggle")
    with kaggle_server.serving() as server, pytest.MonkeyPatch.context() as patch:
        kaggle_server.point_here(patch, server.url, str(folder))
        versions = server.datasets["faces/drawn"] = [drawn(folder, 35)]
        ingest([SOURCE], "demo", overrides.parse_settings(SETTINGS))
        versions.append(drawn(folder, 40))
        result = retrain([SOURCE], "demo", overrides.parse_settings(SETTINGS), model_name="demo")
        versions.append(drawn(folder, 25))
        yield checked(result)


def checked(result) -> int:
    """The version that a run released, which holds the assignments that its split kept."""
    with releases.open_registry() as models:
        assert lineage.ASSIGNMENTS_BEFORE in models.get("demo").files
    return result.release.version


def made_again(spec: str, **options):
    from flows.reproduce import reproduce

    return reproduce(spec, **options)


def files(folder: Path) -> dict[str, str]:
    """The files of the workspace's outputs -> their digests."""
    outputs = (path for path in folder.glob("[!.]*/*/**/*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in outputs}


def test_a_release_comes_out_the_same_and_nothing_is_touched(version, home):
    before = files(home / "workspace")
    found = made_again(f"demo@{version}")
    assert found.is_same, found.sentence()
    assert {stage.stage for stage in found.stages if stage.after} == REBUILT
    assert {stage.stage for stage in found.stages if not stage.after} == NOT_REBUILT
    assert "the same bits" in found.sentence()
    assert files(home / "workspace") == before
    assert not list((home / "reproductions").iterdir())
    with releases.open_registry() as models:
        assert [manifest.version for manifest in models.versions("demo")] == [version]
        manifest = models.get("demo", str(version))
    assert manifest.lineage is not None
    assert {output.stage for output in manifest.lineage.stages} == REBUILT | NOT_REBUILT
    assert manifest.lineage.run.startswith(f"run demo from {SOURCE}")


def test_of_one_whose_recipe_was_edited_it_says_what_differs(version, tmp_path):
    spec = registered_otherwise(version, tmp_path, lambda recipe: recipe["train"].update(learning_rate=0.123))
    found = made_again(spec)
    assert not found.is_same
    assert found.first_difference == "train"
    assert any(cause.startswith("train.learning_rate:") and cause.endswith("→ 0.123") for cause in found.causes)


def test_what_is_made_of_other_data_is_not_made(version, tmp_path):
    spec = registered_otherwise(version, tmp_path, lambda recipe: recipe["split"].update(test_share=0.3))
    found = made_again(spec)
    assert (found.is_same, found.first_difference) == (False, "split")
    assert any(cause.startswith("split.test_share:") for cause in found.causes)
    assert {stage.stage for stage in found.stages if not stage.after} >= {"train", "evaluate", "preprocess"}


def test_what_is_forgotten_no_later_run_knows_and_a_reproduction_says_so(version, home):
    from flows.ingest import ingest

    learned = known_images(version)
    with connect.store(settings.Settings.load()) as store:
        asked = erase.Asked("digest", learned[0], "request 7")
        looked = erase.forget(asked, settings.Settings.load(), registry.Registry(store), apply=False)
        done = erase.forget(asked, settings.Settings.load(), registry.Registry(store), apply=True)
        again = erase.forget(asked, settings.Settings.load(), registry.Registry(store), apply=True)
    assert (looked.is_done, looked.things) != (True, ())
    assert {thing.name for thing in looked.things} == {thing.name for thing in done.things}
    assert {thing.name.partition("/")[0] for thing in done.things} == {"balance", "preprocess", "download", "index"}
    assert {thing.fate for thing in done.things} == {"removed"}
    assert f"demo@{version}" in done.retrained
    assert (again.tombstone, again.things) == ("", ())
    forgotten = {learned[0], *(image.pixel_sha256 for image in done.images)}

    data = ingest([f"{SOURCE}/versions/2"], "demo", overrides.parse_settings(SETTINGS), accept=False)
    assert data.manifest.n_forgotten >= len({image.image_id for image in done.images}) >= 1
    for ref, name in ((data.manifest, files_of.MANIFEST), (data.split, files_of.SPLIT)):
        rows = pq.read_table(home / "workspace" / ref.path / name, columns=["pixel_sha256"])
        assert forgotten.isdisjoint(rows["pixel_sha256"].to_pylist())

    found = made_again(f"demo@{version}")
    assert (found.is_same, found.first_difference) == (False, "index")
    assert found.causes[0].startswith("forgotten: none → tombstones/")
    assert found.n_forgotten == len(forgotten.intersection(learned))
    assert "must be retrained" in found.sentence()


def known_images(version: int) -> list[str]:
    with releases.open_registry() as models:
        known = reach.trained_on_of(models, models.get("demo", str(version)))
    assert known is not None
    return known["pixel_sha256"].to_pylist()


def registered_otherwise(version: int, folder: Path, edit) -> str:
    """The release under another name, whose recipe is another one than made it."""
    with releases.open_registry() as models:
        manifest = models.get("demo", str(version))
        models.fetch(manifest, folder)
        fields = {name: getattr(manifest, name) for name in Registration.model_fields}
        recipe = manifest.model_dump(mode="json")["recipe"]
        edit(recipe)
        fields |= {"recipe": recipe, "registration_key": folder.name}
        content = {name: folder / name for name in manifest.files}
        registered = models.register("demo-edited", content, Registration(**fields))
        assert lineage.FILE in registered.files
    return f"{registered.name}@{registered.version}"
