import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from data_contracts import files
from fer import errors
from fer.evaluation.slices import columns
from fer.evaluation.slices.config import SlicesConfig

N = 50
GROUPS = pa.map_(pa.string(), pa.string())
IDS = [f"{row:032x}" for row in range(N)]


@pytest.fixture
def stages(tmp_path):
    """A function that writes the tables of three stages, with these columns in place of their own; their folders."""

    def write(**changed):
        row = np.arange(N)
        accepted = {
            "image_id": IDS, "source": ["demo"] * N, "path": [f"{i}.png" for i in row],
            "subject": pa.nulls(N, pa.string()), "groups": pa.nulls(N, GROUPS), "width": pa.array([48] * N, pa.int32()),
            "height": pa.array([48] * N, pa.int32()), "mean": pa.array(row, pa.float32()),
            "std": pa.array(row % 7, pa.float32()), "sharpness": pa.array(N - row, pa.float32()),
        }  # fmt: skip
        findings = {"image_id": IDS, "face_score": pa.nulls(N, pa.float32())}
        curation = {"image_id": IDS, "issues": pa.array([[] for _ in row], pa.list_(pa.string()))}
        tables = {files.ACCEPTED: accepted, files.FINDINGS: findings, files.CURATION: curation}
        for table in tables.values():
            table |= {name: values for name, values in changed.items() if name in table}
        for name, table in tables.items():
            pq.write_table(pa.table(table), tmp_path / name)
        return tmp_path, tmp_path, tmp_path

    return write


def read(folders, ids=IDS, **config):
    found, missing = columns.read(ids, *folders, SlicesConfig(**config))
    return {column.name: column for column in found}, missing


def test_the_lowest_and_the_highest_fifth_of_a_property_are_slices(stages):
    found, _ = read(stages())
    brightness = found["brightness"]
    assert brightness.slices == ("dark (below 10)", "bright (above 39)")
    assert (brightness.groups[:10] == "dark (below 10)").all()
    assert (brightness.groups[-10:] == "bright (above 39)").all()
    assert (brightness.groups[10:40] == "between").all()
    assert set(found) == {"brightness", "contrast", "sharpness"}


def test_what_is_the_same_for_all_or_known_of_none_divides_nothing(stages):
    found, _ = read(stages(mean=pa.array([5.0] * N, pa.float32()), sharpness=pa.nulls(N, pa.float32())))
    assert set(found) == {"contrast"}


def test_rows_are_found_by_the_ids_of_the_evaluated_images(stages):
    found, _ = read(stages(), IDS[::-2])
    assert found["brightness"].groups[0].startswith("bright")
    assert found["brightness"].groups[-1].startswith("dark")


def test_an_image_that_no_stage_knows_is_an_integrity_error(stages):
    with pytest.raises(errors.IntegrityError, match="1 of 2 that"):
        read(stages(), [IDS[0], "f" * 32])


def test_issues_and_sources_are_slices(stages):
    issues = pa.array([["dark", "no_face"] if row < 3 else [] for row in range(N)], pa.list_(pa.string()))
    found, missing = read(stages(issues=issues, source=["one", "two"] * 25))
    assert found["issue: no face"].slices == ("no face",)
    assert (found["issue: dark"].groups[:4].tolist()) == ["dark", "dark", "dark", "none"]
    assert found["source"].slices == ("one", "two")
    assert not any(line.startswith("sources") for line in missing)


def test_people_are_told_apart_without_being_named(stages):
    found, missing = read(stages(subject=["Ada"] * 20 + ["Grace"] * 20 + [None] * 10))
    subject = found["subject"]
    assert len(subject.slices) == 2
    assert not {"Ada", "Grace"} & set(subject.groups)
    assert subject.groups[-1] is None
    assert not any(line.startswith("people") for line in missing)


def test_groups_are_found_in_paths_where_they_are_declared(stages):
    paths = [f"faces/{row}_{row % 2}.png" for row in range(40)] + [f"{row}.png" for row in range(10)]
    found, missing = read(stages(path=paths), patterns={"gender": "_([01])", "age": "age([0-9]+)"})
    assert found["gender"].slices == ("0", "1")
    assert found["gender"].groups[-1] is None
    assert "age: no path that slices.patterns matches" in missing


def test_a_group_that_only_some_paths_name_is_a_slice(stages):
    paths = [f"masked/{row}.png" if row < 20 else f"{row}.png" for row in range(N)]
    assert read(stages(path=paths), patterns={"mask": "(masked)/"})[0]["mask"].slices == ("masked",)


def test_groups_of_tables_are_slices_and_many_numbers_are_divided_at_their_fifths(stages):
    groups = [[("age", str(row)), ("gender", "fm"[row % 2])] if row < 40 else None for row in range(N)]
    found, missing = read(stages(groups=pa.array(groups, GROUPS)))
    assert found["gender"].slices == ("f", "m")
    assert set(found["age"].slices) == {"0 to 7", "8 to 15", "16 to 23", "24 to 31", "32 to 39"}
    assert found["age"].groups[40] is None
    assert not any("names no group" in line for line in missing)


def test_few_numbers_are_groups_as_they_are(stages):
    groups = [[("fold", str(row % 3))] for row in range(N)]
    assert read(stages(groups=pa.array(groups, GROUPS)))[0]["fold"].slices == ("0", "1", "2")


def test_data_that_names_no_group_says_what_was_not_evaluated(stages):
    _, missing = read(stages())
    assert any("the data names no group" in line for line in missing)
    assert any("does not say who is shown" in line for line in missing)


def test_a_pattern_must_have_a_group():
    with pytest.raises(ValidationError, match="must have a group"):
        SlicesConfig(patterns={"gender": "_[01]"})
