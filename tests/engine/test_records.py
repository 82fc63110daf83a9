import pydantic
import pytest

from fer.engine.records import Record


class Size(Record):
    model_height: int = 48


def test_a_record_stays_as_it_was_made_and_takes_no_field_that_it_does_not_have():
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        Size().model_height = 1
    with pytest.raises(pydantic.ValidationError, match="heigth"):
        Size(heigth=48)


def test_a_field_may_begin_with_model():
    assert Size.model_validate_json('{"model_height": 3}').model_height == 3
