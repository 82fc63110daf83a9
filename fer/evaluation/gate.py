"""The gate: whether a candidate may become champion. Absolute floors, and no worse than the champion.

"No worse" is non-inferiority: on the same test images, the one-sided lower bound of candidate minus champion must lie
above minus a margin. A plain comparison of two numbers would let chance decide between equal models. Test images that
the champion was trained on, or chosen by, are left out: it knows them by heart.

All that can be known without a candidate is `beforehand`: part of the verdict, and required before a training.
"""

import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from data_contracts import files
from fer import errors
from fer.curation import groups
from fer.curation.refs import SplitRef
from fer.engine import disk, stage
from fer.engine import workspace as workspaces
from fer.engine.records import Record
from fer.evaluation import metrics, power, predictions
from fer.evaluation.refs import Champion, Check, EvaluationRef, Power, VerdictRef
from fer.ingest import sources
from fer.progress import Progress


class GateConfig(Record):
    """What a candidate must reach."""

    min_accuracy: float = Field(default=0.0, ge=0, le=1, description="on the test split")
    min_macro_f1: float = Field(default=0.0, ge=0, le=1, description="on the test split")
    margin: float = Field(
        default=0.02, ge=0, le=1, description="how much worse than the champion is still as good, in accuracy and F1"
    )
    min_images: int = Field(
        default=100,
        ge=1,
        description="test images to judge a model by; where there is a champion, of those that it wasn't trained on. "
        "With fewer no run trains",
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="that the candidate is no worse than the margin")
    samples: int = Field(default=2_000, ge=100, le=100_000, description="of the bootstrap")
    seed: int = Field(default=0, ge=0, description="of the bootstrap")


@stage.stage("gate")
def gate(
    out: Path,
    evaluation: EvaluationRef,
    split: SplitRef,
    source: str,
    champion: Champion | None,
    config: GateConfig,
    *,
    workspace: workspaces.Workspace,
    progress: Progress,
) -> VerdictRef:
    """Write `verdict.json`: each check, whether all passed, and what the comparison can tell at all (`power`).

    `split` is where the evaluated images come from, of the dataset `source`. No `champion` means that there is none
    yet, which passes and is stated. Its evaluation must be of the same images; it is not needed where `comparability`
    finds a failed check. Raises ContractViolation if the two evaluations are not of the same images.
    """
    findings = beforehand(champion, source, split, config, workspace=workspace)
    checks = [*_floors(evaluation, config), *(finding.check() for finding in findings)]
    power_of_comparison = None
    if champion is None:
        checks.append(
            Check(name="no worse than the champion", passed=True, detail="no other model was champion before it")
        )
    elif all(finding.passed for finding in findings):
        if champion.evaluation is None:
            raise ValueError("A champion that can be compared must be evaluated. Received: champion.evaluation=None.")
        candidate_predictions = predictions.read(workspace.folder(evaluation) / predictions.FILE)
        champion_predictions = predictions.read(workspace.folder(champion.evaluation) / predictions.FILE)
        images = _test_images(workspace.folder(split), workspace.folder(champion.model))
        comparison_checks, power_of_comparison = _comparison(
            candidate_predictions, champion_predictions, images, champion.version, config
        )
        checks += comparison_checks
    passed = all(check.passed for check in checks)
    champion_version = None if champion is None else champion.version
    power_record = None
    if power_of_comparison is not None:
        power_record = power_of_comparison.model_dump() | {"sentence": power_of_comparison.sentence()}
    verdict = {
        "passed": passed,
        "checks": [check.model_dump() for check in checks],
        "champion_version": champion_version,
        "power": power_record,
        "config": config.model_dump(),
    }
    disk.write(out / files.VERDICT, json.dumps(verdict, indent=1).encode())
    progress(len(checks), len(checks), "checks")
    return VerdictRef(passed=passed, checks=tuple(checks), champion_version=champion_version, power=power_of_comparison)


class Finding(NamedTuple):
    """What is known of a candidate before there is one; `todo` says what to set if it did not pass."""

    name: str
    passed: bool
    detail: str
    todo: str = ""
    lacks_data: bool = False  # whether it did not pass for want of test images, whoever the champion is

    def check(self) -> Check:
        """The line of a verdict."""
        return Check(name=self.name, passed=self.passed, detail="; ".join(filter(None, (self.detail, self.todo))))


def beforehand(
    champion: Champion | None,
    source: str,
    split: SplitRef,
    config: GateConfig,
    *,
    workspace: workspaces.Workspace,
) -> tuple[Finding, ...]:
    """All that the gate can know of any candidate from `source` that is trained and tested on `split`."""
    findings = [enough_images(split, config)]
    difference = _comparability(champion, source, split)
    if difference is not None:
        findings.append(difference)
    elif champion is not None and findings[0].passed:
        images = _test_images(workspace.folder(split), workspace.folder(champion.model))
        findings.append(_images(images, split.classes, _who(champion.version), config))
    return tuple(findings)


def require(
    champion: Champion | None,
    source: str,
    split: SplitRef,
    config: GateConfig,
    *,
    workspace: workspaces.Workspace,
) -> None:
    """Refuse a training whose model the gate would refuse whatever it learned.

    Raises ContractViolation for a test split that is too small, ConfigError for what the champion rules out: another
    dataset, classes or preprocessing code, or too few test images that it does not know.
    """
    findings = beforehand(champion, source, split, config, workspace=workspace)
    failed = [finding for finding in findings if not finding.passed]
    if failed:
        kind = errors.ContractViolation if all(finding.lacks_data for finding in failed) else errors.ConfigError
        raise kind(
            "What the gates can know before a training must let its model pass; nothing was trained.",
            received="; and ".join(finding.detail for finding in failed),
            todo="; and ".join(finding.todo for finding in failed),
        )


def enough_images(split: SplitRef, config: GateConfig) -> Finding:
    """Whether the test split is large enough to judge any model by, the first of its name too."""
    counts = {name: sum(by_class.values()) for name, by_class in split.counts.items()}
    n, n_all = counts.get("test", 0), sum(counts.values())
    name = "test images"
    if n >= config.min_images:
        return Finding(name, passed=True, detail=f"{n:,} test images, of at least {config.min_images:,}")
    missing = config.min_images - n
    detail = f"{n:,} test images, {missing:,} fewer than gate.min_images={config.min_images:,}"
    if not n:
        return Finding(name, passed=False, detail=detail, todo="add some", lacks_data=True)
    equal = power.expected(n, config.margin, config.confidence)
    if split.origin == "drawn" or "test drawn" in split.origin:
        in_all = math.ceil(missing * n_all / n)
        todo = f"add about {in_all:,} images, of which test gets {n / n_all:.0%}, or raise split.test_share"
    else:
        todo = f"add {missing:,} images to the source's test split, or draw another (split.use_official=false)"
    todo += (
        f"; or lower the bound (--set gate.min_images={n}): on so few an accuracy is known to "
        f"±{0.98 / math.sqrt(n):.2f} at worst, and as good a model passes a comparison with the margin of "
        f"{config.margin:g} in {equal:.0%} of cases"
    )
    return Finding(name, passed=False, detail=detail, todo=todo, lacks_data=True)


def warnings(split: SplitRef, config: GateConfig) -> tuple[str, ...]:
    """What the data's report says if no model of a split can be judged, and so none be released."""
    finding = enough_images(split, config)
    return () if finding.passed else (f"too few to release a model: {finding.detail}; {finding.todo}",)


def comparability(champion: Champion | None, source: str, split: SplitRef) -> Check | None:
    """The failed check that says why the champion can't be compared with a candidate from `source`, if so."""
    finding = _comparability(champion, source, split)
    return None if finding is None else finding.check()


def _comparability(champion: Champion | None, source: str, split: SplitRef) -> Finding | None:
    if champion is None:
        return None
    who, todo = _who(champion.version), "give it a name of its own: --name NAME"
    champion_family, candidate_family = sources.family(champion.source), sources.family(source)
    if champion_family != candidate_family:
        return Finding(
            name=f"same dataset as the {who}",
            passed=False,
            detail=f"the {who} was made from {champion_family}, this model from {candidate_family}",
            todo=todo,
        )
    if set(champion.model.classes) != set(split.classes):
        return Finding(
            name=f"same classes as the {who}",
            passed=False,
            detail=f"the {who} knows other classes: {', '.join(champion.model.classes)}; this model "
            f"{', '.join(split.classes)}",
            todo=todo,
        )
    if not champion.same_preprocessing:
        return Finding(
            name=f"same preprocessing code as the {who}",
            passed=False,
            detail=f"the code that prepares images has changed since the {who} was trained, which would judge it on "
            "images that it does not know",
            todo="give the new model a name of its own: --name NAME",
        )
    return None


def _who(version: int) -> str:
    return f"champion (version {version})"


def _floors(evaluation: EvaluationRef, config: GateConfig) -> tuple[Check, Check]:
    return (
        _floor("accuracy", evaluation.accuracy, evaluation.accuracy_interval, config.min_accuracy),
        _floor("macro-F1", evaluation.macro_f1, evaluation.macro_f1_interval, config.min_macro_f1),
    )


def _floor(name: str, value: float, interval: tuple[float, float], floor: float) -> Check:
    return Check(
        name=f"{name} at least {floor:g}",
        passed=value >= floor,
        detail=f"{name} {value:.4f} (95 % interval {interval[0]:.4f} to {interval[1]:.4f}), floor {floor:g}",
    )


class _TestImages(NamedTuple):
    """The images of a test split: (N,) each. `unseen`: the champion met neither them nor a near-duplicate of theirs in
    its training; None: it does not say.
    """

    image_ids: list[str]
    class_indexes: np.ndarray
    unseen: np.ndarray | None

    @property
    def compared(self) -> np.ndarray:
        """(N,) bool. A champion that does not say what it was trained on is compared all the same: what it knows by
        heart makes it look better, which can cost a challenger the title but can't give it to a worse one.
        """
        return np.ones(len(self.image_ids), bool) if self.unseen is None else self.unseen


def _test_images(split_folder: Path, champion_folder: Path) -> _TestImages:
    columns = ["image_id", "pixel_sha256", "near_duplicates", "class_index", "split"]
    rows = pq.read_table(split_folder / files.SPLIT, columns=columns)
    rows = rows.filter(pc.equal(rows["split"], "test"))
    unseen = None
    trained_on = champion_folder / files.TRAINED_ON
    if trained_on.is_file():
        unseen = ~groups.leaked(rows, pq.read_table(trained_on)["pixel_sha256"])
    return _TestImages(rows["image_id"].to_pylist(), rows["class_index"].to_numpy(), unseen)


def _comparison(
    candidate: predictions.Predictions,
    champion: predictions.Predictions,
    images: _TestImages,
    champion_version: int,
    config: GateConfig,
) -> tuple[list[Check], Power]:
    who = _who(champion_version)
    champion_predicted = predictions.paired(candidate, champion)
    is_compared = dict(zip(images.image_ids, images.compared.tolist(), strict=True))
    compared = np.array([is_compared[image_id] for image_id in candidate.image_ids])
    truth, old, new = (
        indexes[compared] for indexes in (candidate.class_indexes, champion_predicted, candidate.predicted)
    )
    difference = metrics.paired_difference(
        truth,
        old,
        new,
        len(candidate.classes),
        confidence=config.confidence,
        samples=config.samples,
        seed=config.seed,
    )
    checks = [
        _no_worse("accuracy", who, difference.accuracy, difference.accuracy_bound, config),
        _no_worse("macro-F1", who, difference.macro_f1, difference.macro_f1_bound, config),
    ]
    n_discordant = int(((old == truth) != (new == truth)).sum())
    return checks, power.of_comparison(
        len(truth),
        n_discordant,
        macro_f1_se=difference.macro_f1_se,
        correlation=difference.correlation,
        margin=config.margin,
        confidence=config.confidence,
    )


def _images(images: _TestImages, classes: tuple[str, ...], who: str, config: GateConfig) -> Finding:
    """Whether there are enough images to compare on, and some of each class: macro-F1 would leave a class without any
    out, and say nothing of who knows it better.
    """
    compared = images.compared
    n, n_all = int(compared.sum()), len(compared)
    lost = set(images.class_indexes.tolist()) - set(images.class_indexes[compared].tolist())
    lost_classes = [classes[index] for index in sorted(lost)]
    detail, todo = f"compared on {n:,} of {n_all:,} test images", ""
    lacks = [f"fewer than gate.min_images={config.min_images:,}"] if n < config.min_images else []
    lacks += [f"none of {', '.join(lost_classes)}"] if lost_classes else []
    if lacks:
        detail = f"only {n:,} of {n_all:,} test images to compare on, {', and '.join(lacks)}"
    if images.unseen is None:
        detail += f"; the {who} does not say what it was trained on, and may know some of them"
    elif n < n_all:
        detail += f"; the {who} was trained on the other {n_all - n:,} or on near-duplicates of theirs"
        if lacks:
            todo = "keep its split.seed and shares, or give this model a name of its own: --name NAME"
    return Finding(f"images that the {who} was not trained on", passed=not lacks, detail=detail, todo=todo)


def _no_worse(name: str, who: str, difference: float, bound: float, config: GateConfig) -> Check:
    return Check(
        name=f"{name} no worse than the {who}",
        passed=bound >= -config.margin,
        detail=(
            f"{name} {difference:+.4f} against the {who}; at {config.confidence:.0%} confidence at least {bound:+.4f}, "
            f"which must be {-config.margin:+.4f} or more"
        ),
    )
