import pytest
from pydantic import BaseModel

from fer import refs, stage
from fer.workspace import Workspace


class Config(BaseModel):
    blur: int = 3


calls: list[int] = []


@stage.stage("double")
def double(out, dataset: refs.DatasetRef, config: Config, *, workspace, progress) -> refs.DatasetRef:
    """Write one file."""
    calls.append(config.blur)
    (out / "file").write_text(f"{dataset.digest} {config.blur}")
    progress(1, 1, "done")
    return dataset.model_copy(update={"digest": ""})


def dataset(digest: str = "d1", path: str = "p") -> refs.DatasetRef:
    return refs.DatasetRef(source="demo", n_files=1, size_bytes=1, digest=digest, path=path)


def test_the_key_follows_digests_and_config_but_not_where_an_input_lies():
    key = double.key(dataset(), Config())
    assert double.key(dataset(path="elsewhere"), Config()) == key
    assert double.key(dataset(digest="d2"), Config()) != key
    assert double.key(dataset(), Config(blur=5)) != key


def test_a_stage_runs_once_for_the_same_inputs(tmp_path):
    calls.clear()
    workspace = Workspace(tmp_path)
    seen = []
    first = double(dataset(), Config(), workspace=workspace, progress=lambda *what: seen.append(what))
    assert double(dataset(), Config(), workspace=workspace) == first
    assert calls == [3]
    assert seen == [(1, 1, "done")]
    assert double.committed(dataset(), Config(), workspace=workspace) == first
    assert double.committed(dataset(), Config(blur=5), workspace=workspace) is None


def test_an_input_that_is_no_ref_config_or_plain_value_is_refused():
    with pytest.raises(TypeError, match="Received: list"):
        double.key(dataset(), [1])


def test_a_wrong_number_of_inputs_names_those_expected():
    with pytest.raises(TypeError, match="dataset, config"):
        double.key(dataset())
