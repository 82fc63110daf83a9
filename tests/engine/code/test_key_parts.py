from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from fer.engine.code import key_parts
from fer.engine.code.key_parts import KeyParts
from fer.ingest.refs import DatasetRef


class Model(BaseModel):
    width: int = 8


class Config(BaseModel):
    rate: float = 0.003
    weights: str | None = None
    model: Model | None = Model()
    classes: tuple[str, ...] = ("happy", "sad")


class Pair(BaseModel):
    name: str
    both: tuple[DatasetRef, ...]


def dataset(digest: str = "d1", key: str = "a" * 32) -> DatasetRef:
    return DatasetRef(source="demo", n_files=1, size_bytes=1, digest=digest, path=f"download/{key}")


def parts(config: Config | None = None, data: DatasetRef | None = None, code=None, **conditions: str) -> KeyParts:
    inputs = {"manifest": data or dataset(), "config": config or Config()}
    return key_parts.of(inputs, code or {"fer.shards": "0" * 64, "fer.shards.balance": "1" * 64}, conditions)


def sentences(before: KeyParts, after: KeyParts) -> list[str]:
    return [change.sentence() for change in key_parts.changes(before, after)]


def test_the_same_parts_have_no_changes_also_after_they_were_kept():
    kept = key_parts.parse(parts().model_dump(mode="json"))
    assert kept == parts()
    assert sentences(kept, parts()) == []


def test_each_kind_of_change_is_named():
    assert sentences(parts(), parts(Config(rate=0.001))) == ["config.rate: 0.003 → 0.001"]
    assert sentences(parts(), parts(Config(weights="imagenet"))) == ["config.weights: none → imagenet"]
    assert sentences(parts(), parts(Config(classes=("happy",)))) == ['config.classes: ["happy", "sad"] → ["happy"]']
    assert sentences(parts(), parts(data=dataset("d2", "b" * 32))) == [
        "manifest: other data (download/aaaaaaaa → download/bbbbbbbb)"
    ]
    edited = {"fer.shards": "0" * 64, "fer.shards.balance": "2" * 64, "fer/shards/page.html": "3" * 64}
    assert sentences(parts(), parts(code=edited)) == [
        "code: fer/shards/balance.py changed",
        "code: fer/shards/page.html was added",
    ]
    assert sentences(parts(), parts(code={"fer.shards.balance": "1" * 64})) == ["code: fer/shards/__init__.py is gone"]
    assert sentences(parts(keras="3.11"), parts(keras="3.12")) == ["keras: 3.11 → 3.12"]


def test_a_whole_section_comes_or_goes_by_its_settings():
    assert sentences(parts(), parts(Config(model=None))) == ["config.model.width: 8 → none"]
    assert sentences(parts(Config(model=None)), parts()) == ["config.model.width: none → 8"]


def test_the_same_data_elsewhere_is_no_change():
    assert sentences(parts(), parts(data=dataset(key="b" * 32))) == []


def test_an_input_that_is_not_made_yet_is_left_out_and_found():
    pending = dataset(digest="")
    assert sentences(parts(), parts(data=pending)) == []
    assert key_parts.unmade((Config(), {"both": Pair(name="x", both=(dataset(), pending))})) == [pending]
    assert key_parts.unmade((Config(), dataset())) == []


def test_refs_within_records_are_inputs_too():
    made = key_parts.of({"pair": Pair(name="x", both=(dataset(), dataset("d2", "b" * 32)))}, {}, {})
    assert made.refs() == {"pair.both[0]": f"download/{'a' * 32}", "pair.both[1]": f"download/{'b' * 32}"}


def test_the_nearest_differs_in_fewest_ways_and_is_the_first_of_several():
    others = [parts(Config(rate=1, weights="a")), None, parts(Config(rate=2)), parts(Config(rate=4))]
    assert key_parts.nearest(parts(), others, lambda other: other) == others[2]
    assert key_parts.nearest(parts(), [], lambda other: other) is None


def test_changed_code_counts_once_however_many_modules():
    all_code = parts(code={"fer.shards": "8" * 64, "fer.shards.balance": "9" * 64, "fer.x": "7" * 64})
    assert key_parts.nearest(parts(), [parts(Config(rate=1, weights="a")), all_code], lambda other: other) == all_code


def test_what_looks_like_a_key_is_not_kept():
    made = parts(Config(weights="https://someone:hunter2@host/w.h5"))
    assert "hunter2" not in made.model_dump_json()


def test_parts_of_a_later_version_are_read_as_far_as_they_are_known():
    kept = parts().model_dump(mode="json")
    assert key_parts.parse(kept | {"more": 1}) == parts()
    assert key_parts.parse({"code": {}}) is None


@given(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=4))
def test_any_two_settings_differ_where_their_values_do(settings):
    before, after = (key_parts.of({"config": {"a": 1, **own}}, {}, {}) for own in ({}, settings))
    assert bool(key_parts.changes(before, after)) == ({"a": 1, **settings} != {"a": 1})
