"""Images, pairs and earlier splits for the tests of how splits are assigned."""

import hashlib
import json
from collections import Counter
from itertools import combinations

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from data_contracts import curation as curation_contract
from data_contracts import files
from data_contracts import split as split_contract
from fer import progress
from fer.curation import assignment, groups, split
from fer.curation.refs import CurationRef, InspectionRef

CLASSES = ("happy", "sad", "surprise")
RAW_SPLITS = {"Training": "train", "PublicTest": "validation", "PrivateTest": "test"}


def sha(pixels):
    return hashlib.sha256(str(pixels).encode()).hexdigest()


def image(number, label="happy", pixels=None, raw_split=None, subject=None, action="keep"):
    """A row of curation.parquet; `pixels` names its content, unique by default."""
    return {
        "image_id": f"{number:032x}",
        "pixel_sha256": sha(number if pixels is None else f"content {pixels}"),
        "label": label,
        "class_index": CLASSES.index(label),
        "raw_split": raw_split,
        "subject": subject,
        "duplicate_group": f"{number:032x}",
        "issues": [] if action == "keep" else ["label_error"],
        "action": action,
        "reason": None if action == "keep" else "label_error",
        "part": 0,
        "row": number,
    }


def table_of(images):
    return pa.Table.from_pylist(images, schema=curation_contract.CURATION).sort_by("image_id")


def pairs_of(pairs, kind="near"):
    rows = [
        {"first": first["image_id"], "second": second["image_id"], "kind": kind, "correlation": 0.95}
        for first, second in pairs
    ]
    return pa.Table.from_pylist(rows, schema=curation_contract.PAIRS)


def assign(images, pairs=(), before=None, sources=(), kind="near", rotates=False, **config):
    """(image_id -> (split or None, reason, is_clean, pixel_sha256), the SplitResult); `before` is such a dict."""
    table = table_of(images)
    links = groups.read(table, pairs_of(pairs, kind))
    history = None
    if before is not None:
        earlier = [
            {"image_id": image_id, "pixel_sha256": pixels, "split": in_split, "was_tested": False}
            for image_id, (in_split, _, _, pixels) in before.items()
            if in_split is not None
        ]
        assignments = pa.Table.from_pylist(earlier, schema=split_contract.ASSIGNMENTS)
        history = split.history_of(table, split.retired(assignments) if rotates else assignments, rotates=rotates)
    result = split.assign(table, links, history, split.SplitConfig(**config), dict(sources))
    names = [None if in_split == assignment.NONE else files.SPLITS[in_split] for in_split in result.splits]
    rows = zip(
        table["image_id"].to_pylist(), names, result.reasons, result.is_clean, table["pixel_sha256"], strict=True
    )
    assigned = {
        image_id: (in_split, reason, bool(clean), str(pixels)) for image_id, in_split, reason, clean, pixels in rows
    }
    return assigned, result


def splits_of(images, assigned):
    return [assigned[row["image_id"]][0] for row in images]


def reasons_of(images, assigned):
    return [assigned[row["image_id"]][1] for row in images]


def related(images, pairs):
    """All pairs of images that must not be in two splits, by comparing every pair."""
    near = {frozenset((a["pixel_sha256"], b["pixel_sha256"])) for a, b in pairs}
    for one, other in combinations(images, 2):
        same_subject = one["subject"] is not None and one["subject"] == other["subject"]
        contents = frozenset((one["pixel_sha256"], other["pixel_sha256"]))
        if same_subject or len(contents) == 1 or contents in near:
            yield one, other


def assert_none_straddles(images, pairs, assigned):
    for one, other in related(images, pairs):
        splits = {assigned[row["image_id"]][0] for row in (one, other)} - {None}
        assert len(splits) < 2


def assert_all_accounted_for(images, assigned):
    assert assigned.keys() == {row["image_id"] for row in images}
    for row in images:
        in_split, reason, is_clean, _ = assigned[row["image_id"]]
        if row["action"] == "quarantine":
            assert (in_split, reason) == (None, None)
        else:
            assert (in_split is None) == (reason is not None)
        assert in_split is not None or not is_clean


@st.composite
def data(draw, raw_splits=(None,), actions=("keep", "keep", "keep", "drop", "quarantine"), max_size=40):
    """Images, some identical, some of one subject, and pairs of near-duplicates among them."""
    described = st.tuples(
        st.sampled_from(CLASSES),
        st.integers(0, 25),
        st.sampled_from(raw_splits),
        st.sampled_from([None, None, None, "ann", "bob", "cleo", "dan"]),
        st.sampled_from(actions),
    )
    images = [image(n, *fields) for n, fields in enumerate(draw(st.lists(described, min_size=1, max_size=max_size)))]
    ends = st.tuples(st.sampled_from(images), st.sampled_from(images))
    pairs = draw(st.lists(ends.filter(lambda pair: pair[0] is not pair[1]), max_size=12))
    return images, pairs


OFFICIAL = st.sampled_from([("train", "test"), ("train",), tuple(RAW_SPLITS)])


def counted(images, assigned):
    return Counter((row["label"], in_split) for row, in_split in zip(images, splits_of(images, assigned), strict=True))


def committed(workspace, images, pairs=(), sources=None):
    """Refs of outputs of the curation and inspection stages with these images."""
    key = hashlib.sha256(json.dumps([images, list(pairs)]).encode()).hexdigest()

    def curation(out):
        pq.write_table(pa.Table.from_pylist(images, schema=curation_contract.CURATION), out / files.CURATION)
        (out / "curation.json").write_text(json.dumps({"sources": sources or {}}))
        return CurationRef(classes=CLASSES, issues={}, dropped={}, quarantined={}, failures=())

    def inspection(out):
        pq.write_table(pairs_of(pairs), out / files.PAIRS)
        return InspectionRef(n_images=len(images), n_pairs=len(pairs), n_groups=0)

    return (
        workspace.run("curate", key, CurationRef, curation, resumable=False),
        workspace.run("inspect", key, InspectionRef, inspection, resumable=False),
    )


def run(workspace, images, config=None, previous=None, pairs=()):
    curation, inspection = committed(workspace, images, pairs)
    return split.split(
        curation, inspection, previous, config or split.SplitConfig(), workspace=workspace, progress=progress.silent
    )


def read(workspace, split_ref):
    return pq.read_table(workspace.folder(split_ref) / files.SPLIT)


def report(workspace, split_ref):
    return json.loads((workspace.folder(split_ref) / files.SPLIT_REPORT).read_bytes())
