"""Stage 3: the manifest against its contract, by Great Expectations.

Out: `accepted.parquet` and `quarantine.parquet` (the manifest's schema), `validation.json` and `data_docs/index.html`.
Pixels are never validated, only the manifest's columns about them.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from data_contracts import files
from data_contracts import manifest as contract
from data_contracts.rules import Rule
from fer.curation.refs import ValidationRef
from fer.engine import contracts, disk, stage
from fer.engine import workspace as workspaces
from fer.engine.records import Record
from fer.ingest.naming import label_advice
from fer.ingest.refs import ManifestRef
from fer.progress import Progress

_BATCH_ROWS = 65_536
_FEW_IMAGES = "class with too few images"  # how the finding of `data_contracts.manifest` begins
_EXAMPLES = 5


class ValidateConfig(Record):
    """How much of a source may be bad."""

    min_side_px: int = Field(default=8, ge=1, description="images with a shorter side go to quarantine")
    max_side_px: int = Field(default=8_192, ge=1, description="images with a longer side go to quarantine")
    min_images_per_class: int = Field(default=10, ge=1, description="fewer accepted images in a class stop the run")
    max_quarantined_share: float = Field(
        default=0.05, ge=0, le=1, description="a larger share of images in quarantine stops the run"
    )


@stage.stage("validate")
def validate(
    out: Path,
    manifest: ManifestRef,
    config: ValidateConfig,
    *,
    workspace: workspaces.Workspace,
    progress: Progress,
) -> ValidationRef:
    """Check the manifest, and separate its images into accepted ones and quarantine.

    Bad data raises nothing here: `failures` of the Ref has a line for each broken rule of severity `stop`.
    Raises ContractViolation for a manifest with other columns.
    """
    path = workspace.folder(manifest) / files.MANIFEST
    rules = contract.rules(manifest.classes, **config.model_dump())
    checks = contracts.Checks("manifest", rules, progress)
    checks.run("columns", pq.read_schema(path).empty_table(), str)
    checks.stop_if_broken("remove the index stage's output and run the same command again")

    checks.run("files", _read(path, rules, "files"), _path)
    images = _read(path, rules, "images", "status")
    decoded = pc.equal(images["status"], contract.ACCEPTED)
    images = images.filter(decoded)
    checks.run("images", images, _path)
    taken_out = checks.quarantined("images")

    counts = pc.value_counts(images["label"].filter(taken_out.is_null()))
    per_class = dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))
    classes = {label: per_class.get(label, 0) for label in manifest.classes}
    checks.run(
        "classes",
        pa.table({"label": list(classes), "n_images": list(classes.values())}),
        lambda row: f"{row['label']} ({row['n_images']:,})",
    )
    kept = {label for label, n_images in classes.items() if n_images >= config.min_images_per_class}
    advice = "" if len(kept) == len(classes) else _advice(path, kept, manifest)
    n_found, n_accepted = len(decoded), taken_out.null_count
    n_out = n_found - n_accepted
    totals = {"n_found": n_found, "n_quarantined": n_out, "quarantined_share": n_out / max(n_found, 1)}
    checks.run("totals", pa.Table.from_pylist([totals]), lambda row: f"{row['n_quarantined']:,} of {row['n_found']:,}")
    checks.build_docs(out / files.DOCS)
    del images

    by_reason = _write_separated(path, out, _spread(taken_out, decoded))
    ref = ValidationRef(
        classes=manifest.classes,
        n_found=n_found,
        n_accepted=n_accepted,
        quarantined={reason: refused.n_images for reason, refused in by_reason.items()},
        failures=tuple(
            f"{line}; to train on the others: {advice}" if advice and line.startswith(_FEW_IMAGES) else line
            for line in checks.lines("stop")
        ),
        warnings=checks.lines("warn"),
    )
    report = ref.model_dump(exclude={"path", "digest"}) | {
        "config": config.model_dump(),
        "images_per_class": classes,
        "quarantine_examples": {reason: refused.examples for reason, refused in by_reason.items()},
        "rules": checks.records(),
    }
    disk.write(out / files.VALIDATION_REPORT, json.dumps(report, indent=1).encode())
    content = disk.sha256(out / files.ACCEPTED) + disk.sha256(out / files.VALIDATION_REPORT)
    return ref.model_copy(update={"digest": hashlib.sha256(content.encode()).hexdigest()})


def _advice(path: Path, kept: set[str], manifest: ManifestRef) -> str:
    """The settings that leave the classes out which have too few images; "" where no such settings do."""
    rows = pq.read_table(path, columns=["label", "raw_label"])
    few = pa.array([label for label in manifest.classes if label not in kept], pa.string())
    raw_labels = pc.unique(rows["raw_label"].filter(pc.is_in(rows["label"], few))).to_pylist()
    return label_advice.classes_line(
        kept, sorted(raw_labels), manifest.classes, manifest.synonyms, manifest.ignore_labels
    )


def _path(row: dict[str, Any]) -> str:
    return str(row["path"])


def _read(path: Path, rules: Sequence[Rule], frame: str, *more: str) -> pa.Table:
    """The columns of the manifest that the frame's rules look at, `path` and `more`."""
    columns = {column for rule in rules if rule.frame == frame for column in rule.columns}
    return pq.read_table(path, columns=sorted({*columns, "path", *more}))


def _spread(findings: pa.Array, decoded: pa.ChunkedArray) -> pa.Array:
    """For each file the finding of its image; null where it has none or was not decoded."""
    is_decoded = decoded.to_numpy()
    return findings.take(pa.array(np.cumsum(is_decoded) - 1, mask=~is_decoded))


class _Refused:
    """The images in quarantine for one reason."""

    def __init__(self) -> None:
        self.n_images = 0
        self.examples: list[str] = []

    def add(self, path: str) -> None:
        self.n_images += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append(path)


def _write_separated(manifest: Path, out: Path, findings: pa.Array) -> dict[str, _Refused]:
    """Write `accepted.parquet` and `quarantine.parquet`, batch by batch; `findings` join what already is in quarantine.

    Returns the reasons of those in quarantine, the most frequent first.
    """
    reasons: dict[str, _Refused] = {}
    start = 0
    with (
        pq.ParquetFile(manifest) as file,
        pq.ParquetWriter(out / files.ACCEPTED, contract.SCHEMA) as accepted,
        pq.ParquetWriter(out / files.QUARANTINE, contract.SCHEMA) as quarantine,
    ):
        for batch in file.iter_batches(_BATCH_ROWS):
            table = pa.Table.from_batches([batch]).cast(contract.SCHEMA)
            finding = findings.slice(start, len(table))
            start += len(table)
            table = _set(table, "status", pc.if_else(finding.is_valid(), contract.QUARANTINED, table["status"]))
            table = _set(table, "reason", pc.coalesce(finding, table["reason"]))
            is_accepted = pc.equal(table["status"], contract.ACCEPTED)
            accepted.write_table(table.filter(is_accepted))
            refused = table.filter(pc.invert(is_accepted))
            quarantine.write_table(refused)
            for path, reason in zip(refused["path"].to_pylist(), refused["reason"].to_pylist(), strict=True):
                reasons.setdefault(reason or "no reason given", _Refused()).add(path)
    return dict(sorted(reasons.items(), key=lambda item: -item[1].n_images))


def _set(table: pa.Table, name: str, values: pa.ChunkedArray) -> pa.Table:
    at = table.schema.get_field_index(name)
    return table.set_column(at, table.schema.field(at), values)
