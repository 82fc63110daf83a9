"""What the gate can know without a candidate: part of each verdict, and required before a training."""

import itertools
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_contracts import files
from fer import errors
from fer.curation import groups
from fer.curation.refs import SplitRef
from fer.engine import workspace as workspaces
from fer.evaluation.config import GateConfig
from fer.evaluation.gates import power
from fer.evaluation.refs import Champion, Check, Measure
from fer.ingest import sources

_FOLDS = 5  # that are proposed
_LEAST_FOR_FOLDS = 4  # images of a class: tested, validated and learned in each fold, and some are duplicates
_COMPARABLE = "only models that do the same on the same images can be compared"


class Finding(NamedTuple):
    """What is known of a candidate before there is one; `todo` says what to set if it did not pass."""

    name: str
    passed: bool
    detail: str
    todo: str = ""
    lacks_data: bool = False  # whether it did not pass for want of test images, whoever the champion is
    reason: str = _COMPARABLE
    measure: Measure | None = None

    def check(self) -> Check:
        """The line of a verdict."""
        return Check(
            name=self.name,
            passed=self.passed,
            detail="; ".join(filter(None, (self.detail, self.todo))),
            reason=self.reason,
            measure=self.measure,
        )


def findings(
    champion: Champion | None,
    source: str,
    split: SplitRef,
    config: GateConfig,
    *,
    workspace: workspaces.Workspace,
) -> tuple[Finding, ...]:
    """All that the gate can know of any candidate from `source` that is trained and tested on `split`."""
    known = [enough_images(split, config)]
    difference = _comparability(champion, source, split)
    if difference is not None:
        known.append(difference)
    elif champion is not None and known[0].passed:
        images = read_images(split, champion, workspace)
        known.append(enough_to_compare(images, split.classes, who(champion.version), config))
    return tuple(known)


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
    known = findings(champion, source, split, config, workspace=workspace)
    failed = [finding for finding in known if not finding.passed]
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
    finding = Finding(
        "test images",
        passed=n >= config.min_images,
        detail=f"{n:,} test images, of at least {config.min_images:,}",
        reason="on fewer a model's figures say too little to decide by",
        measure=_counted(n, config),
    )
    if finding.passed:
        return finding
    missing = config.min_images - n
    detail = f"{n:,} test images, {missing:,} fewer than gate.min_images={config.min_images:,}"
    if not n:
        return finding._replace(detail=detail, todo="add some", lacks_data=True)
    if split.n_folds:
        todo = f"add {missing:,} images, or {_lower_the_bound(n, config)}"
        return finding._replace(detail=detail, todo=todo, lacks_data=True)
    if split.origin == "drawn" or "test drawn" in split.origin:
        in_all = math.ceil(missing * n_all / n)
        todo = f"add about {in_all:,} images, of which test gets {n / n_all:.0%}, or raise split.test_share"
    else:
        todo = f"add {missing:,} images to the source's test split, or draw another (split.use_official=false)"
    todo = "; or ".join(filter(None, (todo, _cross_fitting(split, config), _lower_the_bound(n, config))))
    return finding._replace(detail=detail, todo=todo, lacks_data=True)


def _lower_the_bound(n: int, config: GateConfig) -> str:
    equal = power.expected(n, config.margin, config.confidence)
    return (
        f"lower the bound (--set gate.min_images={n}): on so few an accuracy is known to ±{0.98 / math.sqrt(n):.2f} at "
        f"worst, and as good a model passes a comparison with the margin of {config.margin:g} in {equal:.0%} of cases"
    )


def _cross_fitting(split: SplitRef, config: GateConfig) -> str:
    """The proposal to judge by cross-fitting, with its settings; empty where a class has too few images for it."""
    of_class = [sum(by_class.get(name, 0) for by_class in split.counts.values()) for name in split.classes]
    n_all, n_folds = sum(of_class), min(_FOLDS, max(of_class))
    if min(of_class) < _LEAST_FOR_FOLDS:
        return ""
    settings = f"--set evaluation.folds={n_folds}"
    if n_all < config.min_images:
        settings += f" --set gate.min_images={n_all}"
    return (
        f"judge the recipe by cross-fitting, which tests each of the {n_all:,} images once, by {n_folds} models that "
        f"learn the others, and takes about {n_folds + 1} trainings ({settings}): as good a recipe passes a comparison "
        f"in {power.expected(n_all, config.margin, config.confidence):.0%} of cases"
    )


def _counted(n_images: int, config: GateConfig) -> Measure:
    return Measure(
        quantity="images",
        value=n_images,
        demand="at least",
        bound=config.min_images,
        unit="images",
        n_images=n_images,
        setting="gate.min_images",
    )


def warnings(split: SplitRef, config: GateConfig, n_folds: int = 0) -> tuple[str, ...]:
    """What the data's report says if no model of a split can be judged, and so none be released.

    `n_folds`: in which all its images are to be tested; 0: its test images are.
    """
    if n_folds:
        n_all = sum(sum(by_class.values()) for by_class in split.counts.values())
        split = split.model_copy(update={"n_folds": n_folds, "counts": {"test": {"all": n_all}}})
    finding = enough_images(split, config)
    return () if finding.passed else (f"too few to release a model: {finding.detail}; {finding.todo}",)


def comparability(champion: Champion | None, source: str, split: SplitRef) -> Check | None:
    """The failed check that says why the champion can't be compared with a candidate from `source`, if so."""
    finding = _comparability(champion, source, split)
    return None if finding is None else finding.check()


def _comparability(champion: Champion | None, source: str, split: SplitRef) -> Finding | None:
    if champion is None:
        return None
    name, todo = who(champion.version), "give it a name of its own: --name NAME"
    champion_family, candidate_family = sources.family(champion.source), sources.family(source)
    if champion_family != candidate_family:
        return Finding(
            name=f"same dataset as the {name}",
            passed=False,
            detail=f"the {name} was made from {champion_family}, this model from {candidate_family}",
            todo=todo,
        )
    if set(champion.model.classes) != set(split.classes):
        return Finding(
            name=f"same classes as the {name}",
            passed=False,
            detail=f"the {name} knows other classes: {', '.join(champion.model.classes)}; this model "
            f"{', '.join(split.classes)}",
            todo=todo,
        )
    if not champion.same_preprocessing and not split.n_folds:  # in folds its recipe is trained anew
        return Finding(
            name=f"same preprocessing code as the {name}",
            passed=False,
            detail=f"the code that prepares images has changed since the {name} was trained, which would judge it on "
            "images that it does not know",
            todo="give the new model a name of its own: --name NAME",
        )
    return None


def who(version: int) -> str:
    """The champion, as verdicts name it."""
    return f"champion (version {version})"


class ComparedImages(NamedTuple):
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


def read_images(split: SplitRef, released: Champion, workspace: workspaces.Workspace) -> ComparedImages:
    """The test images of a split, and which of them a released model never met.

    Every run asks, a cached one too, so it imports no pandas: Arrow does for a data set, for a scalar and for NumPy.
    """
    rows = _columns(workspace.folder(split) / files.SPLIT, "image_id", "class_index", "split")
    tested = np.array(rows["split"].to_pylist()) == "test"
    image_ids = list(itertools.compress(rows["image_id"].to_pylist(), tested))
    class_indexes = np.array(list(itertools.compress(rows["class_index"].to_pylist(), tested)), np.int32)
    if split.n_folds:  # by models that did not learn them
        return ComparedImages(image_ids, class_indexes, np.ones(len(image_ids), bool))
    unseen = None
    trained_on = workspace.folder(released.model) / files.TRAINED_ON
    if trained_on.is_file():
        pixels = _columns(workspace.folder(split) / files.SPLIT, "pixel_sha256", "near_duplicates")
        unseen = ~groups.leaked(pixels, _columns(trained_on, "pixel_sha256")["pixel_sha256"])[tested]
    return ComparedImages(image_ids, class_indexes, unseen)


def _columns(path: Path, *names: str) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return file.read(columns=list(names))


def enough_to_compare(images: ComparedImages, classes: tuple[str, ...], name: str, config: GateConfig) -> Finding:
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
        detail += f"; the {name} does not say what it was trained on, and may know some of them"
    elif n < n_all:
        detail += f"; the {name} was trained on the other {n_all - n:,} or on near-duplicates of theirs"
        if lacks:
            todo = (
                "keep its split.seed, shares and rotation, or, if test was rotated, wait for new images; or judge the "
                f"recipes of both by cross-fitting (--set evaluation.folds={_FOLDS}); or give this model a name of its "
                "own: --name NAME"
            )
    return Finding(
        f"images that the {name} was not trained on",
        passed=not lacks,
        detail=detail,
        todo=todo,
        reason="a model looks better than it is on what it knows by heart",
        measure=_counted(n, config),
    )
