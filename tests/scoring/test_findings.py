"""What is said of scores as a whole, and the page that shows it."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import releases

from data_contracts import files
from data_contracts import scores as contract
from fer.scoring import findings, page, score
from fer.scoring.refs import ScoresRef

N = 400


def rows(level=128.0, happy=0.8, n=N, unsure=False):
    draw = np.random.default_rng(0)
    nothing = dict.fromkeys(contract.schema(releases.CLASSES).names)
    made = []
    for number in range(n):
        confidence = float(draw.uniform(0.5, 1))
        label = "happy" if draw.random() < happy else "sad"
        measured = dict.fromkeys(contract.PROPERTIES, 1.0) | {"mean": float(draw.normal(level, 10))}
        own = {"image_id": str(number), "path": str(number), "finding": "one face", "label": label, "unsure": unsure}
        made.append(nothing | own | measured | {"confidence": confidence, "model": "tiny@1", "model_digest": "w"})
    empty = {"image_id": "x", "path": "x", "finding": "no face", "model": "tiny@1", "model_digest": "w"}
    return [*made, nothing | empty, nothing | empty | {"finding": None, "error": "cut | short"}]


@pytest.fixture
def found(tmp_path):
    def make(given, *, shown=128.0, n_shards=2):
        release, folder = tmp_path / "release", tmp_path / "scores"
        releases.write(release)
        folder.mkdir(exist_ok=True)
        if shown is not None:
            draw = np.random.default_rng(1)
            columns = {name: np.ones(N, np.float32) for name in contract.PROPERTIES}
            columns["mean"] = draw.normal(shown, 10, N).astype(np.float32)
            pq.write_table(pa.table(columns), release / files.SHOWN)
        for number, part in enumerate(np.array_split(np.arange(len(given)), n_shards)):
            table = pa.Table.from_pylist([given[row] for row in part], schema=contract.schema(releases.CLASSES))
            pq.write_table(table, folder / score.name_of(number))
        ref = ScoresRef(
            digest="d",
            release="tiny@1",
            n_pictures=len(given),
            n_faces=len(given) - 2,
            n_without=1,
            n_unreadable=1,
            n_shards=2,
        )
        return findings.of(folder, ref, release, ["folder:a|b"], "w")

    return make


def test_faces_like_those_of_training_do_not_drift(found):
    made = found(rows(happy=0.5))
    assert made.drifted == []
    assert {test["of"] for test in made.tests} == {"inputs", "predictions"}
    assert made.unsure == 0
    assert made.errors == {"cut | short": 1}
    assert made.estimate.accuracy == pytest.approx(0.75, abs=0.1)
    assert "no drift" in made.sentence()


def test_brighter_faces_and_other_shares_of_classes_are_drift(found):
    made = found([row | {"unlike": row["label"] == "happy"} for row in rows(level=160, happy=1.0, unsure=True)])
    assert made.drifted == ["mean", "class shares"]
    assert made.unsure == 1
    assert made.unlike == N / (N + 2)
    shares = {share.label: (share.n_faces, share.share) for share in made.shares}
    assert shares == {"happy": (N, 1.0), "sad": (0, 0.0)}
    assert "drift of mean, class shares" in made.sentence()


def test_a_release_without_properties_is_compared_by_its_predictions_alone(found):
    made = found(rows(), shown=None)
    assert {test["of"] for test in made.tests} == {"predictions"}
    assert "from before releases held the properties" in page.markdown(made)


def test_of_many_faces_some_are_compared_spread_over_all_shards(found, monkeypatch):
    monkeypatch.setattr(findings, "_COMPARED", 100)
    made = found(rows(n=401), n_shards=5)
    assert {test["n"] for test in made.tests} == {len(range(0, 401, 5))}


def test_the_page_says_what_was_found_and_escapes_what_comes_from_outside(found):
    text = page.markdown(found(rows(level=160)), ("written to out",))
    assert "folder:a\\|b" in text
    assert "cut &#124; short" in text or "cut \\| short" in text
    assert "the estimate is then mostly too high" in text


def test_without_a_face_there_is_a_page_all_the_same(found):
    made = found(rows(n=0), n_shards=1)
    assert made.estimate is None
    assert made.tests == ()
    assert "There is no estimate" in page.markdown(made)
