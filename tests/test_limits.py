import pytest

from fer import errors, limits


def test_every_limit_has_a_reason_and_is_positive():
    described = limits.Limits.load().described()
    assert all(limit.is_default and limit.description for limit in described)
    assert all(field.metadata for field in limits.Limits.model_fields.values())


def test_a_limit_is_set_by_its_variable(limited):
    limited(table_rows=7)
    assert limits.current().table_rows == 7
    assert limits.to_raise("table_rows").startswith("set FER_LIMIT_TABLE_ROWS higher")


@pytest.mark.parametrize("value", [0, -1, "many"])
def test_a_limit_that_is_no_number_above_zero_is_a_clear_error(limited, value):
    limited(table_rows=value)
    with pytest.raises(errors.ConfigError, match="FER_LIMIT_TABLE_ROWS"):
        limits.current()
