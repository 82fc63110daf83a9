"""The gate: whether a candidate may become champion. Absolute floors, and no worse than the champion.

"No worse" is non-inferiority: on the same test images, the one-sided lower bound of candidate minus champion must lie
above minus a margin. A plain comparison of two numbers would let chance decide between equal models. Test images that
the champion was trained on, or chosen by, are left out: it knows them by heart.
"""

import json
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from data_contracts import files
from fer import metrics, predictions, refs, stage
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
    min_images: int = Field(
        default=100, ge=1, description="test images that the champion wasn't trained on, needed for a comparison"
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="that the candidate is no worse than the margin")
    samples: int = Field(default=2_000, ge=100, le=100_000, description="of the bootstrap")
    seed: int = Field(default=0, ge=0, description="of the bootstrap")


@stage.stage("gate")
def gate(
    out: Path,
    evaluation: refs.EvaluationRef,
    division: refs.SplitRef,
    source: str,
    opponent: refs.Opponent | None,
    opponent_evaluation: refs.EvaluationRef | None,
    config: GateConfig,
    *,
    workspace: workspaces.Workspace,
    progress: Progress,
) -> refs.VerdictRef:
    """Write `verdict.json`: each check, and whether all passed.

    `division` is where the evaluated images come from, of the dataset `source`. Without an `opponent` there is no
    champion yet, which passes and is said. `opponent_evaluation` is the champion's on the same images; it is not needed
    where there is an `obstacle`. Raises ContractViolation if the two evaluations are not of the same images.
    """
    checks = [*_floors(evaluation, config)]
    stands_in_the_way = obstacle(opponent, source, division)
    if opponent is None:
        checks.append(
            refs.Check(name="no worse than the champion", passed=True, detail="there is no champion to compare with")
        )
    elif stands_in_the_way is not None:
        checks.append(stands_in_the_way)
    elif opponent_evaluation is None:
        raise ValueError("An opponent that can be compared must be evaluated. Received: opponent_evaluation=None.")
    else:
        candidate_rows = predictions.read(workspace.folder(evaluation) / predictions.FILE)
        champion_rows = predictions.read(workspace.folder(opponent_evaluation) / predictions.FILE)
        unseen = _unseen(candidate_rows, workspace.folder(division), workspace.folder(opponent.model))
        checks += _comparison(candidate_rows, champion_rows, unseen, opponent.version, config)
    passed = all(check.passed for check in checks)
    champion_version = None if opponent is None else opponent.version
    verdict = {
        "passed": passed,
        "checks": [check.model_dump() for check in checks],
        "champion_version": champion_version,
        "config": config.model_dump(),
    }
    workspaces.write_atomically(out / "verdict.json", json.dumps(verdict, indent=1).encode())
    progress(len(checks), len(checks), "checks")
    return refs.VerdictRef(passed=passed, checks=tuple(checks), champion_version=champion_version)


def obstacle(opponent: refs.Opponent | None, source: str, division: refs.SplitRef) -> refs.Check | None:
    """The failed check that says why the champion can't be compared with a candidate from `source`, if so."""
    if opponent is None:
        return None
    who = _who(opponent.version)
    families = [refs.source_family(each) for each in (opponent.source, source)]
    if families[0] != families[1]:
        return refs.Check(
            name=f"same dataset as the {who}",
            passed=False,
            detail=f"the {who} was made from {families[0]}, this model from {families[1]}; "
            "give it a name of its own: --name NAME",
        )
    if set(opponent.model.classes) != set(division.classes):
        return refs.Check(
            name=f"same classes as the {who}",
            passed=False,
            detail=f"the {who} knows other classes: {', '.join(opponent.model.classes)}; this model "
            f"{', '.join(division.classes)}; give it a name of its own: --name NAME",
        )
    if not opponent.same_preprocessing:
        return refs.Check(
            name=f"same preprocessing code as the {who}",
            passed=False,
            detail=f"the code that prepares images has changed since the {who} was trained, which would judge it on "
            "images that it does not know; give the new model a name of its own: --name NAME",
        )
    return None


def _who(version: int) -> str:
    return f"champion (version {version})"


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


def _unseen(candidate: predictions.Predictions, division: Path, champion: Path) -> np.ndarray | None:
    """Which of the candidate's images (N,) the champion did not train on; None if its release does not say."""
    if not (champion / files.TRAINED_ON).is_file():
        return None
    known = pq.read_table(champion / files.TRAINED_ON)["pixel_sha256"].combine_chunks()
    rows = pq.read_table(division / files.SPLIT, columns=["image_id", "pixel_sha256"])
    seen = dict(zip(rows["image_id"].to_pylist(), pc.is_in(rows["pixel_sha256"], known).to_pylist(), strict=True))
    return np.array([not seen[image_id] for image_id in candidate.image_ids])


def _comparison(
    candidate: predictions.Predictions,
    champion: predictions.Predictions,
    unseen: np.ndarray | None,
    champion_version: int,
    config: GateConfig,
) -> list[refs.Check]:
    who = _who(champion_version)
    champion_predicted = predictions.paired(candidate, champion)
    compared = np.ones(len(champion_predicted), bool) if unseen is None else unseen
    images = _images(candidate, compared, who, config, told=unseen is not None)
    if not images.passed:
        return [images]
    found = metrics.paired_difference(
        candidate.class_indexes[compared],
        champion_predicted[compared],
        candidate.predicted[compared],
        len(candidate.classes),
        confidence=config.confidence,
        samples=config.samples,
        seed=config.seed,
    )
    return [
        images,
        _no_worse("accuracy", who, found.accuracy, found.accuracy_bound, config),
        _no_worse("macro-F1", who, found.macro_f1, found.macro_f1_bound, config),
    ]


def _images(
    candidate: predictions.Predictions, compared: np.ndarray, who: str, config: GateConfig, *, told: bool
) -> refs.Check:
    """Whether there are enough images to compare on, and some of each class: macro-F1 would leave a class without any
    out, and say nothing of who knows it better.

    A champion that does not say what it was trained on is compared all the same: what it knows by heart makes it look
    better, which can cost a challenger the title but can't give it to a worse one.
    """
    n, n_all = int(compared.sum()), len(compared)
    of_classes = [set(candidate.class_indexes[rows].tolist()) for rows in (np.ones(n_all, bool), compared)]
    gone = [candidate.classes[each] for each in sorted(of_classes[0] - of_classes[1])]
    detail = f"compared on {n:,} of {n_all:,} test images"
    lacks = [f"fewer than gate.min_images={config.min_images:,}"] if n < config.min_images else []
    lacks += [f"none of {', '.join(gone)}"] if gone else []
    if lacks:
        detail = f"only {n:,} of {n_all:,} test images to compare on, {', and '.join(lacks)}"
    if not told:
        detail += f"; the {who} does not say what it was trained on, and may know some of them"
    elif n < n_all:
        detail += f"; the {who} was trained on the other {n_all - n:,}"
        if lacks:
            detail += ": keep its split.seed and shares, or give this model a name of its own: --name NAME"
    return refs.Check(name=f"images that the {who} was not trained on", passed=not lacks, detail=detail)


def _no_worse(name: str, who: str, difference: float, bound: float, config: GateConfig) -> refs.Check:
    return refs.Check(
        name=f"{name} no worse than the {who}",
        passed=bound >= -config.margin,
        detail=(
            f"{name} {difference:+.4f} against the {who}; at {config.confidence:.0%} confidence at least {bound:+.4f}, "
            f"which must be {-config.margin:+.4f} or more"
        ),
    )
