import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_contracts import files
from fer.curation.refs import CurationRef, InspectionRef, ValidationRef
from fer.engine.local_workspace import LocalWorkspace
from fer.evaluation import predictions
from fer.evaluation.refs import EvaluationRef
from fer.evaluation.slices import figures, measure
from fer.evaluation.slices.config import SlicesConfig

CLASSES = ("happy", "sad")
GROUPS = pa.map_(pa.string(), pa.string())
N = 200
IDS = [f"{row:032x}" for row in range(N)]


@pytest.fixture
def workspace(tmp_path):
    return LocalWorkspace(tmp_path)


def measured(workspace, **config):
    """The slices of a model that is wrong on every dark image, and often on those of the group b."""
    row = np.arange(N)
    dark = row < 60
    truth = (row % 2).astype(np.int32)
    predicted = np.where(dark, 1 - truth, truth)
    scores = {"n_images": N, "accuracy": 0.7, "accuracy_interval": (0, 1), "macro_f1": 0.7, "macro_f1_interval": (0, 1)}

    def committed(stage, ref, write):
        def produce(out):
            write(out)
            return ref

        return workspace.run(stage, "0", type(ref), produce, resumable=False)

    def evaluate(out):
        probabilities = np.eye(2, dtype=np.float32)[predicted]
        predictions.write(out / predictions.FILE, IDS, truth, probabilities, np.ones(N, bool), CLASSES)

    accepted = {
        "image_id": IDS, "source": ["demo"] * N, "path": [f"{'ab'[i % 2]}/{i}.png" for i in row],
        "subject": ["Ada"] * 100 + ["Grace"] * 100, "groups": pa.nulls(N, GROUPS),
        "width": pa.array([48] * N, pa.int32()),
        "height": pa.array([48] * N, pa.int32()), "mean": pa.array(row, pa.float32()),
        "std": pa.array(row % 9, pa.float32()), "sharpness": pa.array([1] * N, pa.float32()),
    }  # fmt: skip
    findings = {"image_id": IDS, "face_score": pa.nulls(N, pa.float32())}
    issues = {"image_id": IDS, "issues": pa.array([["no_face"] if one else [] for one in dark], pa.list_(pa.string()))}
    counts = {"classes": CLASSES, "failures": ()}
    return measure.slices(
        committed("evaluate", EvaluationRef(split="test", **scores), evaluate),
        committed(
            "validate", ValidationRef(n_found=N, n_accepted=N, quarantined={}, warnings=(), **counts),
            lambda out: pq.write_table(pa.table(accepted), out / files.ACCEPTED),
        ),
        committed(
            "inspect", InspectionRef(n_images=N, n_pairs=0, n_groups=0),
            lambda out: pq.write_table(pa.table(findings), out / files.FINDINGS),
        ),
        committed(
            "curate", CurationRef(issues={}, dropped={}, quarantined={}, **counts),
            lambda out: pq.write_table(pa.table(issues), out / files.CURATION),
        ),
        SlicesConfig(**config),
        workspace=workspace,
    )  # fmt: skip


def test_the_slices_of_an_evaluation_are_written_the_worst_first(workspace):
    ref = measured(workspace, min_slice_size=20)
    found = figures.Slices.model_validate_json((workspace.folder(ref) / figures.FILE).read_bytes())
    assert found.accuracy == pytest.approx(0.7)
    assert [one.name for one in found.slices][:2] == ["issue: no face", "dark (below 40)"]
    assert found.slices[0].accuracy == 0
    assert ref.worst == "issue: no face"
    assert ref.worse[:2] == ("issue: no face", "dark (below 40)")
    assert (ref.n_slices, ref.worst_accuracy) == (len(found.slices), 0)
    assert "accuracy 0.000 [0.000, 0.060] on the worst, issue: no face" in ref.summary()
    assert ref.not_evaluated == found.not_evaluated


def test_the_members_of_each_slice_are_found_by_its_column_and_group(workspace):
    ref = measured(workspace, min_slice_size=20)
    folder = workspace.folder(ref)
    members = pq.read_table(folder / measure.MEMBERS)
    found = figures.Slices.model_validate_json((folder / figures.FILE).read_bytes()).slices
    listed = [one for one in found if one.column in members.column_names]
    assert {one.kind for one in listed} == {"property", "issue"}
    assert [members[one.column].to_pylist().count(one.group) for one in listed] == [one.n_images for one in listed]


def test_no_release_says_of_an_image_who_is_shown_or_of_which_group(workspace):
    ref = measured(workspace, min_slice_size=20, patterns={"gender": "^([ab])/"})
    members = pq.read_table(workspace.folder(ref) / measure.MEMBERS)
    assert members.column_names == ["image_id", "brightness", "contrast", "issue: no face"]
    text = (workspace.folder(ref) / figures.FILE).read_text()
    assert "Ada" not in text
    assert '"gender"' in text


def test_with_no_slice_large_enough_the_summary_says_so(workspace):
    ref = measured(workspace, min_slice_size=150)
    assert ref.n_slices == 0
    assert ref.summary().startswith("no slice that is large enough; not evaluated:")
