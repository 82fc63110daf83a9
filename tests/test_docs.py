"""The README, the docs and the set-up files are true of the tree."""

import contextlib
import functools
import importlib
import itertools
import os
import platform
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from data_contracts import manifest, rules
from fer import errors, settings
from fer.curation.validate import ValidateConfig
from fer.models import zoo
from fer.recipes import catalog
from flows.cli import app as cli
from flows.operating import notices, silent_runs

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs"
MAKEFILE = (ROOT / "Makefile").read_text()
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted(set(DOCS.rglob("*.md")) - set(DOCS.glob("_build/**/*"))),
]
LONGEST_README = 110  # lines


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def code_blocks(page: Path = README) -> list[str]:
    """The blocks of code on a page, with continued lines joined."""
    blocks = re.findall(r"```\n(.*?)```", page.read_text(), flags=re.DOTALL)
    return [re.sub(r"\s*\\\n\s*", " ", block) for block in blocks]


def inline_code(page: Path) -> list[str]:
    prose = re.sub(r"```\n.*?```", "", page.read_text(), flags=re.DOTALL)
    return re.findall(r"`([^`\n]+)`", prose)


def make_targets(page: Path) -> set[str]:
    return set(re.findall(r"^make ([a-z-]+)", "\n".join([*code_blocks(page), *inline_code(page)]), flags=re.MULTILINE))


def fer_commands(page: Path) -> list[str]:
    """The arguments of every `fer` command on a page, which may follow variables."""
    commands = re.findall(r"^(?:[A-Z_]+=\S+ )*fer (.+?)(?:  +#.*)?$", "\n".join(code_blocks(page)), flags=re.MULTILINE)
    inline = [re.fullmatch(r"(?:[A-Z_]+=\S+ )*fer ([a-z].*)", code) for code in inline_code(page)]
    return commands + [match[1] for match in inline if match is not None]


def test_the_readme_and_the_docs_name_make_targets_and_commands():
    assert make_targets(README) >= {"run", "test", "docs"}
    assert make_targets(ROOT / "CONTRIBUTING.md") >= {
        "setup",
        "check",
        "test",
        "test-fast",
        "lint",
        "docs",
        "bench",
        "coverage",
    }
    assert len(fer_commands(README)) >= 6
    pages = {page.stem for page in PAGES if fer_commands(page)}
    assert pages >= {"tutorial", "own-data", "several-machines", "sweep", "operate-the-registry"}


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= LONGEST_README


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_to_a_file_leads_to_one(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not re.match(r"https?:|mailto:|#", target):
            assert (page.parent / target.partition("#")[0]).exists(), target


def test_every_file_that_a_page_names_exists():
    """Paths in inline code that begin with a folder of the project."""
    folders = "fer|flows|tasks|data_contracts|tests|docs|benchmarks"
    named = {
        (name_of(page), path)
        for page in PAGES
        if page.stem not in NEW_FILES
        for code in inline_code(page)
        for path in re.findall(rf"(?<!\.)(?:{folders})/[\w./-]+\.(?:py|json|md|toml)", code)
    }
    assert len(named) > 20
    assert {(page, path) for page, path in named if not (ROOT / path).exists()} == set()


# Pages that name files which the reader creates, and a log, which names files as they were then.
NEW_FILES = {"add-a-model", "add-a-stage", "add-a-recipe", "add-a-check", "experiments"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_make_target_on_a_page_is_in_the_makefile(page):
    assert make_targets(page) <= set(re.findall(r"^([a-z-]+):", MAKEFILE, flags=re.MULTILINE))


def typed_commands(page: Path) -> list[list[str]]:
    """The words after `fer` of every command in the blocks of code; not of patterns, with `…` or `[…]`."""
    found = []
    for block in code_blocks(page):
        block = re.sub(r"(^|\s)#.*", r"\1", block)
        for match in re.finditer(r"^(?:[A-Z_]+=\S+ )*fer ", block, flags=re.MULTILINE):
            lexer = shlex.shlex(block[match.end() :], posix=True, punctuation_chars="();<>|&\n")
            lexer.whitespace, lexer.whitespace_split = " \t", True
            words = list(itertools.takewhile(lambda word: not set(word) <= set("();<>|&\n"), lexer))
            if not any(re.search(r"…|^\[", word) for word in words):
                found.append(words)
    return found


@functools.cache
def commands():
    """All of `fer`, as click has them."""
    return get_command(cli.app)


@functools.cache
def exit_code_of_help(path: tuple[str, ...]) -> int:
    """Of the command's `--help`, which many pages have."""
    return CliRunner().invoke(cli.app, [*path, "--help"]).exit_code


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_in_a_block_is_one_that_fer_takes(page):
    for words in typed_commands(page):
        command, rest = commands(), list(words)
        while rest and rest[0] in getattr(command, "commands", {}):
            command = command.commands[rest.pop(0)]
        with contextlib.suppress(typer.Exit):  # of --help
            command.make_context(words[0], rest)  # raises UsageError


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_fer_command_on_a_page_is_known_with_its_options(page):
    for line in fer_commands(page):
        words = line.replace("[", " ").split()
        command, path = commands(), []
        while words and words[0] in getattr(command, "commands", {}):
            path.append(words.pop(0))
            command = command.commands[path[-1]]
        assert path, f"fer {line}"
        options = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, f"fer {line}"
        assert exit_code_of_help(tuple(path)) == 0


def test_every_automation_is_an_alarm_of_the_runbook():
    page = " ".join((DOCS / "runbook" / "alarms.md").read_text().split())
    names = [automation.name for automation in silent_runs.automations()]
    names += [notice.name for notice in notices.notices(8, "fer")]
    assert [name for name in names if f"*{name}*" not in page] == []


def packages() -> set[str]:
    return {path.parent.name for path in (ROOT / "fer").glob("*/__init__.py")}


def test_every_package_is_on_the_page_of_the_architecture_and_in_the_reference():
    page = (DOCS / "explanation" / "architecture.md").read_text()
    index = (DOCS / "reference" / "python" / "index.md").read_text()
    for package in packages():
        assert f"| [`{package}`]" in page
        assert f"\n{package}\n" in index
        assert f".. api:: fer.{package}" in (DOCS / "reference" / "python" / f"{package}.rst").read_text()


def test_every_exit_code_of_an_error_is_explained():
    def codes(error):
        return {error.exit_code}.union(*(codes(child) for child in error.__subclasses__()))

    page = (DOCS / "reference" / "exit-codes.md").read_text()
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", page, flags=re.MULTILINE)} >= codes(errors.FerError)


def test_pictures_are_small():
    for picture in (DOCS / "pictures").iterdir():
        assert picture.stat().st_size < 150_000, picture.name


def test_deployments_name_flows_and_parameters_that_exist():
    from prefect.utilities.importtools import import_object

    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert {deployment["name"] for deployment in deployments} == {
        "demo",
        "fer2013-weekly",
        "fer2013-daily",
        "fer2013-sweep",
        "fer2013-compare",
        "fer2013-audit",
        "backup",
        "score",
        "mail",
        "promote",
        "rollback",
        "gc",
    }
    for deployment in deployments:
        flow = import_object(deployment["entrypoint"])
        assert set(deployment["parameters"]) <= set(flow.parameters.properties)
        if set(flow.parameters.required or []) <= set(deployment["parameters"]):  # the others are asked for
            flow.validate_parameters(deployment["parameters"])


def test_deployments_have_a_time_out_another_try_and_one_run_at_a_time_and_those_that_train_a_queue():
    from flows.operating import pools

    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    for deployment in deployments:
        pool = deployment["work_pool"]
        configured = settings.Settings(
            **{  # the values are valid
                name.removeprefix("FER_").lower(): value
                for name, value in pool["job_variables"]["env"].items()
                if name.startswith("FER_")
            }
        )
        assert configured.run_timeout_s > 0
        assert configured.run_retries > 0
        assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}
        assert deployment["description"]
        assert deployment["tags"]
        trains = deployment["entrypoint"].split(".")[-1] in {"retrain", "sweep", "compare"}
        assert pool.get("work_queue_name") == (pools.TRAINING if trains else None), deployment["name"]


def test_a_deployment_that_retrains_shows_the_recipes():
    from flows import deploying

    declared = deploying.declarations(ROOT / "prefect.yaml")
    retrain = [one for one in declared.values() if one["entrypoint"] == "flows.retrain.retrain"]
    assert retrain
    for deployment in retrain:
        text, table = deployment["description"].split("\n\n")
        assert text.endswith(".")
        assert [line.split(" ")[1] for line in table.splitlines()[2:]] == list(catalog.NAMES)


def test_a_deployment_whose_events_trigger_another_is_there_and_its_events_are_sent():
    from tasks.runs import outcomes

    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    names = {deployment["name"]: deployment["entrypoint"] for deployment in deployments}
    (trigger,) = [trigger for deployment in deployments for trigger in deployment.get("triggers", [])]
    assert set(trigger["expect"]) == {outcomes.DRIFTED, outcomes.GROWN}
    assert names[trigger["match_related"]["prefect.resource.name"]] == "flows.ingest.ingest"
    assert trigger["name"] in trigger["enabled"]


def test_deployments_run_in_the_folder_that_they_were_made_from(monkeypatch):
    from prefect.utilities.templating import apply_values

    monkeypatch.setenv("PWD", "/srv/fer")
    (step,) = yaml.safe_load((ROOT / "prefect.yaml").read_text())["pull"]
    assert apply_values(step, {}, remove_notset=False) == {
        "prefect.deployments.steps.set_working_directory": {"directory": "/srv/fer"}
    }


def test_benchmarks_are_named_on_the_command_line_only():
    def planned(*arguments):
        command = ["make", "--dry-run", "bench", *arguments]
        environment = os.environ | {"NAME": "some-host", "JSON": "1"}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout

    assert "some-host" not in planned()
    assert "--json" not in planned()
    assert "benchmarks input_pipeline --json" in planned("NAME=input_pipeline", "JSON=1")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_that_names_tensorboards_command_says_how_to_install_it(page):
    text = page.read_text()
    assert "tensorboard --logdir" not in text or "pip install tensorboard" in text


def test_set_up_trusts_what_the_system_trusts_unless_told_otherwise():
    assert re.search(r"^export UV_SYSTEM_CERTS \?= true$", MAKEFILE, flags=re.MULTILINE)


def test_the_lock_pins_every_package_with_hashes_and_names_no_address():
    lock = (ROOT / "requirements.lock").read_text()
    entries = re.findall(r"^([\w.\-\[\]]+)==\S+(.*?)(?=^\S)", lock + "\nend", flags=re.MULTILINE | re.DOTALL)
    assert len(entries) > 100
    assert all("--hash=sha256:" in rest for _, rest in entries)
    assert "://" not in lock
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {name.split("[")[0].lower() for name, _ in entries}
    assert {re.split(r"[<>=;]", line)[0].strip().lower() for line in project["dependencies"]} <= names


def test_nothing_that_is_tracked_names_a_package_index():
    for path in [ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / ".ci" / "run"]:
        assert "index-url" not in path.read_text().replace("--no-emit-index-url", "")


def example(page: str, language: str) -> str:
    return re.search(rf"```{language}\n(.*?)```", (DOCS / "how-to" / page).read_text(), flags=re.DOTALL)[1]


def test_the_example_of_a_recipe_is_one(tmp_path):
    path = tmp_path / "faces.toml"
    path.write_text(example("add-a-recipe.md", "toml"))
    recipe = catalog.load(str(path))
    assert (recipe.name, recipe.index.classes, recipe.train.model.name) == (
        "faces",
        ("angry", "happy", "other"),
        "se-resnet",
    )


def test_the_example_of_a_rule_holds_for_columns_of_its_frame():
    rule = eval(example("add-a-check.md", "python"), {"Rule": rules.Rule})  # noqa: S307 - a page of ours
    assert rule.id not in {existing.id for existing in manifest.rules((), **ValidateConfig().model_dump())}
    assert set(rule.columns) <= set(manifest.SCHEMA.names)


@pytest.mark.slow
def test_the_example_of_a_model_is_one(tmp_path, monkeypatch):
    (tmp_path / "my_tiny_cnn.py").write_text(example("add-a-model.md", "python"))
    monkeypatch.syspath_prepend(str(tmp_path))
    network = importlib.import_module("my_tiny_cnn")
    model = zoo.build(network.Config(), height=48, width=48, n_classes=7, mean=120.0, std=60.0)
    assert model.count_params() < 20_000


@pytest.fixture
def _no_outer_make(monkeypatch):
    """What the `make` that runs these tests was told, such as another VENV, is not for the one under test."""
    for name in ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL", "VENV", "PYTHON"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("_no_outer_make")
def test_make_says_which_interpreters_it_takes(tmp_path):
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    refused = subprocess.run(
        ["make", "setup", "PYTHON=/no/python"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert refused.returncode != 0
    assert "Python 3.11, 3.12 or 3.13" in refused.stderr
    assert "Received: /no/python" in refused.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.mark.usefixtures("_no_outer_make")
def test_the_checkout_may_be_in_a_folder_with_a_blank(tmp_path):
    folder = tmp_path / "My Projects"
    folder.mkdir()
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (folder / name).write_text((ROOT / name).read_text())
    command = ["make", "setup", "--dry-run"]
    planned = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    commands = [shlex.split(line) for line in planned.splitlines() if "VIRTUAL_ENV" in line]
    assert commands
    assert all(words[0] == f"VIRTUAL_ENV={folder.resolve()}/.venv" for words in commands)


@pytest.mark.usefixtures("_no_outer_make")
def test_make_says_which_interpreters_it_found(tmp_path):
    for name in ("Makefile", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    pretender = tmp_path / "python3"  # as a later interpreter would, it fails the check and says its version
    pretender.write_text(f'#!/bin/sh\ncase "$2" in *sys.exit*) exit 1;; esac\nexec "{sys.executable}" "$@"\n')
    pretender.chmod(0o755)
    command = ["make", "setup", f"PYTHONS=/no/python {pretender}"]
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert f"Received: {pretender} is {platform.python_version()}." in refused.stderr
