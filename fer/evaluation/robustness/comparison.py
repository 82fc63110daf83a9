"""The stage `compare robustness`: a candidate and the champion on the same corrupted images.

The corruption error of a kind is the candidate's error, summed over the severities, over the champion's; its mean over
the kinds is the mean corruption error, mCE (Hendrycks & Dietterich 2019, arXiv:1903.12261, equation 1, with the
champion in AlexNet's place). The relative one (equation 2) is of the errors beyond those on the images as they are:
what corruption adds.
"""

import math
import statistics
from pathlib import Path

import numpy as np

from fer import errors
from fer.curation.refs import SplitRef
from fer.engine import disk, stage
from fer.engine import workspace as workspaces
from fer.engine.records import Record
from fer.evaluation.gates import beforehand
from fer.evaluation.refs import Champion, RobustnessComparisonRef, RobustnessRef
from fer.evaluation.robustness import answers as model_answers
from fer.evaluation.robustness import figures
from fer.evaluation.robustness.answers import Answers
from fer.evaluation.robustness.config import RobustnessConfig
from fer.images import corruptions
from fer.progress import Progress

FILE = "robustness_comparison.json"
FEWEST_IMAGES = 30  # below it the normal approximation of a mean is none
_Z = 1.959964  # of a two-sided interval at 95 %


class KindComparison(Record):
    """One corruption: both errors, means over the severities.

    `corruption_error` is candidate over champion, None where the champion makes no error; `relative_corruption_error`
    that of what the corruption adds to the error, None where it adds none to the champion's.
    """

    kind: corruptions.Kind
    error: float
    champion_error: float
    corruption_error: float | None
    relative_corruption_error: float | None


class RobustnessComparison(Record):
    """All kinds, the means over those that have a value, and the difference in mean accuracy, candidate minus champion.

    Of the images that the champion was neither trained on nor chosen by; without figures if there are fewer than 30.
    The interval is at 95 %.
    """

    champion_version: int
    n_images: int
    mean_accuracy: float | None = None
    champion_mean_accuracy: float | None = None
    difference: float | None = None
    difference_interval: tuple[float, float] | None = None
    standard_error: float | None = None
    mean_corruption_error: float | None = None
    relative_mean_corruption_error: float | None = None
    kinds: tuple[KindComparison, ...] = ()
    groups: tuple[figures.GroupScore, ...] = ()  # of the candidate, on these images
    champion_groups: tuple[figures.GroupScore, ...] = ()


@stage.stage("compare robustness")
def compare(
    out: Path,
    candidate: RobustnessRef,
    champion: Champion,
    split: SplitRef,
    config: RobustnessConfig,
    *,
    workspace: workspaces.Workspace,
    progress: Progress,
) -> RobustnessComparisonRef:
    """Write `robustness_comparison.json` from both models' answers, which must be to the same `config`.

    Where the champion knows all but a few of the images there is no figure. Raises ContractViolation if the two were
    not tried on the same images and labels.
    """
    if champion.robustness is None:
        raise ValueError("A champion that is compared must have been tried. Received: no robustness of it.")
    own = model_answers.read(workspace.folder(candidate) / model_answers.FILE)
    other = model_answers.read(workspace.folder(champion.robustness) / model_answers.FILE)
    images = beforehand.read_images(split, champion, workspace)
    unseen = {image_id for image_id, is_compared in zip(images.image_ids, images.compared, strict=True) if is_compared}
    result = of_answers(own, other, unseen, config, champion.version)
    disk.write(out / FILE, result.model_dump_json(indent=1).encode())
    progress(1, 1, "models compared")
    return RobustnessComparisonRef(
        digest=disk.sha256(out / FILE),
        champion_version=champion.version,
        n_images=result.n_images,
        difference=result.difference,
        standard_error=result.standard_error,
        mean_corruption_error=result.mean_corruption_error,
        relative_mean_corruption_error=result.relative_mean_corruption_error,
    )


def of_answers(
    candidate: Answers, champion: Answers, unseen: set[str], config: RobustnessConfig, champion_version: int
) -> RobustnessComparison:
    """The comparison on the images `unseen` by the champion. Raises ContractViolation for other images or labels."""
    same_images = sorted(candidate.image_ids) == sorted(champion.image_ids)
    if not same_images or not np.array_equal(champion.rows(candidate.image_ids).class_indexes, candidate.class_indexes):
        raise errors.ContractViolation(
            "Candidate and champion must be tried on the same corrupted images and labels.",
            received=f"{len(candidate.image_ids):,} and {len(champion.image_ids):,} images",
            todo="try the champion on the candidate's test split",
        )
    chosen = [image_id for image_id in candidate.image_ids if image_id in unseen]
    own, other = candidate.rows(chosen), champion.rows(chosen)
    if len(chosen) < FEWEST_IMAGES:
        return RobustnessComparison(champion_version=champion_version, n_images=len(chosen))
    own_means, other_means = (figures.corrupted_accuracy(answers, config) for answers in (own, other))
    differences = own_means - other_means
    difference, standard_error = float(differences.mean()), float(differences.std() / math.sqrt(len(differences)))
    kinds = tuple(_kind(own, other, kind, config) for kind in config.corruptions)
    return RobustnessComparison(
        champion_version=champion_version,
        n_images=len(chosen),
        mean_accuracy=float(own_means.mean()),
        champion_mean_accuracy=float(other_means.mean()),
        difference=difference,
        difference_interval=(difference - _Z * standard_error, difference + _Z * standard_error),
        standard_error=standard_error,
        mean_corruption_error=_mean([kind.corruption_error for kind in kinds]),
        relative_mean_corruption_error=_mean([kind.relative_corruption_error for kind in kinds]),
        kinds=kinds,
        groups=figures.groups(own, config),
        champion_groups=figures.groups(other, config),
    )


def _kind(own: Answers, other: Answers, kind: corruptions.Kind, config: RobustnessConfig) -> KindComparison:
    error, champion_error = (1 - statistics.fmean(figures.accuracies(model, kind, config)) for model in (own, other))
    clean, champion_clean = (1 - float(model.right(model_answers.CLEAN).mean()) for model in (own, other))
    return KindComparison(
        kind=kind,
        error=error,
        champion_error=champion_error,
        corruption_error=_ratio(error, champion_error),
        relative_corruption_error=_ratio(error - clean, champion_error - champion_clean),
    )


def _ratio(above: float, below: float) -> float | None:
    return above / below if below > 1e-9 else None


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
