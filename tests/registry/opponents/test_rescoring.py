from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from registrations import PREPROCESSING, committed

from data_contracts import files
from fer.curation.refs import SplitRef
from fer.engine.refs import Ref
from fer.evaluation import evaluate, predictions
from fer.registry.opponents import champion, rescoring
from fer.shards import preprocess

CLASSES = ("happy", "sad")


ALL = list("1234")


def parquet(table):
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    return buffer.getvalue().to_pybytes()


@pytest.mark.parametrize(("known", "left"), [(["p2"], ["1", "4"]), (["p9"], ALL), (None, ALL)])
def test_a_version_is_not_asked_about_images_that_it_knows(workspace, monkeypatch, tmp_path, known, left):
    """Image 2 is one that it was trained on, image 3 near it; a version that says nothing is asked about all."""
    content = {files.PREPROCESSING: PREPROCESSING}
    if known is not None:
        content[files.TRAINED_ON] = parquet(pa.table({"pixel_sha256": known, "split": ["train"]}))
    model = committed(workspace, "champion", "0", Ref(), content)
    rows = pa.table(
        {
            "image_id": list("1234"), "pixel_sha256": ["p1", "p2", "p3", "p4"], "split": ["test"] * 4,
            "near_duplicates": pa.array([[], ["p3"], ["p2"], []], pa.list_(pa.string())), "class_index": [0, 1, 0, 1],
        }
    )  # fmt: skip
    ref = SplitRef(classes=CLASSES, counts={}, origin="drawn")
    split = committed(workspace, "split", "0", ref, {files.SPLIT: parquet(rows)})
    path, predicted = tmp_path / predictions.FILE, np.eye(2)[[1, 0, 0, 1]]
    predictions.write(path, list("4213"), np.array([1, 1, 0, 0], np.int32), predicted, np.ones(4, bool), CLASSES)
    evaluation = committed(workspace, "evaluate", "0", Ref(), {path.name: path.read_bytes()})
    monkeypatch.setattr(champion, "released", lambda *_: SimpleNamespace(model=model, calibration=None))
    monkeypatch.setattr(preprocess, "preprocess", lambda *_, **__: None)
    monkeypatch.setattr(evaluate, "evaluate", lambda *_, **__: evaluation)
    found = rescoring.answers(None, None, split, workspace)
    assert sorted(found.image_ids) == left
    assert dict(zip(found.image_ids, found.predicted.tolist(), strict=True))["4"] == 1
    assert len(found.probabilities) == len(found.class_indexes) == len(left)
