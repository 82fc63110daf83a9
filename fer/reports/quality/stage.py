"""Stage 8: the data quality report. One self-contained HTML page, and the same as JSON.

Out: `quality.html` and `quality.json`, whose keys are, in the order of the page:

given_sources     the sources as the user gave them
source, layouts, ignored, classes    of the manifest; `source` with the versions and digests that were resolved
verdict, failures, warnings          as of the Ref; `problem` is the one that kept the data from being split
sources           by source: images found, accepted, refused by the contract
reconciliation    how many of the files found are where now, and the sums that must hold (`adds_up`)
refused           by reason: how many, and paths for example
changes           to the data accepted before this: new, gone, relabelled, by class; drift's tests. Empty: not reached
balance           accepted, train, validation, test, excluded, and the de-duplicated splits (`_clean`): class -> images
duplicates        copies, near-duplicates and their groups. Empty: not reached
leaks             images with a duplicate, or their subject, in a split closer to training, before the repair and after
                  it (`left`)
labels            conflicts, and labels in doubt (matrix of given by suggested; by split). Empty: not reached
issues            by issue: policy, threshold, whether it was looked for, images, actions
properties        by property of the images: histogram, quantiles, thresholds, the last accepted data's histogram
contract          by rule: whether it holds
provenance        settings and digests
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_contracts import files
from fer import plain_text
from fer.engine import disk, stage
from fer.engine.refs import Ref
from fer.engine.workspace import Workspace
from fer.progress import Progress
from fer.reports.quality import figures
from fer.reports.quality import page as quality_page
from fer.reports.refs import DataRefs, QualityRef

HTML = "quality.html"
JSON = "quality.json"

# Where the stages' summaries are.
_SUMMARIES = {
    "index": files.INDEX_REPORT,
    "validate": files.VALIDATION_REPORT,
    "inspect": files.INSPECTION_REPORT,
    "curate": files.CURATION_REPORT,
    "split": files.SPLIT_REPORT,
    "label errors": files.LABEL_ERRORS_REPORT,
    "drift": files.DRIFT_REPORT,
}
_SETTINGS = ("config", "policies", "thresholds", "history")
_MOST_LINES = 3  # of failures and of warnings, in the short version
_plain = plain_text.in_markdown


@stage.stage("quality")
def quality(
    out: Path,
    data: DataRefs,
    given_sources: tuple[str, ...],
    problem: str | None,
    further_warnings: tuple[str, ...],
    show_faces: bool,
    *,
    workspace: Workspace,
    progress: Progress,
) -> QualityRef:
    """Write the report of `data`, which came from `given_sources`, as the user named them.

    `problem` is the message of a stage that could not split the data. `further_warnings` are of what comes after the
    data: why no model of it could be released. With `show_faces` the page holds thumbnails of examples; else it holds
    no image, and no path beyond examples.
    """
    manifest, validation, inspection, curation, split, drift = data
    refs: dict[str, Ref | None] = {
        "index": manifest, "validate": validation, "inspect": inspection, "curate": curation, "split": split,
        "drift": drift,
    }  # fmt: skip
    folders = {stage: workspace.folder(ref) for stage, ref in refs.items() if ref is not None}
    places = folders | ({"label errors": folders["split"]} if "split" in folders else {})
    summaries = {stage: figures.document(places.get(stage), name) for stage, name in _SUMMARIES.items()}
    reconciliation = figures.reconciliation(folders)
    failures = _failures(data, problem, reconciliation)
    warnings = [*_warnings(data, summaries["split"].get("config", {}).get("leakage")), *further_warnings]
    verdict = "stop" if failures else "warn" if warnings else "pass"
    progress(1, 3, "every file accounted for")
    report: dict[str, Any] = {
        "given_sources": given_sources,
        "source": manifest.source,
        "layouts": summaries["index"].get("layouts", manifest.layouts),
        "ignored": manifest.ignored,
        "classes": validation.classes,
        "verdict": verdict,
        "problem": problem,
        "failures": failures,
        "warnings": warnings,
        "sources": figures.sources(folders),
        "reconciliation": reconciliation,
        "refused": figures.refused(folders),
        "changes": figures.changes(summaries["drift"]),
        "balance": figures.balance(folders, validation.classes),
        "duplicates": figures.duplicates(folders, summaries["curate"]) if inspection is not None else {},
        "leaks": figures.leaks(folders, summaries["split"], summaries["curate"]),
        "labels": figures.labels(validation.classes, summaries["curate"], summaries["label errors"])
        if curation is not None
        else {},
        "issues": figures.issues(folders, summaries["curate"], summaries["inspect"].get("config", {}))
        if curation is not None
        else [],
        "properties": figures.histograms(folders, summaries["curate"].get("thresholds", {}), summaries["drift"]),
        "contract": summaries["validate"].get("rules", []),
        "provenance": {
            "settings": {
                stage: {key: summary[key] for key in _SETTINGS if key in summary}
                for stage, summary in summaries.items()
            },
            "digests": {stage: ref.digest for stage, ref in refs.items() if ref is not None},
        },
    }
    if inspection is not None and curation is not None:
        report["labels"]["looked_for_errors"] = split is not None and split.n_label_errors is not None
    disk.write(out / JSON, json.dumps(report, indent=1).encode())
    progress(2, 3, "report written")
    galleries = None
    if show_faces and curation is not None:
        from fer.reports.quality import examples as quality_examples  # OpenCV

        galleries = quality_examples.galleries(folders)
    disk.write(out / HTML, quality_page.render(report, galleries).encode())
    progress(3, 3, "page written")
    return QualityRef(verdict=verdict, failures=tuple(failures), warnings=tuple(warnings))


def _failures(data: DataRefs, problem: str | None, reconciliation: figures.Figures) -> list[str]:
    refs = (data.validation, data.curation, data.split, data.drift)
    failures = [line for ref in refs if ref is not None for line in ref.failures]
    failures += [] if problem is None else [problem]
    wrong = (total for total in reconciliation["sums"] if not total["holds"])
    return [*failures, *(f"the reconciliation does not add up: {total['equation']}" for total in wrong)]


def _warnings(data: DataRefs, leakage: str | None) -> list[str]:
    """The stages' warnings, and leaks, unless `leakage`, the setting, makes these failures."""
    warnings = [line for ref in (data.validation, data.split, data.drift) if ref is not None for line in ref.warnings]
    if data.split is None or leakage == "stop":
        return warnings
    leaked = {"a near-duplicate": data.split.n_leaked, "their subject": data.split.n_leaked_subjects}
    leaks = (
        f"{count:,} images of validation and test have {what} closer to training"
        for what, count in leaked.items()
        if count
    )
    return [*warnings, *leaks]


def markdown(folder: Path) -> str:
    """The report in `folder` in short, as Markdown of 40 lines at most."""
    report = json.loads((folder / JSON).read_bytes())
    first, *others = report["reconciliation"]["sums"]
    lines = [f"# Data quality: {report['verdict']}", ""]
    lines += [*_first_lines(report["failures"], "stop", "failures")]
    lines += [*_first_lines(report["warnings"], "warning", "warnings")]
    lines.append(f"- {_plain(', '.join(report['given_sources']))}: {quality_page.equation(first)}")
    lines += [f"- {quality_page.equation(total)}" for total in others]
    lines += [f"- refused: {row['count']:,} {_plain(row['reason'])}" for row in report["refused"][:_MOST_LINES]]
    leaks = report["leaks"]
    if leaks:
        lines.append(f"- leaked: {leaks['n_before']:,} before the repair, {leaks['left']:,} after it")
        if leaks["left_subjects"] is not None:
            lines[-1] += f", and {leaks['left_subjects']:,} by their subject"
    changes = report["changes"]
    if changes and changes["n_baseline"] is not None:
        drifted = sum(test["drifted"] for test in changes["tests"])
        lines.append(
            f"- compared with the data accepted before this: {changes['n_new']:,} new, {changes['n_gone']:,} gone, "
            f"{changes['n_relabelled']:,} relabelled; {drifted} of {len(changes['tests'])} tests find drift"
        )
    if report["issues"]:
        lines += ["", "| issue | images | policy |", "| --- | ---: | --- |"]
        for row in report["issues"]:
            count = f"{row['images']:,}" if row["looked_for"] else "not looked for"
            lines.append(f"| {row['issue'].replace('_', ' ')} | {count} | {row['policy']} |")
    return "\n".join(lines) + "\n"


def _first_lines(messages: Sequence[str], word: str, plural: str) -> list[str]:
    lines = [f"- **{word}** {_plain(message)}" for message in messages[:_MOST_LINES]]
    if messages[_MOST_LINES:]:
        lines.append(f"- and {len(messages) - _MOST_LINES:,} more {plural}")
    return lines
