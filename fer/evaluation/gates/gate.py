"""The gate: whether a candidate passes, and whether it replaces the champion.

To pass it must reach absolute floors, and be no worse than the champion and than the anchor, the best release so far:
against the champion alone, each of many candidates could lose a margin. All that can be known without a candidate is
`fer.evaluation.gates.beforehand`, and whether one that passed replaces the champion `fer.evaluation.gates.comparison`.
"""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts import files
from fer.curation.refs import SplitRef
from fer.engine import disk, stage
from fer.engine import workspace as workspaces
from fer.evaluation import intervals, metrics, predictions
from fer.evaluation.calibration import gate_check as calibration_check
from fer.evaluation.config import GateConfig
from fer.evaluation.gates import beforehand
from fer.evaluation.gates import size as sizes
from fer.evaluation.gates.comparison import Comparison, Decision
from fer.evaluation.refs import Champion, Check, EvaluationRef, Judged, Measure, Opponents, VerdictRef
from fer.evaluation.robustness import gate_check
from fer.evaluation.slices import gate_check as slices_check
from fer.progress import Progress

CHURN = "churn.parquet"
_NOT_WORSE = "a champion must not be replaced by a worse model, and what is as good must be shown, not presumed"
_NO_CHAIN = "week after week each candidate could be a margin worse than the champion of its week"


@stage.stage("gate")
def gate(
    out: Path,
    judged: Judged,
    opponents: Opponents,
    config: GateConfig,
    *,
    workspace: workspaces.Workspace,
    progress: Progress,
) -> VerdictRef:
    """Write `verdict.json`: each check, the decision, and what the comparison can tell at all (`power`).

    No champion means that there is none yet, which passes and is stated. The opponents' evaluations must be of the same
    images; they are not needed where `beforehand.comparability` finds a failed check. `churn.parquet` lists the images
    on which exactly one of candidate and champion is right. Raises ContractViolation if two evaluations are not of the
    same images.
    """
    champion, anchor = opponents.champion, opponents.anchor
    findings = beforehand.findings(champion, judged.source, judged.split, config, workspace=workspace)
    candidate = predictions.read(workspace.folder(judged.evaluation) / predictions.FILE)
    size = sizes.of(judged.model, workspace)
    checks = [
        *_floors(judged.evaluation, candidate, config),
        *sizes.checks(size, champion, config, workspace),
        *(finding.check() for finding in findings),
    ]
    if config.max_calibration_error < 1:
        checks.append(calibration_check.calibration_error(candidate, config))
    if config.max_slice_gap < 1 and judged.slices is not None:
        checks.append(slices_check.no_slice_far_below(workspace.folder(judged.slices), config))
    if judged.exports is not None:
        checks += judged.exports.checks
    power, decision = None, Decision(replaces=True, for_a_reason=False)
    if champion is None:
        checks.append(
            Check(
                name="no worse than the champion",
                passed=True,
                detail="no other model was champion before it",
                reason="a champion must not be replaced by a worse model",
            )
        )
    elif champion.not_rebuilt:
        decision = Decision(False, False, f"not compared with the champion: {champion.not_rebuilt}")
    elif all(finding.passed for finding in findings):
        name = beforehand.who(champion.version)
        against_champion = _against(champion, name, candidate, judged.split, config, workspace)
        checks += [*against_champion.no_worse(_NOT_WORSE), against_champion.churn()]
        if judged.robustness is not None:
            checks.append(gate_check.under_corruption(judged.robustness, config))
        if anchor is not None:
            checks += _against_anchor(anchor, candidate, judged, config, workspace)
        power = against_champion.power()
        decision = against_champion.decide(opponents.changes, opponents.waivers_used)
        _write_churn(out / CHURN, against_champion)
    verdict = VerdictRef(
        passed=all(check.passed for check in checks),
        checks=tuple(checks),
        champion_version=None if champion is None else champion.version,
        anchor_version=None if anchor is None else anchor.version,
        power=power,
        size=size,
        replaces=decision.replaces,
        for_a_reason=decision.for_a_reason,
        decision=decision.sentence,
        decided_by=decision.checks,
        estimate_of=_estimate_of(judged.split),
    )
    record = verdict.model_dump(exclude={"path", "digest", "power"}) | {
        "power": None if power is None else power.model_dump() | {"sentence": power.sentence()},
        "config": config.model_dump(),
    }
    disk.write(out / files.VERDICT, json.dumps(record, indent=1).encode())
    progress(len(checks), len(checks), "checks")
    return verdict


def _estimate_of(split: SplitRef) -> str:
    """What the figures of a model that is judged on `split` estimate; empty where they are the model's own."""
    if not split.n_folds:
        return ""
    n = sum(split.counts["test"].values())
    return (
        f"what this recipe can be expected to reach on data like these, not of how good this very model is, which "
        f"learned all images but validation: each of {n:,} images was answered by one of {split.n_folds} models that "
        f"had learned others, about {1 - 1 / split.n_folds:.0%} of them"
    )


def _floors(evaluation: EvaluationRef, candidate: predictions.Predictions, config: GateConfig) -> list[Check]:
    floors = [
        _floor(
            ("accuracy", "gate.min_accuracy", config.min_accuracy),
            evaluation.accuracy,
            evaluation.accuracy_interval,
            evaluation.n_images,
            "below it a model of this recipe is of no use, whatever it is compared with",
        ),
        _floor(
            ("macro-F1", "gate.min_macro_f1", config.min_macro_f1),
            evaluation.macro_f1,
            evaluation.macro_f1_interval,
            evaluation.n_images,
            "a model can be accurate by the frequent classes alone",
        ),
    ]
    return [*floors, _recall(candidate, config.min_recall)] if config.min_recall else floors


def _floor(
    demanded: tuple[str, str, float], value: float, interval: tuple[float, float], n_images: int, reason: str
) -> Check:
    """The check of a metric, `demanded`: its name, the setting, and the floor that this sets."""
    name, setting, floor = demanded
    measure = Measure(
        quantity=name,
        value=value,
        interval=interval,
        confidence=metrics.CONFIDENCE,
        demand="at least",
        bound=floor,
        n_images=n_images,
        setting=setting,
    )
    return Check(
        name=f"{name} at least {floor:g}",
        passed=measure.holds,
        detail=f"{name} {value:.4f} (95 % interval {interval[0]:.4f} to {interval[1]:.4f}), floor {floor:g}",
        reason=reason,
        measure=measure,
    )


def _recall(candidate: predictions.Predictions, floor: float) -> Check:
    """Whether each class that has images reaches the floor by the lower end of its recall's interval."""
    matrix = metrics.confusion(candidate.class_indexes, candidate.predicted, len(candidate.classes))
    counts = {
        name: (int(row[index]), int(row.sum()))
        for index, (name, row) in enumerate(zip(candidate.classes, matrix, strict=True))
        if row.sum()
    }
    ranges = {name: intervals.wilson(*count) for name, count in counts.items()}
    below = ", ".join(f"{name} {low:.3f}" for name, (low, _) in ranges.items() if low < floor)
    worst = min(ranges, key=lambda name: ranges[name])
    found = f"below it: {below}" if below else f"the lowest is {worst}'s, {ranges[worst][0]:.3f}"
    n_right, n = counts[worst]
    measure = Measure(
        quantity=f"recall of {worst}",
        value=n_right / n,
        interval=ranges[worst],
        confidence=metrics.CONFIDENCE,
        judged="lower end",
        demand="at least",
        bound=floor,
        n_images=n,
        setting="gate.min_recall",
    )
    return Check(
        name=f"recall of each class at least {floor:g}",
        passed=measure.holds,
        detail=f"lower ends of the 95 % intervals of the classes' recall, floor {floor:g}; {found}",
        reason="no class may be given up for the others",
        measure=measure,
    )


def _against(
    released: Champion,
    name: str,
    candidate: predictions.Predictions,
    split: SplitRef,
    config: GateConfig,
    workspace: workspaces.Workspace,
) -> Comparison:
    if released.evaluation is None:
        raise ValueError(f"A model that can be compared must be evaluated. Received: no evaluation of the {name}.")
    released_predictions = predictions.read(workspace.folder(released.evaluation) / predictions.FILE)
    images = beforehand.read_images(split, released, workspace)
    return Comparison(candidate, released_predictions, images, name, config)


def _against_anchor(
    anchor: Champion,
    candidate: predictions.Predictions,
    judged: Judged,
    config: GateConfig,
    workspace: workspaces.Workspace,
) -> list[Check]:
    """The candidate against the best release; a check that passes and says why, where the two can't be compared."""
    name = f"best release (version {anchor.version})"
    difference = beforehand.comparability(anchor, judged.source, judged.split)
    if anchor.not_rebuilt:
        difference = Check(name=name, passed=False, detail=anchor.not_rebuilt)
    if difference is None:
        images = beforehand.read_images(judged.split, anchor, workspace)
        enough = beforehand.enough_to_compare(images, judged.split.classes, name, config)
        if enough.passed:
            return _against(anchor, name, candidate, judged.split, config, workspace).no_worse(_NO_CHAIN)
        difference = enough.check()
    detail = f"not compared: {difference.detail}"
    return [Check(name=f"no worse than the {name}", passed=True, detail=detail, reason=_NO_CHAIN)]


def _write_churn(path: Path, comparison: Comparison) -> None:
    changed = comparison.lost | comparison.gained
    classes = pa.array(comparison.classes, pa.string())
    table = pa.table(
        {
            "image_id": pa.array(comparison.image_ids[changed].tolist(), pa.string()),
            "label": classes.take(pa.array(comparison.truth[changed])),
            "champion": classes.take(pa.array(comparison.old[changed])),
            "candidate": classes.take(pa.array(comparison.new[changed])),
        }
    )
    with disk.replacing(path) as staging:
        pq.write_table(table, staging, compression="zstd")
