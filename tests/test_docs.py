"""What the README, the docs and the set-up files say is true of the tree."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from fer import recipes, settings
from flows.cli import app as cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def code_blocks(page: Path = ROOT / "README.md") -> list[str]:
    """The blocks of code on a page, each command in one line."""
    blocks = re.findall(r"```\n(.*?)```", page.read_text(), flags=re.DOTALL)
    return [re.sub(r"\s*\\\n\s*", " ", each) for each in blocks]


def inline_code(page: Path) -> list[str]:
    prose = re.sub(r"```\n.*?```", "", page.read_text(), flags=re.DOTALL)
    return re.findall(r"`([^`\n]+)`", prose)


def make_targets(page: Path) -> set[str]:
    return set(re.findall(r"^make ([a-z]+)", "\n".join([*code_blocks(page), *inline_code(page)]), flags=re.MULTILINE))


def fer_commands(page: Path) -> list[str]:
    """What follows `fer` in each command, with variables before it or not."""
    commands = re.findall(r"^(?:[A-Z_]+=\S+ )*fer (.+?)(?:  +#.*)?$", "\n".join(code_blocks(page)), flags=re.MULTILINE)
    inline = [re.fullmatch(r"(?:[A-Z_]+=\S+ )*fer ([a-z].*)", each) for each in inline_code(page)]
    return commands + [each[1] for each in inline if each is not None]


def test_the_readme_and_the_docs_name_make_targets_and_commands():
    assert make_targets(ROOT / "README.md") >= {"run", "test", "lint", "bench", "ui"}
    found = {page.name: len(fer_commands(page)) for page in PAGES}
    assert found["README.md"] >= 6
    assert {"data.md", "several-machines.md", "sweep.md", "training.md"} <= {
        name for name, number in found.items() if number
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_on_a_page_is_in_the_makefile(page):
    assert make_targets(page) <= set(re.findall(r"^([a-z]+):", MAKEFILE, flags=re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_fer_command_on_a_page_is_known_with_its_options(page):
    for line in fer_commands(page):
        words = line.replace("[", " ").split()
        command, path = get_command(cli.app), []
        while words and words[0] in getattr(command, "commands", {}):
            path.append(words.pop(0))
            command = command.commands[path[-1]]
        assert path, f"fer {line}"
        options = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, f"fer {line}"
        assert CliRunner().invoke(cli.app, [*path, "--help"]).exit_code == 0


def test_every_file_of_the_annotated_tree_exists():
    tree = next(block for block in code_blocks() if block.startswith("flows/"))
    folder, found = "", []
    for line in tree.splitlines():
        for name in re.findall(r"[\w./]+?(?:\.py|/|\.yaml|\.lock|\.md)(?=[\s,;]|$)", re.split(r"   (?=\S)", line)[0]):
            if not line.startswith(" ") and name.endswith("/"):
                folder = name
            place = ROOT / name if not line.startswith(" ") else ROOT / folder / name
            found.append(place)
            assert place.exists(), name
    assert len(found) > 30


def test_every_module_of_the_library_is_in_the_annotated_tree():
    tree = next(block for block in code_blocks() if block.startswith("flows/"))
    plumbing = {"__init__.py", "errors.py", "refs.py", "progress.py", "parallel.py", "settings.py"}
    missing = {path.name for path in (ROOT / "fer").glob("*.py")} - plumbing - set(re.findall(r"[\w]+\.py", tree))
    assert missing == set()


def test_every_setting_is_in_the_readme():
    for setting in settings.Settings.load().described():
        assert f"`{setting.variable}`" in README


@pytest.mark.parametrize("name", recipes.NAMES)
def test_every_recipe_is_in_the_readme(name):
    assert f"`{name}`" in README


def test_deployments_name_flows_and_parameters_that_exist():
    from prefect.utilities.importtools import import_object

    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    assert {each["name"] for each in deployments} == {"demo", "fer2013-weekly", "fer2013-daily", "fer2013-sweep"}
    for each in deployments:
        flow = import_object(each["entrypoint"])
        flow.validate_parameters(each["parameters"])


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
    assert "benchmarks feed --json" in planned("NAME=feed", "JSON=1")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
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
    assert {re.split(r"[<>=;]", each)[0].strip().lower() for each in project["dependencies"]} <= names


def test_nothing_that_is_tracked_names_a_package_index():
    for path in [ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / ".ci" / "run"]:
        assert "index-url" not in path.read_text().replace("--no-emit-index-url", "")
