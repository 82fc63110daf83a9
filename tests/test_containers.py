"""The container recipes: linted, of the schema that they claim, and in step with the lock. No engine runs them here."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CONTAINERS = ROOT / "containers"
DOCKERFILE = (CONTAINERS / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((CONTAINERS / "compose.yaml").read_text())
TEMPLATE = json.loads((CONTAINERS / "kubernetes-job-template.json").read_text())
SERVICES = COMPOSE["services"]


def tool(name: str, *arguments: str) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name(name), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_recipe_of_the_image_is_linted():
    tool("hadolint", str(CONTAINERS / "Dockerfile"))


def test_the_composition_is_of_its_schema():
    tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(CONTAINERS / "compose.yaml"))


def test_the_image_is_of_the_lock_and_of_all_that_is_in_the_wheel():
    assert "uv pip install --no-cache --require-hashes --requirements requirements.lock" in DOCKERFILE
    (uv,) = re.findall(r"uv==[\d.]+", (ROOT / "Makefile").read_text())
    assert uv in DOCKERFILE
    assert "FROM python:${PYTHON}-slim" in DOCKERFILE
    copied = {
        path for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE) for path in line.split()
    }
    (packages,) = re.findall(r"^packages = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    needed = {*json.loads(f"[{packages}]"), "prefect.yaml", "README.md", "pyproject.toml", "requirements.lock"}
    assert copied == needed
    sent = (CONTAINERS / "Dockerfile.dockerignore").read_text().splitlines()
    assert {line[1:] for line in sent if line.startswith("!")} == needed


def test_nothing_is_root_or_open_to_other_machines_and_no_password_is_written_down():
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE) == ["10001"]
    for service in SERVICES.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|AUTH_STRING|ACCESS_KEY", name):
                assert value.startswith("${"), name
    given = set(re.findall(r"^(\w+)=$", (CONTAINERS / "example.env").read_text(), re.MULTILINE))
    used = set(re.findall(r"\$\{(\w+)", (CONTAINERS / "compose.yaml").read_text()))
    assert used == given


def test_the_store_is_the_one_of_the_lock_with_the_bucket_that_is_asked_for():
    from fer import settings

    assert SERVICES["store"]["image"] == SERVICES["server"]["image"]
    assert f"-bucket={settings.Settings().store_bucket}" in SERVICES["store"]["command"]


def test_the_pool_of_the_composition_is_that_of_the_deployments():
    declared = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    (pool,) = {one["work_pool"]["name"] for one in declared}
    command = SERVICES["worker"]["command"]
    assert command[command.index("--pool") + 1] == pool


def rendered(value: Any, variables: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return {name: rendered(one, variables) for name, one in value.items()}
    if isinstance(value, list):
        return [rendered(one, variables) for one in value]
    whole = re.fullmatch(r"\{\{ (\w+) \}\}", value) if isinstance(value, str) else None
    return variables.get(whole[1]) if whole else value


@pytest.mark.parametrize("gpus", [0, 1])
def test_the_job_of_kubernetes_has_a_limit_of_gpus_and_uses_each_variable(gpus):
    import jsonschema

    jsonschema.Draft202012Validator.check_schema(TEMPLATE["variables"])
    known = TEMPLATE["variables"]["properties"]
    variables = {name: one["default"] for name, one in known.items() if "default" in one} | {"gpus": gpus}
    jsonschema.validate(variables, TEMPLATE["variables"])
    job = rendered(TEMPLATE["job_configuration"]["job_manifest"], variables)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == gpus
    assert container["image"] == SERVICES["server"]["image"]
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(TEMPLATE["job_configuration"])))
    assert used == set(known)


def test_prefect_takes_the_template(prefect_server):
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.actions import WorkPoolCreate

    with SyncPrefectClient(prefect_server) as client:
        client.create_work_pool(WorkPoolCreate(name="k8s", type="kubernetes", base_job_template=TEMPLATE))
        assert client.read_work_pool("k8s").base_job_template == TEMPLATE
        client.delete_work_pool("k8s")
