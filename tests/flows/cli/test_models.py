"""`fer models …` as an operator meets it, on a real store."""

import contextlib
import datetime
import json
import uuid
from types import SimpleNamespace

import pytest
from rich.console import Console
from typer.main import get_command
from typer.testing import CliRunner

from fer import errors
from fer.registry import ledger as registry_ledger
from fer.registry import log as registry_log
from fer.registry import pins, registry, releases
from fer.registry.manifest import Registration
from flows.cli import app as cli
from flows.cli import console

ALIAS = "models/demo/aliases/champion.json"


@pytest.fixture
def models(store, store_settings, monkeypatch, tmp_path):
    """Versions 1 and 2, one promoted after the other; the commands open this registry too."""
    monkeypatch.setenv("FER_HOME", str(store_settings.home))
    monkeypatch.setenv("FER_STORE_PREFIX", store_settings.store_prefix)
    monkeypatch.delenv("FER_STORE_ENDPOINT", raising=False)
    monkeypatch.setenv("LOGNAME", "ann")
    monkeypatch.setattr(console, "out", Console(width=250))
    registered = registry.Registry(store)
    (tmp_path / "model.keras").write_bytes(b"weights")
    for number in (1, 2):
        registration = {
            "status": "released",
            "reasons": ("accuracy 0.70, floor 0.6",),
            "registration_key": uuid.uuid4().hex,
            "model_digest": str(number),
            "recipe": {},
            "inputs": {},
            "code_fingerprint": "ef",
            "metrics": {"accuracy": 0.7, "macro": {"f1": 0.6}},
            "environment": {},
            "champion_at_registration": number - 1 or None,
            "test_set": "5e" * 32,
        }
        files = {"model.keras": tmp_path / "model.keras"}
        manifest = registered.register("demo", files, Registration.model_validate(registration), by="run [a] (1)")
        registered.promote("demo", manifest.version, registered.alias("demo"), by="run [a] (1)")
    return registered


def fer(*arguments: str, code: int = 0):
    """What `fer models …` prints; errors are raised as `fer` itself would say them."""
    done = CliRunner(env={"COLUMNS": "250"}).invoke(cli.app, ["models", *arguments])
    if isinstance(done.exception, errors.FerError):
        raise done.exception
    assert done.exit_code == code, done.output
    return done


def rows(output: str) -> list[str]:
    """The lines, without the lines that are drawn between columns."""
    return output.replace("│", " ").splitlines()


def test_a_rollback_says_who_is_champion_and_how_it_is_undone(models):
    output = fer("rollback", "demo", "--reason", "too sad").output
    assert "demo@champion is version 1; before: version 2" in output
    assert "No run promotes version 2 again until it is named: fer models promote demo@2" in output
    assert models.get("demo").version == 1
    assert "demo@champion is version 2; before: version 1" in fer("promote", "demo@2").output
    assert "champion already" in fer("promote", "demo@2").output
    assert "A run may promote version 2 again" in fer("promote", "demo@1").output
    assert "demo@champion is version 2" in fer("rollback", "demo", "--to", "2").output


def test_the_log_says_who_when_from_to_and_why(models):
    fer("rollback", "demo", "--reason", "too [bold]sad")
    lines = fer("log", "demo").output.splitlines()
    assert len([line for line in lines if line.strip() == "by run [a] (1)"]) == 4
    back = next(number for number, line in enumerate(lines) if "rollback" in line)
    assert lines[back].split()[0] == "5"
    assert lines[back].endswith("UTC  rollback version 2; champion 2 → 1")
    assert lines[back + 1].strip().startswith("by ann@")
    assert lines[back + 2].strip() == "too [bold]sad"
    promoted = next(number for number, line in enumerate(lines) if "promote version 1" in line)
    assert lines[promoted].endswith("; champion none → 1")
    assert lines[promoted + 2].strip() == "accuracy 0.70, floor 0.6"
    entries = json.loads(fer("log", "demo", "--json").output)
    assert [entry["action"] for entry in entries] == ["register", "promote", "register", "promote", "rollback"]
    assert [entry["before"] for entry in entries] == ["", *(entry["digest"] for entry in entries[:-1])]
    assert lines[-1].strip() == entries[-1]["digest"]
    assert "Nothing is in the log of other" in fer("log", "other").output


def test_the_log_is_readable_in_a_narrow_terminal(models, monkeypatch):
    monkeypatch.setattr(console, "out", Console(width=80))
    reason = "it takes the faces of children for surprised ones, and everybody else for somewhat sad"
    fer("rollback", "demo", "--reason", reason)
    lines = [line.rstrip() for line in fer("log", "demo").output.splitlines()]
    assert max(map(len, lines)) <= 80
    assert " ".join(lines[-4:-2]).split() == reason.split()


def test_list_and_show_say_what_was_withdrawn_and_what_was_rolled_back(models):
    fer("rollback", "demo", "--reason", "too sad")
    listed = fer("list").output
    (second,) = (line.split() for line in rows(listed) if "rolled back" in line and "lifts it" not in line)
    assert second[:4] == ["demo", "2", "rolled", "back"]
    assert "too sad; `fer models promote demo@2` lifts it" in listed
    output = fer("withdraw", "demo@2", "--reason", "its faces may not be used").output
    assert "demo@2 is withdrawn" in output
    assert "withdrawn already" in fer("withdraw", "demo@2", "--reason", "again").output
    listed = json.loads(fer("list", "--json").stdout)
    assert [(version["version"], version["champion"]) for version in listed] == [(2, False), (1, True)]
    assert "its faces may not be used" in listed[0]["withdrawn"]
    assert listed[1]["withdrawn"] == listed[1]["rolled_back"] == ""
    assert "its faces may not be used" in json.loads(fer("show", "demo@2", "--json").output)["withdrawn"]
    shown = json.loads(fer("show", "demo", "--json").output)
    assert (shown["version"], shown["champion"], shown["withdrawn"]) == (1, True, "")
    with releases.local_copy("demo@2") as (manifest, _):
        assert "its faces may not be used" in releases.withdrawal(manifest)
    with releases.local_copy("demo") as (manifest, _):
        assert (manifest.version, releases.withdrawal(manifest)) == (1, "")


def test_a_version_is_shown_on_one_screen(models):
    fer("rollback", "demo", "--reason", "too sad")
    lines = [line.rstrip() for line in fer("show", "demo@2").output.splitlines()]
    assert lines[0] == "demo@2  released, champion: version 1"
    assert "too sad" in lines[1]
    shown = "\n".join(lines)
    assert "accuracy 0.700, macro-F1 0.600" in shown
    assert "UTC by run [a] (1)" in shown
    assert "accuracy 0.70, floor 0.6" in shown
    assert lines[-1].startswith("next:  fer report demo@2 ")
    assert len(lines) < 24
    assert fer("show", "demo").output.startswith("demo@1  released, demo@champion\n")


def test_the_ledger_says_how_often_each_test_set_was_read(models):
    (row,) = [line for line in fer("ledger", "demo").output.splitlines() if "5e5e5e5e5e5e" in line]
    assert [cell.strip() for cell in row.strip("│ ").split("│")][1:6] == ["0", "2", "1", "2", "0.03"]
    (read,) = json.loads(fer("ledger", "demo", "--json").output)
    assert (read["versions"], read["n_comparisons"], read["is_worn"]) == ([1, 2], 1, False)
    assert "No version of other says" in fer("ledger", "other").output


def test_a_withdrawal_needs_a_reason(models):
    assert "--reason" in fer("withdraw", "demo@2", code=2).output
    with pytest.raises(errors.ConfigError, match="must have a reason"):
        fer("withdraw", "demo@2", "--reason", " ")


@pytest.mark.parametrize("arguments", [("promote", "demo"), ("withdraw", "demo@champion", "--reason", "x")])
def test_a_version_is_moved_by_its_number(models, arguments):
    with pytest.raises(errors.ConfigError, match="number"):
        fer(*arguments)


def test_a_lost_champion_is_said_by_list_and_put_back_by_repair(models):
    models.store.delete(ALIAS)
    listed = fer("list", code=7).output
    assert "fer models repair demo" in listed
    assert [line.split()[-1] for line in rows(listed) if "released" in line] != []
    assert "champion" not in [line.split()[-1] for line in rows(listed) if "released" in line]
    output = fer("repair", "demo", code=7).output
    assert "demo@champion is gone" in output
    assert "Nothing was changed" in output
    assert "fer models repair demo --yes" in output
    assert models.store.get(ALIAS) is None
    fer("repair", "demo", "--yes")
    assert models.get("demo").version == 2
    assert "Nothing of demo is missing" in fer("repair", "demo").output


def test_a_lost_manifest_is_said_by_list_and_what_can_not_be_repaired_is_said_too(models):
    copy = models.log("demo").claims()[1].manifest.key
    models.store.delete("models/demo/versions/00001.json")
    assert "demo@1 was lost. Next: fer models repair demo" in fer("list").output
    models.store.delete(copy)
    assert "can't be put back from here" in fer("repair", "demo", "--yes", code=7).output


def test_listing_models_asks_for_the_champion_once_a_model(monkeypatch, tmp_path):
    asked = []

    class Manifest(SimpleNamespace):
        def model_dump(self, mode):
            return {}

    class Registry:
        def names(self):
            return ("demo", "fer2013")

        def versions(self, name):
            created = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
            figures = {"accuracy": 0.5, "macro": {"f1": 0.5}}
            return [
                Manifest(
                    name=name,
                    version=number,
                    status="released",
                    metrics=figures,
                    created_utc=created,
                    model_digest=str(number),
                )
                for number in (1, 2, 3)
            ]

        def ledger(self, name):
            asked.append(name)
            champion = 2 if name == "demo" else None
            state = registry_ledger.State(registry_log.Log([]), champion, "")
            return SimpleNamespace(read=lambda: state)

    monkeypatch.setenv("FER_HOME", str(tmp_path))
    monkeypatch.setattr(releases, "open_registry", lambda **_: contextlib.nullcontext(Registry()))
    monkeypatch.setattr(pins, "read", lambda models, name: {})
    shown = CliRunner().invoke(cli.app, ["models", "list"])
    assert asked == ["demo", "fer2013"]
    rows = [line.split() for line in shown.stdout.splitlines() if "released" in line]
    assert [(row[1], row[3], "champion" in row) for row in rows] == [
        ("demo", "3", False),
        ("demo", "2", True),
        ("demo", "1", False),
        ("fer2013", "3", False),
        ("fer2013", "2", False),
        ("fer2013", "1", False),
    ]


@pytest.mark.parametrize("group", ["models", "keys"])
def test_every_command_has_json(group):
    commands = get_command(cli.app).commands[group].commands
    assert [
        name
        for name, command in sorted(commands.items())
        if not any("--json" in parameter.opts for parameter in command.params)
    ] == []
