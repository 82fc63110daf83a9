import numpy as np
import prepared
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer import errors
from fer.curation.refs import SplitRef
from fer.engine.local_workspace import LocalWorkspace
from fer.engine.workspace import Workspace
from fer.training import soft_labels

CLASSES = ("happy", "sad", "angry")
VOTES = {
    "a": ([0.5, 0.25, 0.25], "train"),
    "b": (None, "train"),
    "c": ([0, 0, 1], "validation"),
    "d": ([0, 1, 0], "train"),
}


def split_ref(workspace: Workspace, votes=VOTES) -> SplitRef:
    def write(out):
        columns = {
            "image_id": list(votes),
            "soft_label": pa.array([shares for shares, _ in votes.values()], pa.list_(pa.float32())),
            "split": [split for _, split in votes.values()],
        }
        pq.write_table(pa.table(columns), out / "split.parquet")

    counts = {"train": dict.fromkeys(CLASSES, 1), "validation": {}, "test": {}}
    ref = SplitRef(classes=CLASSES, counts=counts, origin="drawn")
    return prepared.committed(workspace, "split", "k", ref, write)


def test_the_votes_about_train_images_are_collected_and_those_alone(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    ref = soft_labels.collect(split_ref(workspace), workspace=workspace)
    assert ref.n_images == 2
    table = pq.read_table(workspace.folder(ref) / soft_labels.FILE)
    assert table.to_pydict() == {"image_id": ["a", "d"], "shares": [[0.5, 0.25, 0.25], [0, 1, 0]]}


def test_they_stand_for_an_image_and_its_copies_and_for_no_other(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    ref = soft_labels.collect(split_ref(workspace), workspace=workspace)
    votes = soft_labels.SoftLabels.read(workspace.folder(ref) / soft_labels.FILE)
    one_hot = np.eye(3, dtype=np.float32)[[0, 0, 1, 2]]
    targets = votes.replace_targets(one_hot, ["a", "a+0", "b", "d+17"])
    np.testing.assert_allclose(targets, [[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0, 1, 0], [0, 1, 0]])
    np.testing.assert_array_equal(one_hot, np.eye(3)[[0, 0, 1, 2]])


def test_votes_that_do_not_sum_to_one_are_shares_all_the_same():
    votes = soft_labels.SoftLabels(["a"], np.array([[3, 1, 0]]))
    np.testing.assert_allclose(votes.replace_targets(np.zeros((1, 3), np.float32), ["a"]), [[0.75, 0.25, 0]])


def test_without_any_votes_they_can_not_be_asked_for(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    none = {name: (None, split) for name, (_, split) in VOTES.items()}
    with pytest.raises(errors.ConfigError, match=r"no votes for any of 3 train images.*train\.soft_labels"):
        soft_labels.collect(split_ref(workspace, none), workspace=workspace)
