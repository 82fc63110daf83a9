"""What is known of a run that trained a model, as one JSON document: `report.json`, of which the page is drawn.

Its keys, in the order of the page; one that is null was not found out, and `not_evaluated` says why:

release        name, version, status, `uri`, when it was made and by which run, the champion afterwards, its files
verdict        `headline`, `why`, the gates' checks, their power, with which releases it was compared; `estimate_of`
               says what the figures estimate, where that is not how good the model itself is
made_of        sources, recipe and its settings, seed, digests of data, model and code, the environment
comparison     candidate against champion: fer.evaluation.by_class.Changes, and `version`
metrics        fer.evaluation.metrics.Metrics, `split`, and `row_shares` of the confusion matrix
learning       values by epoch; `best_epoch`
seeds          fer.training.seeds.SeedSpread: the seeds that the model was chosen from
robustness     fer.evaluation.robustness.figures.Robustness, and `comparison`, the champion's beside it
slices         fer.evaluation.slices.figures.Slices
explanations   fer.evaluation.explanations.figures.Explanations, and the classes' `picture_uri`: averages, of no one
data           the facts of the quality report that a model's user should know
contracts      by dataset: rules that hold, lines on those that do not
costs          fer.evaluation.comparing.costs.Costs, the memory that was foreseen, and how many images were trained on
               at once
links          name -> a file beside the page, or an address
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fer.curation.refs import SplitRef
from fer.engine import contracts
from fer.engine.refs import Ref
from fer.engine.workspace import Workspace
from fer.evaluation import by_class, evaluate, predictions
from fer.evaluation.comparing import costs as model_costs
from fer.evaluation.config import GateConfig
from fer.evaluation.explanations import explain
from fer.evaluation.gates import beforehand
from fer.evaluation.gates.comparison import Comparison
from fer.evaluation.refs import Champion, EvaluationRef, Examination, Opponents, VerdictRef
from fer.evaluation.robustness import comparison as robustness_comparison
from fer.evaluation.robustness import measure as robustness_measure
from fer.evaluation.slices import figures as slice_figures
from fer.models import saved_model
from fer.registry import names
from fer.registry.manifest import File, Manifest
from fer.registry.refs import ReleaseRef
from fer.reports.quality import stage as quality_stage
from fer.reports.refs import QualityRef
from fer.shards.refs import ShardsRef
from fer.training import seeds as seeds_stage
from fer.training.refs import ModelRef, SeedsRef

Document = dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """A release, and the outputs of the stages that it was made by."""

    release: ReleaseRef
    manifest: Manifest
    made_by: str  # the run, as the registry's log has it
    sources: tuple[str, ...]
    quality: QualityRef
    split: SplitRef
    tested: SplitRef  # whose test images it was judged by: the split itself, or its folds
    balanced: ShardsRef
    model: ModelRef
    seeds: SeedsRef | None
    evaluation: EvaluationRef
    examination: Examination
    verdict: VerdictRef
    opponents: Opponents
    contracts: Mapping[str, Ref]  # dataset -> the output that holds its contract's outcome
    links: Mapping[str, str] = field(default_factory=dict)

    def file_uri(self, file: File) -> str:
        """The address of a file of the release."""
        return self.release.uri.removesuffix(names.version_key(self.manifest.name, self.manifest.version)) + file.key


def document(subject: Subject, workspace: Workspace) -> Document:
    """Collect it from the records of the stages."""
    manifest, model = subject.manifest, subject.model
    model_folder = workspace.folder(model)
    compared, reason = comparison(subject, workspace)
    metrics = json.loads((workspace.folder(subject.evaluation) / evaluate.METRICS).read_bytes())
    metrics["split"] = subject.evaluation.split
    metrics["row_shares"] = [[count / max(sum(row), 1) for count in row] for row in metrics["confusion"]]
    report: Document = {
        "release": {
            "name": manifest.name,
            "version": manifest.version,
            "status": subject.release.status,
            "uri": subject.release.uri,
            "created_utc": manifest.created_utc.isoformat(timespec="seconds"),
            "made_by": subject.made_by,
            "champion_version": subject.release.champion_version,
            "files": {
                name: {"uri": subject.file_uri(file), "sha256": file.sha256, "size_bytes": file.size_bytes}
                for name, file in manifest.files.items()
            },
        },
        "verdict": verdict(subject),
        "made_of": {
            "sources": list(subject.sources),
            "recipe": manifest.recipe.get("name"),
            "seed": manifest.recipe.get("train", {}).get("seed"),
            "model": model.model,
            "started_from": model.started_from,
            "model_digest": manifest.model_digest,
            "inputs": manifest.inputs,
            "code_fingerprint": manifest.code_fingerprint,
            "test_set": manifest.test_set,
            "environment": manifest.environment,
            "settings": manifest.recipe,
        },
        "comparison": compared,
        "metrics": metrics,
        "learning": {
            "history": json.loads((model_folder / saved_model.HISTORY).read_bytes()),
            "best_epoch": model.best_epoch,
            "epochs_run": model.epochs_run,
            "validation_accuracy": model.validation_accuracy,
        },
        "seeds": _record(subject.seeds, seeds_stage.FILE, workspace),
        "robustness": _robustness(subject.examination, workspace),
        "slices": _record(subject.examination.slices, slice_figures.FILE, workspace),
        "explanations": explanations(subject.examination, workspace),
        "data": _data(subject, workspace),
        "contracts": {
            name: _contract(contracts.read(workspace.folder(ref))) for name, ref in subject.contracts.items()
        },
        "costs": _costs(model, model_folder),
        "not_evaluated": _reasons(subject, reason),
        "links": dict(subject.links),
    }
    return report


def verdict(subject: Subject) -> Document:
    """What became of the model, in a sentence, and why; and all that the gates found."""
    release, found, opponents = subject.release, subject.verdict, subject.opponents
    name, checks = f"{release.name} version {release.version}", (*found.checks, *release.checks)
    match release.status:
        case "released":
            headline = f"{name} is released" + (
                " and is the champion" if release.champion_version == release.version else ""
            )
            why = [found.decision or "it passed its gates, and there was no other champion"]
        case "kept":
            headline, why = f"{name} passed its gates and is kept, not promoted", [release.kept_because]
        case _:
            headline = f"{name} is refused by its gates"
            why = [check.detail for check in checks if not check.passed]
    return {
        "headline": headline,
        "why": why,
        "checks": [check.model_dump(mode="json") for check in checks],
        "decided_by": [check.model_dump(mode="json") for check in found.decided_by],
        "estimate_of": found.estimate_of,
        "power": None if found.power is None else found.power.model_dump() | {"sentence": found.power.sentence()},
        "champion_version": found.champion_version,
        "anchor_version": found.anchor_version,
        "changes": list(opponents.changes),
        "waivers_used": list(opponents.waivers_used),
    }


def comparison(subject: Subject, workspace: Workspace) -> tuple[Document | None, str | None]:
    """The candidate against the champion by class, or why there is none."""
    champion = subject.opponents.champion
    if champion is None:
        return None, "no other model was champion before it"
    if champion.evaluation is None:
        return None, "the champion could not be compared with it, as the gates say"
    both = _compared(champion, champion.evaluation, subject, workspace)
    if not len(both.truth):
        return None, "the champion was trained on every test image"
    return {"version": champion.version} | by_class.changes(both).model_dump(mode="json"), None


def _compared(champion: Champion, evaluation: EvaluationRef, subject: Subject, workspace: Workspace) -> Comparison:
    candidate, released = (
        predictions.read(workspace.folder(ref) / predictions.FILE) for ref in (subject.evaluation, evaluation)
    )
    images = beforehand.read_images(subject.tested, champion, workspace)
    config = GateConfig.model_validate(subject.manifest.recipe["gate"])
    return Comparison(candidate, released, images, beforehand.who(champion.version), config)


def _record(ref: Ref | None, name: str, workspace: Workspace) -> Document | None:
    """A stage's own JSON; None if it did not run."""
    return None if ref is None else dict(json.loads((workspace.folder(ref) / name).read_bytes()))


def _robustness(examination: Examination, workspace: Workspace) -> Document | None:
    found = _record(examination.robustness, robustness_measure.FILE, workspace)
    if found is None:
        return None
    return found | {"comparison": _record(examination.robustness_comparison, robustness_comparison.FILE, workspace)}


def explanations(examination: Examination, workspace: Workspace) -> Document | None:
    """Where the model looks, with the pictures of the classes that have one; None if it was not looked for."""
    found = _record(examination.explanations, explain.FILE, workspace)
    if found is None or examination.explanations is None:
        return None
    folder = workspace.folder(examination.explanations)
    for row in found["classes"]:
        row["picture_uri"] = None if row["picture"] is None else _data_uri(folder / row["picture"])
    return found


def _data_uri(png: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(png.read_bytes()).decode()}"


def _reasons(subject: Subject, of_comparison: str | None) -> dict[str, str]:
    """Section -> why there is none."""
    found = subject.examination
    not_asked = {
        name: f"the recipe does not ask for it ({name}.enabled)" for name in ("slices", "robustness", "explanations")
    }
    if subject.tested.n_folds:
        learned = "the model learned the images that it would be tried on (evaluation.folds)"
        not_asked |= {"robustness": learned, "explanations": learned}
    reasons = {
        "comparison": of_comparison,
        "seeds": None if subject.seeds else "the recipe trains one seed (train.seeds)",
        **{name: None if getattr(found, name) else why for name, why in not_asked.items()},
    }
    return {section: reason for section, reason in reasons.items() if reason is not None}


def _data(subject: Subject, workspace: Workspace) -> Document:
    quality = json.loads((workspace.folder(subject.quality) / quality_stage.JSON).read_bytes())
    totals = quality["reconciliation"]
    splits = ("train", "validation", "test")
    labels, leaks, changes = quality["labels"], quality["leaks"], quality["changes"]
    return {
        "verdict": quality["verdict"],
        "warnings": quality["failures"] + quality["warnings"],
        "found": totals["found"],
        "accepted": totals["accepted"],
        "refused": sum(totals["refused"].values()),
        "splits": totals.get("splits", {}),
        "origin": subject.split.origin,
        "classes": quality["classes"],
        "by_class": {split: quality["balance"].get(split, {}) for split in splits},
        "trained_on": subject.balanced.counts.get("train", {}),
        "image_size": [subject.balanced.height, subject.balanced.width],
        "duplicate_groups": quality["duplicates"].get("groups"),
        "redundant_copies": quality["duplicates"].get("redundant_copies"),
        "leaked_before": leaks.get("n_before"),
        "leaked_after": leaks.get("left"),
        "labels_in_conflict": labels.get("conflicting_images"),
        "labels_in_doubt": labels.get("in_doubt_by_split") if labels.get("looked_for_errors") else None,
        "new": changes.get("n_new"),
        "gone": changes.get("n_gone"),
        "relabelled": changes.get("n_relabelled"),
        "issues": {row["issue"]: row["images"] for row in quality["issues"] if row["looked_for"] and row["images"]},
    }


def _contract(outcomes: tuple[contracts.Outcome, ...]) -> Document:
    broken = [outcome.line() for outcome in outcomes if not outcome.passed]
    return {"rules": len(outcomes), "held": len(outcomes) - len(broken), "broken": broken}


def _costs(model: ModelRef, folder: Path) -> Document:
    about = json.loads((folder / saved_model.ABOUT).read_bytes())
    found = model_costs.of(model, folder)
    return found.model_dump(mode="json") | {
        "size_megabytes": found.size_bytes / 1e6,
        "estimated_memory_mb": about["estimated_memory_mb"],
        "micro_batch": about["micro_batch"],
    }
