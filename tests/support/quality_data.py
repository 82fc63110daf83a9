"""A small source with the outputs of all stages before the data quality report, and that report, read."""

import hashlib
import html.parser
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts import curation as curation_contract
from data_contracts import files
from data_contracts import manifest as contract
from fer.curation import curate, drift, split
from fer.curation.refs import InspectionRef, SplitRef, ValidationRef
from fer.engine import contracts
from fer.engine.local_workspace import LocalWorkspace
from fer.ingest.refs import ManifestRef
from fer.reports.quality import stage as quality
from fer.reports.refs import DataRefs

CLASSES = ("happy", "sad")
INSPECTED = {
    "near_duplicate_correlation": 0.93,
    "aligned_duplicates": True,
    "aligned_duplicate_correlation": 0.96,
    "max_label_share": 0.125,
}
SIDE = contract.THUMBNAIL_SIDE
VOID = {"meta", "img", "br"}


def digest(text):
    return hashlib.sha256(str(text).encode()).hexdigest()


def pixels(seed):
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)


class Data:
    """A small source with the outputs of the stages before the report: 4 images per class and split, and some defects.

    Images 0 and 24 are identical, with one label, in train and test; 1 and 25 with two labels, in train; 2 is blank.
    The label of 3 is in doubt; 4 and 5 are near-duplicates; 2 files can't be decoded.
    """

    def __init__(self, root):
        self.workspace = LocalWorkspace(root)
        self.rows = [self.row(number) for number in range(24)]
        self.rows += [
            self.row(24, pixel_sha256=digest(0), label="happy", raw_split="test"),
            self.row(25, pixel_sha256=digest(1), label="happy", raw_split="train"),
        ]
        self.rows[2] |= {"std": 0.0}
        self.refused = [
            self.row(26 + number, status=contract.QUARANTINED, reason="the file is empty", **UNREADABLE)
            for number in range(2)
        ]
        self.source = SOURCE
        self.named = ("archive:faces.zip",)
        self.splits = split.SplitConfig()
        self.ignored = {".txt": 3}
        self.label_errors = 1
        self.failures, self.warnings = (), ()

    @staticmethod
    def row(number, **differing):
        label = CLASSES[number % 2]
        return {
            "image_id": digest(f"id {number}")[:32],
            "source": SOURCE,
            "path": f"{label}/{number:03d}.png",
            "raw_label": label,
            "label": label,
            "raw_split": ("train", "validation", "test")[number // 2 % 3],
            "size_bytes": 100,
            "format": "PNG",
            "width": 48 + number,
            "height": 48,
            "file_sha256": digest(number),
            "pixel_sha256": digest(number),
            "mean": 100.0 + number,
            "std": 50.0,
            "p05": 20.0,
            "p99": 230.0,
            "entropy": 7.0,
            "sharpness": 0.7,
            "status": contract.ACCEPTED,
            "part": number // 10,
            "row": number % 10,
        } | differing

    def commit(self, stage, ref_type, produce):
        key = digest(json.dumps([self.rows, self.refused, self.source, stage, str(self.label_errors), self.failures]))
        return self.workspace.run(stage, key, ref_type, produce, resumable=False)

    def manifest(self):
        def produce(out):
            rows = [*self.rows, *self.refused]
            write(out / files.MANIFEST, rows, contract.SCHEMA)
            (out / files.THUMBNAILS).mkdir()
            for number in range(3):
                thumbnails = [{"pixels": pixels(10 * number + at).tobytes()} for at in range(10)]
                write(out / files.THUMBNAILS / files.part(number), thumbnails, contract.THUMBNAIL_SCHEMA)
            return ManifestRef(
                source=self.source, layouts=("class folders",), classes=CLASSES, n_found=len(rows), n_quarantined=2,
                ignored=self.ignored,
            )  # fmt: skip

        return self.commit("index", ManifestRef, produce)

    def validation(self):
        def produce(out):
            write(out / files.ACCEPTED, self.rows, contract.SCHEMA)
            write(out / files.QUARANTINE, self.refused, contract.SCHEMA)
            rule = contracts.Outcome(
                dataset="manifest", id="image_id_unique", frame="files", expectation="unique", arguments={},
                severity="stop", finding="image_id occurs more than once", why="models are paired by it",
                passed=not self.failures, n_checked=28, n_broken=len(self.failures), examples=self.failures,
            )  # fmt: skip
            record = {"rules": [rule.model_dump(mode="json")], "config": {"min_side_px": 8}}
            (out / "validation.json").write_text(json.dumps(record))
            return ValidationRef(
                classes=CLASSES, n_found=len(self.rows) + 2, n_accepted=len(self.rows), quarantined={},
                failures=self.failures, warnings=self.warnings,
            )  # fmt: skip

        return self.commit("validate", ValidationRef, produce)

    def inspection(self):
        duplicates = [
            (self.rows[at]["image_id"], self.rows[other]["image_id"]) for at, other in ((0, 24), (1, 25), (4, 5))
        ]
        pairs = sorted((*sorted(pair), 0.93 if at == 2 else 1.0) for at, pair in enumerate(duplicates))
        group = {image_id: first for first, second, _ in pairs for image_id in (first, second)}

        def produce(out):
            findings = [
                {
                    "image_id": row["image_id"],
                    "duplicate_group": group.get(row["image_id"], row["image_id"]),
                    "outlier_score": 1.0,
                    "face_score": row.get("face_score", 0.9),
                }
                for row in self.rows
            ]
            findings.sort(key=lambda row: row["image_id"])
            write(out / files.FINDINGS, findings, curation_contract.FINDINGS)
            rows = [
                {"first": a, "second": b, "kind": "near" if value < 1 else "identical", "correlation": value}
                for a, b, value in pairs
            ]
            write(out / files.PAIRS, rows, curation_contract.PAIRS)
            (out / "inspect.json").write_text(json.dumps({"config": INSPECTED}))
            return InspectionRef(n_images=len(findings), n_pairs=3, n_groups=3)

        return self.commit("inspect", InspectionRef, produce)

    def with_label_errors(self, split_ref):
        """The split with label errors, if they are looked for."""

        def produce(out):
            shutil.copytree(self.workspace.folder(split_ref), out, dirs_exist_ok=True)
            labels = {row["image_id"]: (number, row["label"]) for number, row in enumerate(self.rows)}
            rows = [
                {
                    "image_id": row["image_id"],
                    "split": row["split"],
                    "label": row["label"],
                    "suggested_label": "happy",
                    "label_quality": 0.05,
                    "is_label_error": labels[row["image_id"]][0] == 3,
                    "action": "keep",
                }
                for row in pq.read_table(out / files.SPLIT).to_pylist()
                if row["split"] != "excluded"
            ]
            write(out / files.LABEL_ERRORS, rows, curation_contract.LABEL_ERRORS)
            in_doubt = [row for row in rows if row["is_label_error"]]
            suggested = {row["label"]: {"happy": 1} for row in in_doubt}
            by_split = {name: sum(row["split"] == name for row in in_doubt) for name in files.SPLITS}
            (out / "label_errors.json").write_text(json.dumps({"suggested_labels": suggested, "by_split": by_split}))
            counts = {"n_label_errors": by_split["train"], "n_label_errors_held_out": by_split["validation"]}
            return split_ref.model_copy(update={"path": "", "digest": split_ref.digest, **counts})

        if not self.label_errors:
            return split_ref
        return self.commit(f"label errors {split_ref.digest[:8]}", SplitRef, produce)

    def stage_refs(self, before=None):
        """The Refs of all stages before the report; `before` is the `Data` that was accepted last."""
        manifest, validation, inspection = self.manifest(), self.validation(), self.inspection()
        if self.failures:
            return [manifest, validation, None, None, None, None]
        last = None if before is None else before.validation()
        curation = curate.curate(validation, inspection, curate.CurateConfig(), self.splits, workspace=self.workspace)
        split_ref = self.with_label_errors(
            split.split(curation, inspection, None, self.splits, workspace=self.workspace)
        )
        change = drift.drift(validation, last, None, drift.DriftConfig(), workspace=self.workspace)
        return [manifest, validation, inspection, curation, split_ref, change]

    def read_json(self, ref, name):
        return json.loads((self.workspace.folder(ref) / name).read_bytes())

    def report(self, show_faces=False, before=None, refs=None, problem=None, further=()):
        data_refs = DataRefs(*(refs or self.stage_refs(before)))
        ref = quality.quality(data_refs, self.named, problem, further, show_faces, workspace=self.workspace)
        return Report(self.workspace, ref)


class Report:
    def __init__(self, workspace, ref):
        self.ref = ref
        self.folder = workspace.folder(ref)
        self.page = (self.folder / quality.HTML).read_text()
        self.json = json.loads((self.folder / quality.JSON).read_text())
        self.tree = Page(self.page)


class Page(html.parser.HTMLParser):
    """A parsed page: its tags in order and its text; unbalanced tags fail."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.pieces, self._open = [], [], []
        self.feed(page)
        self.close()
        assert not self._open
        self.text = " ".join(" ".join(self.pieces).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] != "style":
            self.pieces.append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


SOURCE = f"archive:sha256:{digest('faces.zip')}"
UNREADABLE = dict.fromkeys(
    ("format", "width", "height", "pixel_sha256", "mean", "std", "p05", "p99", "entropy", "sharpness")
)


def write(path, rows, schema):
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
