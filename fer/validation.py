"""Stage 3: the manifest against its contract, by Great Expectations.

Out: `accepted.parquet` and `quarantine.parquet` (the manifest's schema), `validation.json` and `data_docs/index.html`.
Pixels are never validated, only what the manifest says of them.
"""

import dataclasses
import hashlib
import json
import logging
import re
import shutil
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from data_contracts import manifest as contract
from fer import index, refs, stage
from fer import workspace as workspaces
from fer.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

ACCEPTED = "accepted.parquet"
QUARANTINE = "quarantine.parquet"
REPORT = "validation.json"
DATA_DOCS = "data_docs"
_FRAMES: tuple[contract.Frame, ...] = ("files", "images", "accepted", "classes", "totals")
_EXAMPLES = 5
_LEVELS = {"stop": "critical", "quarantine": "warning", "warn": "info"}  # ours -> Great Expectations'
# Data Docs load their logos from the vendor's server, with the time of the build in the address.
_NO_IMAGE = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
_VENDOR_IMAGES = re.compile(r"https://great-expectations-web-assets\.[^\"')\s]*")


class ValidateConfig(BaseModel):
    """How much of a source may be bad."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_side_px: int = Field(default=8, ge=1, description="images with a shorter side go to quarantine")
    max_side_px: int = Field(default=8_192, ge=1, description="images with a longer side go to quarantine")
    min_images_per_class: int = Field(default=10, ge=1, description="fewer accepted images in a class stop the run")
    max_quarantined_share: float = Field(
        default=0.05, ge=0, le=1, description="a larger share of images in quarantine stops the run"
    )


@dataclasses.dataclass(frozen=True)
class _Outcome:
    """What came of a rule: `broken` are the index labels of the rows of its frame that break it."""

    rule: contract.Rule
    passed: bool
    n_checked: int
    broken: tuple[int, ...]
    examples: tuple[str, ...]  # paths, or what was observed

    def line(self) -> str:
        """For people: what is wrong, in how many rows, for example which."""
        rows = f"{len(self.broken):,} of {self.n_checked:,}, e.g. " if self.rule.frame != "totals" else ""
        return f"{self.rule.finding}: {rows}{', '.join(self.examples)}"

    def record(self) -> dict[str, Any]:
        """For machines, as in `validation.json`."""
        return dataclasses.asdict(self.rule) | {
            "passed": self.passed,
            "n_checked": self.n_checked,
            "n_broken": len(self.broken),
            "examples": self.examples,
        }


@stage.stage("validate")
def validate(
    out: Path,
    manifest: refs.ManifestRef,
    config: ValidateConfig,
    *,
    workspace: workspaces.Workspace,
    progress: Progress,
) -> refs.ValidationRef:
    """Check the manifest, and divide it into accepted images and quarantine.

    Bad data raises nothing here: `failures` of the Ref has a line for each broken rule of severity `stop`.
    """
    import pandas as pd

    table = pq.read_table(workspace.folder(manifest) / index.MANIFEST)
    files = table.to_pandas()
    checks = _Checks(contract.rules(manifest.classes, **config.model_dump()), out / DATA_DOCS, progress)

    checks.run("files", files)
    decoded = files[files["status"] == contract.ACCEPTED]
    checks.run("images", decoded)
    findings = checks.quarantined()
    accepted = decoded.drop(index=list(findings))
    accepted = accepted.assign(n_labels=accepted.groupby("pixel_sha256")["label"].transform("nunique"))
    checks.run("accepted", accepted)
    per_class = Counter(accepted["label"])
    classes = [{"label": label, "n_images": per_class[label]} for label in manifest.classes]
    checks.run("classes", pd.DataFrame(classes))
    n_out = len(files) - len(accepted)
    totals = {"n_found": len(files), "n_quarantined": n_out, "quarantined_share": n_out / max(len(files), 1)}
    checks.run("totals", pd.DataFrame([totals]))
    checks.build_docs()

    reasons = _write_divided(out, table, findings)
    ref = refs.ValidationRef(
        classes=manifest.classes,
        n_found=len(files),
        n_accepted=len(accepted),
        quarantined=dict(reasons.most_common()),
        n_redundant_copies=len(accepted) - accepted["pixel_sha256"].nunique(),
        failures=checks.lines("stop"),
        warnings=checks.lines("warn"),
    )
    report = ref.model_dump(exclude={"path", "digest"}) | {
        "config": config.model_dump(),
        "images_per_class": {each["label"]: each["n_images"] for each in classes},
        "n_groups_with_conflicting_labels": accepted.loc[accepted["n_labels"] > 1, "pixel_sha256"].nunique(),
        "rules": [each.record() for each in checks.outcomes],
    }
    workspaces.write_atomically(out / REPORT, json.dumps(report, indent=1).encode())
    content = workspaces.file_sha256(out / ACCEPTED) + json.dumps(ref.failures)
    return ref.model_copy(update={"digest": hashlib.sha256(content.encode()).hexdigest()})


def report(folder: Path) -> str:
    """The outcome in `folder` as Markdown."""
    found = json.loads((folder / REPORT).read_bytes())
    lines = [
        f"# {found['n_accepted']:,} of {found['n_found']:,} images accepted",
        "",
        *(f"- **stops the run** {each}" for each in found["failures"]),
        *(f"- quarantined: {count:,} {reason}" for reason, count in found["quarantined"].items()),
        *(f"- {each}" for each in found["warnings"]),
        f"- {found['n_redundant_copies']:,} redundant copies; "
        f"{found['n_groups_with_conflicting_labels']:,} groups of identical images with different labels",
        "",
        "| class | accepted images |",
        "| --- | ---: |",
        *(f"| {label} | {count:,} |" for label, count in found["images_per_class"].items()),
        "",
        "| rule | severity | outcome | why |",
        "| --- | --- | --- | --- |",
    ]
    for rule in found["rules"]:
        outcome = "✓" if rule["passed"] else f"✗ {rule['n_broken']:,} of {rule['n_checked']:,}"
        lines.append(f"| {rule['id']} | {rule['severity']} | {outcome} | {rule['why']} |")
    return "\n".join(lines) + "\n"


def _write_divided(out: Path, table: pa.Table, findings: dict[int, str]) -> Counter[str]:
    """Write `accepted.parquet` and `quarantine.parquet`; `findings` (row -> reason) join what already is in quarantine.

    Returns how many images are in quarantine for which reason.
    """
    status, reason = table["status"].to_pylist(), table["reason"].to_pylist()
    for row, finding in findings.items():
        status[row], reason[row] = contract.QUARANTINED, finding
    for name, values in (("status", status), ("reason", reason)):
        at = table.schema.get_field_index(name)
        table = table.set_column(at, table.schema.field(at), pa.array(values, pa.string()))
    taken = pa.array([each != contract.ACCEPTED for each in status], pa.bool_())
    quarantine = table.filter(taken)
    pq.write_table(table.filter(pa.array([each == contract.ACCEPTED for each in status], pa.bool_())), out / ACCEPTED)
    pq.write_table(quarantine, out / QUARANTINE)
    return Counter(each or "no reason given" for each in quarantine["reason"].to_pylist())


class _Checks:
    """The rules as Great Expectations suites, one a frame, and what came of them."""

    def __init__(self, rules: tuple[contract.Rule, ...], docs: Path, progress: Progress):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # `sre_parse`, on import
            import great_expectations as gx  # 4-10 s
            from great_expectations.data_context.types import base

        logging.getLogger(base.__name__).setLevel(logging.WARNING)  # it sets itself to INFO, whatever the root says

        shutil.rmtree(docs, ignore_errors=True)
        self.outcomes: list[_Outcome] = []
        self._rules = rules
        self._docs = docs
        self._progress = progress
        self._gx = gx
        self._context = gx.get_context(mode="ephemeral")
        self._context.variables.progress_bars = base.ProgressBarsConfig(globally=False, metric_calculations=False)
        self._context.delete_data_docs_site("local_site")
        site: Any = {  # its type leaves out the buttons
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs)},
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        }
        self._context.add_data_docs_site(DATA_DOCS, site)
        self._source = self._context.data_sources.add_pandas("manifest")
        self._run_id = gx.RunIdentifier(run_name="validate")

    def run(self, frame: contract.Frame, rows: "pd.DataFrame") -> None:
        """Check the frame's rules on its rows."""
        self._progress(_FRAMES.index(frame), len(_FRAMES), f"parts of the contract checked, now {frame}")
        from great_expectations.expectations.metadata_types import FailureSeverity
        from great_expectations.expectations.registry import get_expectation_impl

        rules = [each for each in self._rules if each.frame == frame]
        expectations = [
            get_expectation_impl(each.expectation)(
                **each.arguments,
                severity=FailureSeverity(_LEVELS[each.severity]),
                notes=f"{each.severity}: {each.finding}. Why: {each.why}.",
                meta={"id": each.id},
            )
            for each in rules
        ]
        suite = self._context.suites.add(self._gx.ExpectationSuite(name=frame, expectations=expectations))
        batch = self._source.add_dataframe_asset(frame).add_batch_definition_whole_dataframe(frame)
        definition = self._context.validation_definitions.add(
            self._gx.ValidationDefinition(name=frame, data=batch, suite=suite)
        )
        result = definition.run(
            batch_parameters={"dataframe": rows}, result_format={"result_format": "COMPLETE"}, run_id=self._run_id
        )
        found = {(each.expectation_config.meta or {})["id"]: each for each in result.results if each.expectation_config}
        self.outcomes += [_outcome(rule, rows, found[rule.id]) for rule in rules]

    def quarantined(self) -> dict[int, str]:
        """Row -> the first finding that takes it out."""
        findings: dict[int, str] = {}
        for outcome in self.outcomes:
            if outcome.rule.severity == "quarantine":
                for row in outcome.broken:
                    findings.setdefault(row, outcome.rule.finding)
        return findings

    def lines(self, severity: contract.Severity) -> tuple[str, ...]:
        """A line for each broken rule of this severity."""
        return tuple(each.line() for each in self.outcomes if not each.passed and each.rule.severity == severity)

    def build_docs(self) -> None:
        """Write the Data Docs of all that was run."""
        self._context.build_data_docs()
        for page in self._docs.rglob("*.html"):
            page.write_text(_VENDOR_IMAGES.sub(_NO_IMAGE, page.read_text("utf-8")), "utf-8")
        self._progress(len(_FRAMES), len(_FRAMES), "parts of the contract checked")


def _outcome(rule: contract.Rule, rows: "pd.DataFrame", found: Any) -> _Outcome:
    """What Great Expectations `found`, in our terms. A rule that can't be checked must not let anything through."""
    if not found.success and not found.result:
        messages = {each["exception_message"] for each in found.exception_info.values() if isinstance(each, dict)}
        rule = dataclasses.replace(rule, severity="stop", finding=f"the rule {rule.id} could not be checked")
        return _Outcome(rule, False, len(rows), (), tuple(sorted(messages)))
    broken = tuple(found.result.get("unexpected_index_list") or ())
    shown = rows.loc[list(broken[:_EXAMPLES])]
    if rule.frame == "totals":
        examples = [f"{each.n_quarantined:,} of {each.n_found:,}" for each in rows.itertuples()]
    elif rule.frame == "classes":
        examples = [f"{each.label} ({each.n_images:,})" for each in shown.itertuples()]
    else:
        examples = [str(each) for each in shown["path"]] or [str(found.result.get("observed_value"))]
    return _Outcome(rule, bool(found.success), len(rows), broken, tuple(examples))
