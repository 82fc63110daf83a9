import functools
import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, get_type_hints

import pytest
from pydantic import BaseModel

import fer
from fer.engine import stage
from fer.engine.code import fingerprint
from fer.recipes import catalog, overrides
from fer.recipes.schema import Recipe

ROOT = Path(fer.__file__).parents[1]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A package that stands in for `fer`: stage -> shared -> deep, and a module that nothing reaches."""
    package = tmp_path / "miniature"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "stage.py").write_text("import numpy\nfrom miniature import shared\n")
    (package / "shared.py").write_text("def f():\n    from miniature.deep import g\n    return g\n")
    (package / "deep.py").write_text("def g():\n    return 1\n")
    (package / "unused.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(fingerprint, "_PROJECT", ("miniature",))
    importlib.invalidate_caches()
    fingerprint._source.cache_clear()
    yield package
    fingerprint._source.cache_clear()
    for name in [name for name in sys.modules if name.startswith("miniature")]:
        del sys.modules[name]


def test_it_changes_with_every_module_that_is_reached_and_with_no_other(project):
    before = fingerprint.of_module("miniature.stage")
    (project / "unused.py").write_text("x = 2\n")
    assert fingerprint.of_module("miniature.stage") == before
    seen = {before}
    for name in ("stage", "shared", "deep", "__init__"):
        path = project / f"{name}.py"
        path.write_text(path.read_text() + "# changed\n")
        assert fingerprint.of_module("miniature.stage") in seen
        path.write_text(path.read_text() + "changed = 1\n")
        seen.add(fingerprint.of_module("miniature.stage"))
    assert len(seen) == 5


@pytest.mark.parametrize(
    "line",
    [
        "from . import unused",
        "from .unused import x",
        "from miniature.unused import *",
        "import miniature.unused as other",
        "import importlib; importlib.import_module('miniature.unused')",
    ],
)
def test_a_module_is_reached_however_it_is_imported(project, line):
    (project / "deep.py").write_text(f"{line}\n")
    assert "miniature.unused" in fingerprint.reached("miniature.stage")


def test_it_is_taken_without_importing_what_is_reached(project):
    (project / "deep.py").write_text("raise RuntimeError('imported')\n")
    assert "miniature.deep" in fingerprint.reached("miniature.stage")


@pytest.mark.slow
def test_a_flow_imports_no_keras_which_only_children_need():
    code = "import sys, flows.retrain; sys.exit('keras' in sys.modules or 'tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_training_reaches_the_network_that_it_is_told_of_and_no_other():
    assert not {name for name in fingerprint.reached("fer.training.train") if name.startswith("fer.models.networks.")}
    reached = fingerprint.reached("fer.training.train", "fer.models.networks.vgg")
    assert {"fer.models.networks.vgg", "fer.models.layers", "fer.training.train"} <= set(reached)
    assert "fer.models.networks.se_resnet" not in reached


def test_an_earlier_stage_does_not_reach_a_later_one():
    assert "fer.images.decode" in fingerprint.reached("fer.shards.preprocess")
    assert "fer.shards.preprocess" not in fingerprint.reached("fer.ingest.index")
    assert "fer.shards.balance" not in fingerprint.reached("fer.shards.preprocess")
    assert "fer.training.train" not in fingerprint.reached("fer.shards.balance")
    assert "fer.evaluation.gates.gate" not in fingerprint.reached("fer.evaluation.evaluate")


def test_only_what_downloads_depends_on_where_data_come_from():
    assert "fer.ingest.kaggle" in fingerprint.reached("fer.ingest.download")
    assert {"fer.ingest.kaggle", "fer.ingest.demo.faces"}.isdisjoint(fingerprint.reached("fer.curation.split"))


ENGINE = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "fer" / "engine").rglob("*.py")
    if path.stem != "__init__"
}
SHAPING_ENGINE = {"arithmetic", "contracts", "data_docs", "records", "refs"}


def test_every_module_of_the_engine_either_shapes_outputs_or_is_plumbing():
    """A new one counts as shaping until it stands in `PLUMBING`: decide whether outputs hold anything of it."""
    modules = {name for name in ENGINE if not fingerprint.is_plumbing(name)}
    assert modules == {f"fer.engine.{name}" for name in SHAPING_ENGINE}
    for name in fingerprint.PLUMBING:
        assert importlib.util.find_spec(name) is not None


def test_what_uses_a_worker_process_reaches_what_decides_its_arithmetic():
    for module in stages_in(ROOT).values():
        if "child_process" in (ROOT / f"{module.replace('.', '/')}.py").read_text():
            assert "fer.engine.arithmetic" in fingerprint.reached(module)


def test_nothing_that_stages_run_reads_the_annotations_or_descriptions_that_do_not_count():
    reads = re.compile(
        r"get_type_hints|__annotations__|get_annotations|signature\(|\.description\b|json_schema|getsource"
    )
    for module in stages_in(ROOT).values():
        for name, path in fingerprint.reached(module).items():
            assert not reads.search(path.read_text()), f"{name}: let fer.engine.code.canonical_code keep what it reads"


# The table of changes: what must run again, and what must not.

ADDED = '''
from fer.engine.records import Record as _Record
from pydantic import Field


class _Added(_Record):
    """What is added."""

    share: float = Field(default=0.1, ge=0)


def _added(rows: "list[int]", limit: int = 3) -> "list[int]":
    """What is added for the changes."""
    clipped = []
    for row in rows:
        clipped.append(min(row, limit))
    return clipped
'''
TEMPLATE = "page of the test.html.j2"
NETWORKS = {"train se-resnet": "fer.models.networks.se_resnet", "train vgg": "fer.models.networks.vgg"}
EDITED = (
    "data_contracts/shards.py",
    "fer/curation/split.py",
    "fer/engine/arithmetic.py",
    "fer/engine/contracts.py",
    "fer/evaluation/calibration/temperature.py",
    "fer/images/augment.py",
    "fer/images/corruptions.py",
    "fer/images/prepare.py",
    "fer/ingest/naming/labels.py",
    "fer/models/layers.py",
    "fer/models/networks/vgg.py",
    "fer/models/saved_model.py",
    "fer/reports/quality/page.py",
)


@functools.cache
def stages_in(root: Path) -> dict[str, str]:
    """Stage -> its module."""
    module_of = {}
    for path in sorted((root / "fer").rglob("*.py")):
        if path.parent.name == "engine":  # what the docstring there shows is no stage
            continue
        for name in re.findall(r'^@stage\.stage\("([^"]+)"', path.read_text(), re.MULTILINE):
            module_of[name] = ".".join(path.relative_to(root).with_suffix("").parts)
    return module_of


def read_from(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the fingerprint read the sources in `root`, whatever files there are at its first look."""

    @functools.cache
    def source(name: str) -> Path | None:
        path = root / name.replace(".", "/")
        files = [path / "__init__.py", path.with_suffix(".py")] if name else []
        return next((file for file in files if file.is_file()), None)

    monkeypatch.setattr(fingerprint, "_source", source)
    for name in ("TF_ENABLE_ONEDNN_OPTS", "OPENBLAS_CORETYPE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """A copy of the sources that the fingerprint reads, with code for the changes in some modules."""
    root = tmp_path_factory.mktemp("original")
    for package in ("fer", "data_contracts"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in EDITED:
        path = root / name
        path.write_text(path.read_text() + ADDED)
    page = root / "fer/reports/quality/page.py"
    page.write_text(
        f'{page.read_text()}\nfrom jinja2 import PackageLoader\n_loader = PackageLoader("fer", "{TEMPLATE}")\n'
    )
    (page.parent / TEMPLATE).write_text("<p>")
    return root


@pytest.fixture(scope="module")
def before(original) -> dict[str, str]:
    """The fingerprints before any change."""
    with pytest.MonkeyPatch.context() as patch:
        read_from(original, patch)
        return fingerprints()


@pytest.fixture
def tree(original, tmp_path, monkeypatch) -> Path:
    """The sources, to be changed by `rewrite`: they are links to the original's."""
    shutil.copytree(original, tmp_path, dirs_exist_ok=True, copy_function=os.link)
    read_from(tmp_path, monkeypatch)
    return tmp_path


def fingerprints() -> dict[str, str]:
    """Stage -> fingerprint of its code, of the sources that are read; that of training by the network."""
    digests = {name: fingerprint.of_module(module) for name, module in stages_in(ROOT).items() if name != "train"}
    return digests | {name: fingerprint.read("fer.training.train", module).digest for name, module in NETWORKS.items()}


def rewrite(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.write_text(text)


Edit = Callable[[Path, pytest.MonkeyPatch], None]


def replaced(file: str, old: str, new: str) -> Edit:
    def edit(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tree / file
        before, added, after = path.read_text().rpartition(ADDED)
        assert old in added
        rewrite(path, before + added.replace(old, new) + after)

    return edit


def appended(text: str, *files: str) -> Edit:
    def edit(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in files:
            path = tree / name
            rewrite(path, (path.read_text() if path.exists() else "") + text)

    return edit


def in_every_file(change: Callable[[str], str], folder: str = ".") -> Edit:
    def edit(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        modules = (path for path in (tree / folder).rglob("*.py") if (path.parent / "__init__.py").exists())
        for path in modules:
            rewrite(path, change(path.read_text()))

    return edit


def commented(text: str) -> str:
    return "# {}\n{}\n# the end\n".format(len(text), text.replace("\ndef ", "\n\n\n\ndef "))


def variable(name: str, value: str) -> Edit:
    return lambda tree, monkeypatch: monkeypatch.setenv(name, value)


def version_of(distribution: str) -> Edit:
    def edit(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        true = fingerprint._version
        monkeypatch.setattr(fingerprint, "_version", lambda names: "another" if distribution in names else true(names))

    return edit


def attribute(name: str, value: object) -> Edit:
    return lambda tree, monkeypatch: monkeypatch.setattr(fingerprint, name, value)


class Change(NamedTuple):
    """`must` and `must_not` run again; "*" is every stage that the other does not name."""

    kind: str
    edit: Edit
    must: str
    must_not: str


SPLIT = "fer/curation/split.py"
VGG = "fer/models/networks/vgg.py"
TRAINING = "train se-resnet, train vgg"
OF_KERAS = f"{TRAINING}, evaluate"
OF_DATA = "download, index, validate, inspect, curate, split, quality, preprocess, balance"
PLUMBING = [f"{name.replace('.', '/')}.py" for name in sorted(ENGINE) if fingerprint.is_plumbing(name)]
CHANGES = [
    Change("comments and blank lines", in_every_file(commented, "fer/images"), "", "*"),
    Change("comments and blank lines in every file", in_every_file(commented), "", "*"),
    Change("a docstring", replaced(SPLIT, "What is added for the changes.", "Clip."), "", "*"),
    Change("a docstring of a class", replaced(SPLIT, "What is added.", "A share."), "", "*"),
    Change("a renamed local", replaced(SPLIT, "clipped", "result"), "", "*"),
    Change("a local's annotation", replaced(SPLIT, "clipped =", "clipped: list[int] ="), "", "*"),
    Change("an annotation's format", replaced(SPLIT, 'rows: "list[int]"', "rows: list[int]"), "", "*"),
    Change("a field's description", replaced(SPLIT, "ge=0)", "ge=0, description='a share')"), "", "*"),
    Change(
        "line breaks",
        replaced(SPLIT, "min(row, limit)", "min(\n            row,\n            limit,\n        )"),
        "",
        "*",
    ),
    Change("what a type checker imports", appended("if TYPE_CHECKING:\n    import keras\n", SPLIT), "", "*"),
    Change("a constant", replaced(SPLIT, "limit: int = 3", "limit: int = 4"), "split, curate", f"index, {TRAINING}"),
    Change("an operation", replaced(SPLIT, "min(", "max("), "split, curate", f"index, validate, balance, {TRAINING}"),
    Change("a parameter's name", replaced(SPLIT, "limit", "most"), "split, curate", "index, inspect, preprocess"),
    Change("a config's default", replaced(SPLIT, "default=0.1", "default=0.2"), "split", f"index, quality, {TRAINING}"),
    Change("a config's bound", replaced(SPLIT, "ge=0", "gt=0"), "split", f"index, quality, {TRAINING}"),
    Change(
        "what reads labels",
        replaced("fer/ingest/naming/labels.py", "int = 3", "int = 4"),
        "index",
        f"download, split, {TRAINING}",
    ),
    Change(
        "what prepares images",
        replaced("fer/images/prepare.py", "int = 3", "int = 4"),
        "preprocess",
        f"index, validate, split, balance, evaluate, gate, {TRAINING}",
    ),
    Change(
        "what augments images",
        replaced("fer/images/augment.py", "int = 3", "int = 4"),
        f"balance, {TRAINING}",
        "index, split, preprocess, evaluate, gate",
    ),
    Change(
        "what corrupts images",
        replaced("fer/images/corruptions.py", "int = 3", "int = 4"),
        "robustness, compare robustness",
        f"{OF_DATA}, evaluate, gate, {TRAINING}",
    ),
    Change(
        "a rule of a contract",
        replaced("data_contracts/shards.py", "int = 3", "int = 4"),
        "preprocess, balance",
        "index, gate",
    ),
    Change(
        "what checks contracts",
        replaced("fer/engine/contracts.py", "int = 3", "int = 4"),
        "validate, preprocess, balance, evaluate",
        f"index, inspect, split, gate, {TRAINING}",
    ),
    Change("a model that is not used", replaced(VGG, "min(", "max("), "train vgg", "* but train vgg"),
    Change("a model's default that is not used", replaced(VGG, "0.1", "0.2"), "train vgg", "* but train vgg"),
    Change("what models share", replaced("fer/models/layers.py", "min(", "max("), TRAINING, "*"),
    Change(
        "how probabilities are calibrated",
        replaced("fer/evaluation/calibration/temperature.py", "min(", "max("),
        "calibrate, evaluate, champion calibration",
        f"{OF_DATA}, {TRAINING}",
    ),
    Change(
        "how a saved model is scored",
        replaced("fer/models/saved_model.py", "min(", "max("),
        OF_KERAS,
        f"{OF_DATA}, gate",
    ),
    Change("a new model", appended("x = 1\n", "fer/models/networks/another_net.py"), "", "*"),
    Change("a new recipe", appended("x = 1\n", "fer/recipes/another.py", "fer/recipes/__init__.py"), "", "*"),
    Change("a recipe's values", appended("x = 1\n", "fer/recipes/demo.py"), "", "*"),
    Change("a new error class", appended("class AnotherError(FerError):\n    pass\n", "fer/errors.py"), "", "*"),
    Change("how progress is told", appended("x = 1\n", "fer/progress.py"), "", "*"),
    Change("a setting of places", appended("x = 1\n", "fer/settings.py"), "", "*"),
    Change("the engine's plumbing", appended("x = 1\n", *PLUMBING), "", "*"),
    Change("the engine's version", attribute("ENGINE_VERSION", 2), "*", ""),
    Change("what decides bits", replaced("fer/engine/arithmetic.py", "min(", "max("), OF_KERAS, f"{OF_DATA}, gate"),
    Change("Keras's configuration", appended(" ", "fer/engine/keras_home/keras.json"), OF_KERAS, f"{OF_DATA}, gate"),
    Change("what is shipped", appended("# x\n", "fer/exports/shipped/preprocess.py"), "export", "*"),
    Change("a template", appended("</p>", f"fer/reports/quality/{TEMPLATE}"), "quality", "*"),
    Change("a library: pyarrow", version_of("pyarrow"), f"index, split, balance, {OF_KERAS}", "download"),
    Change("a library: OpenCV", version_of("opencv-python-headless"), "preprocess, balance", "split, curate, gate"),
    Change("a library: Keras", version_of("keras"), OF_KERAS, f"{OF_DATA}, gate"),
    Change("a library: TensorFlow", version_of("tensorflow"), OF_KERAS, f"{OF_DATA}, gate"),
    Change("a library: Great Expectations", version_of("great-expectations"), "validate, preprocess", "index, gate"),
    Change("the interpreter", attribute("_PYTHON", "3.99"), "*", ""),
    Change("a variable of TensorFlow", variable("TF_ENABLE_ONEDNN_OPTS", "0"), OF_KERAS, f"{OF_DATA}, gate"),
    Change("a variable of NumPy", variable("OPENBLAS_CORETYPE", "Haswell"), f"inspect, split, {OF_KERAS}", ""),
    Change("a variable of nothing here", variable("AWS_REGION", "eu-west-1"), "", "*"),
]


def named(text: str, everything: set[str], other: str) -> set[str]:
    if text.startswith("*"):
        return everything - {name.strip() for name in (other.split(",") if text == "*" else text[5:].split(","))}
    return {name.strip() for name in text.split(",") if name}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(change, id=change.kind, marks=[pytest.mark.slow] if "every file" in change.kind else [])
        for change in CHANGES
    ],
)
def test_a_change_runs_again_what_it_can_change_and_nothing_else(change, before, tree, monkeypatch):
    change.edit(tree, monkeypatch)
    after = fingerprints()
    again = {name for name in before if before[name] != after[name]}
    everything = set(before)
    must, must_not = named(change.must, everything, change.must_not), named(change.must_not, everything, change.must)
    assert must | must_not <= everything
    assert must <= again, f"not run again: {must - again}"
    assert not must_not & again, f"run again for nothing: {must_not & again}"


def stage_objects() -> list[stage.Stage]:
    objects = []
    for name, module in stages_in(ROOT).items():
        values = vars(importlib.import_module(module)).values()
        objects.append(next(value for value in values if isinstance(value, stage.Stage) and value.name == name))
    return objects


def keys(recipe: Recipe) -> dict[str, str]:
    """Stage -> its key with the recipe's sections and no other input."""
    sections = {type(section): section for _, section in recipe if isinstance(section, BaseModel)}
    key_of = {}
    for stage_object in stage_objects():
        hints = get_type_hints(stage_object.produce)
        key_of[stage_object.name] = stage_object.key(*(sections.get(hints[name]) for name in stage_object.inputs))
    return key_of


@pytest.mark.parametrize(
    ("setting", "again"),
    [
        ('index.ignore_labels=["other"]', {"index"}),
        ("contracts.max_quarantined_share=0.3", {"validate"}),
        ("inspect.near_duplicate_correlation=0.97", {"inspect"}),
        ("split.test_share=0.3", {"split", "curate"}),  # curation prefers images of some splits
        ("preprocess.blur_kernel=5", {"preprocess"}),
        ("balance.target=median", {"balance"}),
        ("train.learning_rate=0.004", {"train"}),
        ("train.model.width=8", {"train"}),
        ("train.model.name=vgg", {"train"}),
        ("train.timeout_s=5", set()),
        ("calibration.coverage=0.8", {"calibrate"}),
        ("slices.min_slice_size=80", {"slices"}),
        ("robustness.max_images=50", {"robustness", "compare robustness"}),
        ("explanations.listed=5", {"explanations"}),
        ("export.seed=5", {"export"}),
        ("gate.margin=0.02", {"gate"}),
    ],
)
def test_another_value_in_a_recipe_runs_again_the_stage_that_takes_it(setting, again):
    demo = catalog.load("demo")
    before, after = keys(demo), keys(overrides.apply(demo, overrides.parse_settings([setting])))
    assert {name for name in before if before[name] != after[name]} == again
