"""The gate: whether a candidate may become champion. Absolute floors, and no worse than the champion.

"No worse" is non-inferiority: on the same test images, the one-sided lower bound of candidate minus champion must lie
above minus a margin. A plain comparison of two numbers would let chance decide between equal models.
"""

import json
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fer import errors, metrics, predictions, refs, stage
from fer import workspace as workspaces
from fer.progress import Progress


class GateConfig(BaseModel):
    """What a candidate must reach."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_accuracy: float = Field(default=0.0, ge=0, le=1, description="on the test split")
    min_macro_f1: float = Field(default=0.0, ge=0, le=1, description="on the test split")
    margin: float = Field(
        default=0.02, ge=0, le=1, description="how much worse than the champion is still as good, in accuracy and F1"
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="that the candidate is no worse than the margin")
    samples: int = Field(default=2_000, ge=100, le=100_000, description="of the bootstrap")
    seed: int = Field(default=0, ge=0, description="of the bootstrap")


@stage.stage("gate")
def gate(
    out: Path,
    evaluation: refs.EvaluationRef,
    champion: refs.EvaluationRef | None,
    champion_version: int | None,
    config: GateConfig,
    *,
    workspace: workspaces.Workspace,
    progress: Progress,
) -> refs.VerdictRef:
    """Write `verdict.json`: each check, and whether all passed.

    `champion` is the champion's evaluation on the same images. None means that there is no champion yet, which passes
    and is said; or, with a `champion_version`, that its classes are others, which fails. Raises ContractViolation if
    the two evaluations are not of the same images.
    """
    checks = list(_floors(evaluation, config))
    if champion is None and champion_version is not None:
        checks.append(
            refs.Check(
                name="no worse than the champion",
                passed=False,
                detail=f"the champion (version {champion_version}) can't be compared: it knows other classes; "
                "give the new model another model_name",
            )
        )
    elif champion is None:
        checks.append(
            refs.Check(name="no worse than the champion", passed=True, detail="there is no champion to compare with")
        )
    else:
        candidate_rows = predictions.read(workspace.folder(evaluation) / predictions.FILE)
        champion_rows = predictions.read(workspace.folder(champion) / predictions.FILE)
        checks += _comparison(candidate_rows, champion_rows, champion_version, config)
    passed = all(check.passed for check in checks)
    verdict = {
        "passed": passed,
        "checks": [check.model_dump() for check in checks],
        "champion_version": champion_version,
        "config": config.model_dump(),
    }
    workspaces.write_atomically(out / "verdict.json", json.dumps(verdict, indent=1).encode())
    progress(len(checks), len(checks), "checks")
    return refs.VerdictRef(passed=passed, checks=tuple(checks), champion_version=champion_version)


def _floors(evaluation: refs.EvaluationRef, config: GateConfig) -> tuple[refs.Check, refs.Check]:
    return (
        _floor("accuracy", evaluation.accuracy, evaluation.accuracy_interval, config.min_accuracy),
        _floor("macro-F1", evaluation.macro_f1, evaluation.macro_f1_interval, config.min_macro_f1),
    )


def _floor(name: str, value: float, interval: tuple[float, float], floor: float) -> refs.Check:
    return refs.Check(
        name=f"{name} at least {floor:g}",
        passed=value >= floor,
        detail=f"{name} {value:.4f} (95 % interval {interval[0]:.4f} to {interval[1]:.4f}), floor {floor:g}",
    )


def _comparison(
    candidate: predictions.Predictions,
    champion: predictions.Predictions,
    champion_version: int | None,
    config: GateConfig,
) -> list[refs.Check]:
    who = f"champion (version {champion_version})" if champion_version is not None else "champion"
    if candidate.classes != champion.classes:
        return [
            refs.Check(
                name=f"same classes as the {who}",
                passed=False,
                detail=f"the candidate has {', '.join(candidate.classes)}; the champion {', '.join(champion.classes)}",
            )
        ]
    champion_predicted = _paired(candidate, champion)
    found = metrics.paired_difference(
        candidate.class_indexes,
        champion_predicted,
        candidate.predicted,
        len(candidate.classes),
        confidence=config.confidence,
        samples=config.samples,
        seed=config.seed,
    )
    return [
        _no_worse("accuracy", who, found.accuracy, found.accuracy_bound, config),
        _no_worse("macro-F1", who, found.macro_f1, found.macro_f1_bound, config),
    ]


def _no_worse(name: str, who: str, difference: float, bound: float, config: GateConfig) -> refs.Check:
    return refs.Check(
        name=f"{name} no worse than the {who}",
        passed=bound >= -config.margin,
        detail=(
            f"{name} {difference:+.4f} against the {who}; at {config.confidence:.0%} confidence at least {bound:+.4f}, "
            f"which must be {-config.margin:+.4f} or more"
        ),
    )


def _paired(candidate: predictions.Predictions, champion: predictions.Predictions) -> np.ndarray:
    """The champion's predictions (N,) in the order of the candidate's images."""
    places = {image_id: row for row, image_id in enumerate(champion.image_ids)}
    if len(places) != len(candidate.image_ids) or not all(each in places for each in candidate.image_ids):
        shared = sum(each in places for each in candidate.image_ids)
        raise errors.ContractViolation(
            "Candidate and champion must be scored on the same images.",
            received=f"{len(candidate.image_ids):,} and {len(places):,} images, {shared:,} of them shared",
            todo="evaluate the champion on the candidate's test split",
        )
    rows = np.array([places[each] for each in candidate.image_ids])
    if not np.array_equal(candidate.class_indexes, champion.class_indexes[rows]):
        raise errors.ContractViolation(
            "Candidate and champion must be scored against the same labels.",
            received="another label for at least one image",
            todo="evaluate the champion on the candidate's test split",
        )
    return champion.predicted[rows]
