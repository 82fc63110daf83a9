"""A block's name is checked before it travels, by this code and, in a deployment, by Prefect's server."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools import validation

from fer import errors
from flows import compare, ingest, retrain, sweep
from tasks import block_names

names = st.from_regex(r"[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,8}){0,3}", fullmatch=True)


@given(names)
def test_a_name_is_taken(name):
    assert block_names.checked(name) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "My block",
        "kaggle_key",
        "name\n",
        "a" * 101,
        "c0ffee00c0ffee00c0ffee00c0ffee00",
        "x-c0ffee00c0ffee00c0ffee00c0ffee00",
        "KGAT_c0ffee00c0ffee00c0ffee00c0ffee00",
        "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "q8f2k5x9z3m7w1p4t6r0b2n8",
        '{"username":"ann","key":"c0ffee00c0ffee00c0ffee00c0ffee00"}',
    ],
)
def test_what_is_no_name_or_may_be_a_key_is_refused_and_not_shown(text):
    with pytest.raises(errors.ConfigError, match=f"{len(text)} characters") as caught:
        block_names.checked(text)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("flow", [retrain.retrain, ingest.ingest, sweep.sweep, compare.compare])
def test_prefects_server_is_given_the_grammar(flow):
    name, _ = parameter_schema(flow).properties["kaggle_secret"]["anyOf"]
    assert re.search(name["pattern"], "my-kaggle-key")
    assert not re.search(name["pattern"], "c0ffee00c0ffee00c0ffee00c0ffee00")
    assert not re.search(name["pattern"], "KGAT_c0ffee00c0ffee00c0ffee00c0ffee00")


@pytest.mark.parametrize(("name", "is_taken"), [(None, True), ("my-kaggle-key", True), ("c0ffee00" * 4, False)])
def test_prefects_server_takes_no_run_with_a_key_in_the_place_of_a_name(name, is_taken):
    schema = parameter_schema(retrain.retrain).model_dump()
    values = {"sources": ["demo"], "kaggle_secret": name}
    assert validation.is_valid(values, schema) == is_taken
