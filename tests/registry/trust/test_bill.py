import datetime
import importlib.metadata
import json

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from fer.registry.trust import bill

MADE = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def made():
    return bill.document(MADE)


def test_a_bill_keeps_to_the_schema_of_cyclonedx(made):
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(made.decode()) is None


def test_a_bill_names_what_is_installed_with_versions_licences_and_package_urls(made):
    document = json.loads(made)
    components = {component["name"]: component for component in document["components"]}
    numpy = components["numpy"]
    assert numpy["version"] == importlib.metadata.version("numpy")
    assert numpy["purl"] == f"pkg:pypi/numpy@{numpy['version']}"
    assert numpy["licenses"]
    assert components["CPython"]["type"] == "platform"
    assert document["metadata"]["component"]["name"] == "fer-retraining"
    n_licensed = sum(bool(component.get("licenses")) for component in components.values())
    assert n_licensed > 0.9 * len(components)
    assert len(components) > 100


def test_the_same_environment_gives_the_same_bill_but_for_the_time(made):
    assert bill.document(MADE) == made
    later = json.loads(bill.document(MADE + datetime.timedelta(days=1)))
    document = json.loads(made)
    assert later["metadata"].pop("timestamp") != document["metadata"].pop("timestamp")
    assert later == document


def test_a_bill_names_no_place_of_this_machine(made):
    assert str(importlib.metadata.distribution("numpy").locate_file("")) not in made.decode()
