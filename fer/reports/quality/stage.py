"""Stage 8: the data quality report. One self-contained HTML page, and the same as JSON.

Out: `quality.html` and `quality.json`, whose keys are, in the order in which the page tells them:

named        the sources as the user gave them
source, layouts, ignored, classes    of the manifest; `source` with the versions and digests that were found
verdict, failures, warnings          as of the Ref; `problem` is the one that kept the data from being divided
sources      by source: images found, accepted, refused by the contract
account      where every file found is now, and the sums that must hold (`adds_up`)
refused      by reason: how many, and paths for example
changes      to the data accepted before this: new, gone, relabelled, by class; drift's tests. Empty: not reached
balance      accepted, train, validation, test, excluded, and the de-duplicated splits (`_clean`): class -> images
duplicates   copies, near-duplicates and their groups. Empty: not reached
leaks        images with a duplicate, or their subject, in a split closer to training, before the repair and after it
             (`left`)
labels       conflicts, and labels in doubt (matrix of given by suggested; by split). Empty: not reached
issues       by issue: policy, threshold, images, actions
properties   by property of the images: histogram, quantiles, thresholds, the last accepted data's histogram
contract     by rule: whether it holds
made         settings and digests
"""

import json
from pathlib import Path
from typing import Any

from fer import plain_text
from fer.curation.refs import CurationRef, DriftRef, InspectionRef, SplitRef, ValidationRef
from fer.engine import disk, stage
from fer.engine.refs import Ref
from fer.engine.workspace import Workspace
from fer.ingest.refs import ManifestRef
from fer.progress import Progress
from fer.reports.quality import figures
from fer.reports.quality import page as quality_page
from fer.reports.refs import QualityRef

HTML = "quality.html"
JSON = "quality.json"

# What the stages say of themselves; named here, as reaching for their code would make their changes the report's.
_SAYS = {
    "index": "index.json",
    "validate": "validation.json",
    "inspect": "inspect.json",
    "curate": "curation.json",
    "split": "split.json",
    "label errors": "label_errors.json",
    "drift": "drift.json",
}
_SETTINGS = ("config", "policies", "thresholds", "history")
_MOST_LINES = 3  # of failures and of warnings, in the short version
_plain = plain_text.in_markdown


@stage.stage("quality")
def quality(
    out: Path,
    manifest: ManifestRef,
    validation: ValidationRef,
    inspection: InspectionRef | None,
    curation: CurationRef | None,
    split: SplitRef | None,
    drift: DriftRef | None,
    named: tuple[str, ...],
    problem: str | None,
    further: tuple[str, ...],
    show_faces: bool,
    *,
    workspace: Workspace,
    progress: Progress,
) -> QualityRef:
    """Write the report. `named` are the sources as the user gave them.

    The later stages' Refs are None where `validation` has failures: no stage ran after it. `problem` is the message of
    a stage that could not divide the data; `split` and `drift` are None then. `further` are warnings of what comes
    after the data: why no model of it could be released.
    With `show_faces` the page holds thumbnails of examples; else it holds no image, and no path beyond examples.
    """
    made: dict[str, Ref | None] = {
        "index": manifest, "validate": validation, "inspect": inspection, "curate": curation, "split": split,
        "drift": drift,
    }  # fmt: skip
    folders = {stage: workspace.folder(ref) for stage, ref in made.items() if ref is not None}
    beside = {"label errors": folders.get("split")}  # which is theirs, where they were looked for
    said = {stage: figures.document((folders | beside).get(stage), name) for stage, name in _SAYS.items()}
    whereabouts = figures.whereabouts(folders)
    failures = [line for ref in (validation, curation, split, drift) if ref is not None for line in ref.failures]
    failures += [] if problem is None else [problem]
    failures += [f"the account does not add up: {each['says']}" for each in whereabouts["sums"] if not each["holds"]]
    warnings = [line for ref in (validation, split, drift) if ref is not None for line in ref.warnings]
    if split is not None and said["split"].get("config", {}).get("leakage") != "stop":  # else they are failures
        leaked = {"a duplicate": split.n_leaked, "their subject": split.n_leaked_subjects}
        warnings += [
            f"{count:,} images of validation and test have {what} closer to training"
            for what, count in leaked.items()
            if count
        ]
    warnings += further
    verdict = "stop" if failures else "warn" if warnings else "pass"
    progress(1, 3, "every file accounted for")
    report: dict[str, Any] = {
        "named": named,
        "source": manifest.source,
        "layouts": said["index"].get("layouts", manifest.layouts),
        "ignored": said["index"].get("ignored", manifest.ignored),
        "classes": validation.classes,
        "verdict": verdict,
        "problem": problem,
        "failures": failures,
        "warnings": warnings,
        "sources": figures.sources(folders),
        "account": whereabouts,
        "refused": figures.refused(folders),
        "changes": figures.changes(said["drift"]),
        "balance": figures.balance(folders, validation.classes),
        "duplicates": figures.duplicates(folders, said["curate"]) if inspection is not None else {},
        "leaks": figures.leaks(folders, said["split"], said["curate"]),
        "labels": figures.labels(validation.classes, said["curate"], said["label errors"])
        if curation is not None
        else {},
        "issues": figures.issues(folders, said["curate"]) if curation is not None else [],
        "properties": figures.histograms(folders, said["curate"].get("thresholds", {}), said["drift"]),
        "contract": said["validate"].get("rules", []),
        "made": {
            "settings": {stage: {key: its[key] for key in _SETTINGS if key in its} for stage, its in said.items()},
            "digests": {stage: ref.digest for stage, ref in made.items() if ref is not None},
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


def markdown(folder: Path) -> str:
    """The report in `folder` in short, as Markdown of 40 lines at most."""
    found = json.loads((folder / JSON).read_bytes())
    whereabouts = found["account"]
    lines = [f"# Data quality: {found['verdict']}", ""]
    for word in ("failures", "warnings"):
        said = found[word]
        lines += [f"- **{'stop' if word == 'failures' else 'warning'}** {_plain(line)}" for line in said[:_MOST_LINES]]
        if said[_MOST_LINES:]:
            lines.append(f"- and {len(said) - _MOST_LINES:,} more {word}")
    named = _plain(", ".join(found["named"]))
    lines.append(f"- {named}: {quality_page.adding(whereabouts['sums'][0])}")
    lines += [f"- {quality_page.adding(each)}" for each in whereabouts["sums"][1:]]
    lines += [f"- refused: {each['count']:,} {_plain(each['reason'])}" for each in found["refused"][:_MOST_LINES]]
    leaks = found["leaks"]
    if leaks:
        lines.append(f"- leaked: {leaks['n_before']:,} before the repair, {leaks['left']:,} after it")
        if leaks["left_subjects"] is not None:
            lines[-1] += f", and {leaks['left_subjects']:,} by their subject"
    changes = found["changes"]
    if changes and changes["n_baseline"] is not None:
        drifted = sum(each["drifted"] for each in changes["tests"])
        lines.append(
            f"- compared with the data accepted before this: {changes['n_new']:,} new, {changes['n_gone']:,} gone, "
            f"{changes['n_relabelled']:,} relabelled; {drifted} of {len(changes['tests'])} tests find drift"
        )
    if found["issues"]:
        lines += ["", "| issue | images | policy |", "| --- | ---: | --- |"]
        lines += [
            f"| {each['issue'].replace('_', ' ')} | {each['images']:,} | {each['policy']} |" for each in found["issues"]
        ]
    return "\n".join(lines) + "\n"
