"""`fer store policy` as people use it."""

import json

import pytest
from typer.testing import CliRunner

from fer import errors
from fer.registry.trust import access
from flows.cli import app as cli


def fer(*arguments):
    done = CliRunner().invoke(cli.app, ["store", "policy", *arguments])
    if isinstance(done.exception, errors.FerError):
        raise done.exception
    return json.loads(done.output)


@pytest.mark.parametrize("role", access.ROLES)
@pytest.mark.parametrize("prefix", ["", "team/faces"])
def test_a_policy_is_of_the_bucket_and_folder_of_the_settings(monkeypatch, role, prefix):
    monkeypatch.setenv("FER_STORE_BUCKET", "our-models")
    monkeypatch.setenv("FER_STORE_PREFIX", prefix)
    policy = fer(role)
    assert policy["Version"] == "2012-10-17"
    at = f"arn:aws:s3:::our-models/{prefix}/" if prefix else "arn:aws:s3:::our-models/"
    resources = [statement["Resource"] for statement in policy["Statement"]]
    assert resources[0] == "arn:aws:s3:::our-models"
    assert all(resource.startswith(at) for places in resources[1:] for resource in places)
    assert ("Condition" in policy["Statement"][0]) == bool(prefix)
    sids = {statement["Sid"] for statement in policy["Statement"] if statement["Effect"] == "Deny"}
    assert sids == (set() if role == "reader" else set(access.APPEND_ONLY))


def test_another_role_is_refused():
    with pytest.raises(errors.ConfigError, match="reader, trainer, promoter"):
        fer("emperor")
