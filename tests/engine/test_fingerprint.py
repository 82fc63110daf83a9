import importlib
import subprocess
import sys

import pytest

from fer.engine import fingerprint


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A package that stands in for `fer`: stage -> shared -> deep, and a module that nothing reaches."""
    package = tmp_path / "miniature"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "stage.py").write_text("import numpy\nfrom miniature import shared\n")
    (package / "shared.py").write_text("def f():\n    from miniature.deep import g\n    return g\n")
    (package / "deep.py").write_text("def g():\n    return 1\n")
    (package / "aside.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(fingerprint, "_PROJECT", ("miniature",))
    importlib.invalidate_caches()
    fingerprint._source.cache_clear()
    yield package
    fingerprint._source.cache_clear()
    for name in [each for each in sys.modules if each.startswith("miniature")]:
        del sys.modules[name]


def test_it_changes_with_every_module_that_is_reached_and_with_no_other(project):
    before = fingerprint.of_module("miniature.stage")
    (project / "aside.py").write_text("x = 2\n")
    assert fingerprint.of_module("miniature.stage") == before
    seen = {before}
    for name in ("stage", "shared", "deep"):
        path = project / f"{name}.py"
        path.write_text(path.read_text() + "# changed\n")
        seen.add(fingerprint.of_module("miniature.stage"))
    assert len(seen) == 4


def test_it_is_taken_without_importing_what_is_reached(project):
    (project / "deep.py").write_text("raise RuntimeError('imported')\n")
    assert "miniature.deep" in fingerprint.reached("miniature.stage")


def test_a_flow_imports_no_keras_which_only_children_need():
    code = "import sys, flows.retrain; sys.exit('keras' in sys.modules or 'tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_model_of_the_zoo_is_part_of_what_training_reaches():
    assert {"fer.models.vgg", "fer.models.layers", "fer.training.step"} <= set(
        fingerprint.reached("fer.training.train")
    )


def test_it_changes_with_the_version_of_a_library_that_shapes_bytes(project, monkeypatch):
    before = fingerprint.of_module("miniature.stage")
    monkeypatch.setattr(fingerprint, "_version", lambda distributions: "0.0")
    assert fingerprint.of_module("miniature.stage") != before


def test_an_earlier_stage_does_not_reach_a_later_one():
    assert "fer.images.decode" in fingerprint.reached("fer.shards.preprocess")
    assert "fer.shards.preprocess" not in fingerprint.reached("fer.ingest.index")
    assert "fer.shards.balance" not in fingerprint.reached("fer.shards.preprocess")
    assert "fer.training.train" not in fingerprint.reached("fer.shards.balance")
    assert "fer.evaluation.gate" not in fingerprint.reached("fer.evaluation.evaluate")


def test_only_what_downloads_depends_on_where_data_come_from():
    assert "fer.ingest.kaggle" in fingerprint.reached("fer.ingest.download")
    assert {"fer.ingest.kaggle", "fer.ingest.demo.faces"}.isdisjoint(fingerprint.reached("fer.curation.split"))


def test_what_is_said_of_a_failure_or_of_progress_makes_nothing_anew():
    assert {"fer.errors", "fer.progress"}.isdisjoint(fingerprint.reached("fer.training.train"))
