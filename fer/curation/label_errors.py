"""Stage 7: label errors. A model of train's labels doubts those of train, and the policy acts on these alone.

It comes after the split, since a model of all labels would carry the test's into the choice of what is trained on, and
a test without the images that a model doubts would flatter every model. The labels of validation and test are compared
with the same model for the report; whatever it says, their images stay where they are, with the labels that they have.

Out: the split (`split.parquet`, `assignments.parquet`, `split.json`) without the images of train that the policy takes
out, `label_errors.parquet` (data_contracts.curation.LABEL_ERRORS), and `label_errors.json`.
"""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts import curation as curation_contract
from data_contracts import files
from data_contracts import split as split_contract
from fer.curation import confident_learning, curate, groups, inspect, split
from fer.curation.refs import CurationRef, InspectionRef, SplitRef
from fer.engine import stage
from fer.engine.records import Record
from fer.engine.workspace import Workspace
from fer.ingest.refs import ManifestRef
from fer.progress import Progress

REASONS = split_contract.LABEL_ERROR


class LabelErrorConfig(Record):
    """How label errors are looked for (see `confident_learning.find`), and what is done about those of train."""

    max_label_share: float
    folds: int
    seed: int
    policy: curate.Policy

    @classmethod
    def of(cls, config: inspect.InspectConfig, policy: curate.Policy) -> "LabelErrorConfig":
        """The part of inspection's settings that is about labels, with the policy of curation."""
        return cls(max_label_share=config.max_label_share, folds=config.folds, seed=config.seed, policy=policy)


@stage.stage("label errors")
def label_errors(
    out: Path,
    manifest: ManifestRef,
    curation: CurationRef,
    inspection: InspectionRef,
    split_ref: SplitRef,
    config: LabelErrorConfig,
    *,
    workspace: Workspace,
    progress: Progress,
) -> SplitRef:
    """The split `split_ref` without the images of train that the policy drops or quarantines because of their label.

    Doubts about train are out of fold; a fold divides no duplicates and no subject. Where nothing is taken out, the
    digest is that of `split_ref`. Images taken out keep their split in `assignments.parquet`.
    """
    policy = config.policy
    folder = workspace.folder(split_ref)
    images = pq.read_table(folder / files.SPLIT)
    used = images.filter(pc.not_equal(images["split"], split_contract.EXCLUDED))
    is_train = np.asarray(pc.equal(used["split"], "train").to_numpy(), bool)
    doubts = confident_learning.find(
        inspect.read_thumbnails(workspace.folder(manifest) / files.THUMBNAILS, used),
        used["class_index"].to_numpy(),
        _split_groups(used["image_id"], workspace.folder(curation), workspace.folder(inspection)),
        learned=is_train,
        folds=config.folds,
        max_share=config.max_label_share,
        seed=config.seed,
        progress=progress,
    )
    table = _table(used, doubts, split_ref.classes, policy)
    pq.write_table(table, out / files.LABEL_ERRORS)
    removed = table.filter(pc.not_equal(table["action"], "keep"))
    if len(removed):
        pq.write_table(_without(images, removed, policy), out / files.SPLIT, row_group_size=split.ROW_GROUP)
    else:
        shutil.copyfile(folder / files.SPLIT, out / files.SPLIT)
    shutil.copyfile(folder / files.ASSIGNMENTS, out / files.ASSIGNMENTS)
    in_doubt = table.filter(table["is_label_error"])
    ref = _ref(split_ref, images, removed, in_doubt, policy, is_checked=doubts is not None)
    ref = ref.model_copy(update={"path": "", "digest": split.digest(out)})
    before = json.loads((folder / files.SPLIT_REPORT).read_bytes())
    after = before | ref.model_dump(mode="json", exclude={"path", "digest"})
    (out / files.SPLIT_REPORT).write_text(json.dumps(after, indent=1))
    (out / files.LABEL_ERRORS_REPORT).write_text(json.dumps(_report(in_doubt, config), indent=1))
    return ref


def _split_groups(image_ids: pa.ChunkedArray, curation: Path, inspection: Path) -> list[str]:
    """A name for each image's split group: all that duplicates and subjects connect with it."""
    images = split.read_images(curation / files.CURATION)
    links = groups.read(images, pq.read_table(inspection / files.PAIRS, columns=["first", "second", "kind"]))
    rows = pc.index_in(image_ids, value_set=images["image_id"].combine_chunks()).to_numpy()
    return [links.split_group_keys[number] for number in links.split_group[rows].tolist()]


def _table(
    used: pa.Table, doubts: confident_learning.Doubts | None, classes: tuple[str, ...], policy: curate.Policy
) -> pa.Table:
    """data_contracts.curation.LABEL_ERRORS of the images in `used`."""
    n = len(used)
    is_error = np.zeros(n, bool) if doubts is None else doubts.is_error
    acted_on = pc.and_(pa.array(is_error & (policy in REASONS)), pc.equal(used["split"], "train"))
    columns = {
        "suggested_label": pa.nulls(n) if doubts is None else pa.array(classes).take(pa.array(doubts.suggested)),
        "label_quality": pa.nulls(n) if doubts is None else pa.array(doubts.quality),
        "is_label_error": pa.array(is_error),
        "action": pc.if_else(acted_on, policy, "keep"),
    }
    schema = curation_contract.LABEL_ERRORS
    arrays = [(columns[name] if name in columns else used[name]).cast(schema.field(name).type) for name in schema.names]
    return pa.table(arrays, schema=schema)


def _without(images: pa.Table, removed: pa.Table, policy: curate.Policy) -> pa.Table:
    """`images` (data_contracts.split.SCHEMA) with those `removed` excluded."""
    is_removed = pc.is_in(images["image_id"], value_set=removed["image_id"].combine_chunks())
    columns = {
        "split": pc.if_else(is_removed, split_contract.EXCLUDED, images["split"]),
        "reason": pc.if_else(is_removed, REASONS[policy], images["reason"]),
        "is_clean": pc.and_(images["is_clean"], pc.invert(is_removed)),
    }
    return pa.table([columns.get(name, images[name]) for name in images.column_names], schema=split_contract.SCHEMA)


def _ref(
    split_ref: SplitRef,
    images: pa.Table,
    removed: pa.Table,
    in_doubt: pa.Table,
    policy: curate.Policy,
    *,
    is_checked: bool,
) -> SplitRef:
    n_removed = Counter(removed["label"].to_pylist())
    n_clean = pc.sum(pc.and_(images["is_clean"], pc.is_in(images["image_id"], removed["image_id"].combine_chunks())))
    doubted = Counter(in_doubt["split"].to_pylist())
    n_held_out = doubted["validation"] + doubted["test"]
    stops = policy == "stop" and doubted["train"]
    return split_ref.model_copy(
        update={
            "counts": split_ref.counts
            | {"train": {label: count - n_removed[label] for label, count in split_ref.counts["train"].items()}},
            "n_clean": split_ref.n_clean | {"train": split_ref.n_clean["train"] - (n_clean.as_py() or 0)},
            "excluded": split_ref.excluded | ({REASONS[policy]: len(removed)} if len(removed) else {}),
            "n_label_errors": doubted["train"] if is_checked else None,
            "n_label_errors_held_out": n_held_out if is_checked else None,
            "failures": (
                *split_ref.failures,
                *([f"{doubted['train']:,} images of train: label error: policy stop"] if stops else []),
            ),
        }
    )


def _report(in_doubt: pa.Table, config: LabelErrorConfig) -> dict[str, object]:
    changes = Counter(zip(in_doubt["label"].to_pylist(), in_doubt["suggested_label"].to_pylist(), strict=True))
    suggested: dict[str, dict[str, int]] = {}
    for (label, other), count in sorted(changes.items(), key=lambda change: (-change[1], change[0])):
        suggested.setdefault(label, {})[other] = count
    by_split = Counter(in_doubt["split"].to_pylist())
    return {
        "config": config.model_dump(),
        "by_split": {name: by_split[name] for name in files.SPLITS},
        "suggested_labels": suggested,  # given -> suggested -> images
    }
