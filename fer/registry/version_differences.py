"""Two released versions beside each other: what they were made of, and what they say of the test images of both."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import ValidationError

from fer import errors
from fer.engine.records import Record
from fer.evaluation import predictions
from fer.evaluation.comparing import costs, differences
from fer.evaluation.comparing.costs import Costs
from fer.evaluation.comparing.differences import Differences
from fer.evaluation.slices import figures, measure
from fer.registry.manifest import Manifest
from fer.registry.opponents import champion
from fer.training.refs import ModelRef

_AFTER_THE_DATA = {"train", "evaluate", "gate"}  # stages whose digests differ between any two models


class Change(Record):
    """A setting, digest or version that differs; None where one of the two has none of the name."""

    name: str
    a: Any = None
    b: Any = None


class Made(Record):
    """What two versions were made of, as far as it differs: `data` by the source and the digests of what the training
    was given, `recipe` by its settings, `code` by the fingerprint of all stages' code, and `libraries`, with what else
    of the machine decides a training's bits.
    """

    data: tuple[Change, ...]
    recipe: tuple[Change, ...]
    code: tuple[Change, ...]
    libraries: tuple[Change, ...]


class VersionDifferences(Record):
    """B beside A. `answers` are on the test images of both, which neither was trained on, since each split keeps its
    test images and their duplicates out of train; or, with `scored_on`, on those of these sources that neither knows.
    None if there are none. Of the `n_test_a` and `n_test_b` images that each answered, `n_relabelled` bear two labels.
    `gained` and `lost` list the image_ids that changed sides.
    """

    a: str
    b: str
    made: Made
    answers: Differences | None
    n_test_a: int
    n_test_b: int
    n_relabelled: int
    gained: tuple[str, ...]
    lost: tuple[str, ...]
    costs_a: Costs
    costs_b: Costs
    scored_on: tuple[str, ...] = ()


class Scored(NamedTuple):
    """What two versions say of the test images of some sources: of each, those that it does not know."""

    sources: tuple[str, ...]
    a: predictions.Predictions
    b: predictions.Predictions


class Release(NamedTuple):
    """A version and its files on this machine."""

    manifest: Manifest
    folder: Path

    @property
    def spec(self) -> str:
        """NAME@VERSION."""
        return f"{self.manifest.name}@{self.manifest.version}"


def between(a: Release, b: Release, scored: Scored | None = None, *, time_them: bool = True) -> VersionDifferences:
    """The differences by the answers that the versions were judged by, or by those that are `scored`; `time_them`:
    measure how long the models take, in a process of its own.

    Raises IntegrityError for files that can't be read, ConfigError for models of other classes.
    """
    answers_a, answers_b = (_answers(a), _answers(b)) if scored is None else (scored.a, scored.b)
    shared = differences.shared(answers_a, answers_b)
    measured = costs.latencies([a.folder, b.folder]) if time_them else [None, None]
    costs_a, costs_b = (
        costs.of(_model(release), release.folder, latency) for release, latency in zip((a, b), measured, strict=True)
    )
    return VersionDifferences(
        a=a.spec,
        b=b.spec,
        made=made(a.manifest, b.manifest),
        answers=differences.between(shared, _slices(a, b, shared.image_ids)) if len(shared.truth) else None,
        n_test_a=len(answers_a.image_ids),
        n_test_b=len(answers_b.image_ids),
        n_relabelled=shared.n_relabelled,
        gained=_ids(shared, shared.gained),
        lost=_ids(shared, shared.lost),
        costs_a=costs_a,
        costs_b=costs_b,
        scored_on=() if scored is None else scored.sources,
    )


def _slices(a: Release, b: Release, image_ids: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Name -> (N,) bool, of the slices that the later one of the two has, and lists image by image."""
    later = max((a, b), key=lambda release: (release.manifest.created_utc, release.spec))
    if not {figures.FILE, measure.MEMBERS} <= later.manifest.files.keys():
        return {}
    found = figures.Slices.model_validate_json((later.folder / figures.FILE).read_bytes())
    members = pq.read_table(later.folder / measure.MEMBERS)
    at = pc.index_in(pa.array(image_ids, pa.string()), value_set=members["image_id"].combine_chunks())
    members = members.take(at)
    return {
        one.name: pc.fill_null(pc.equal(members[one.column], one.group), False).to_numpy(zero_copy_only=False)
        for one in found.slices
        if one.column in members.column_names
    }


def made(a: Manifest, b: Manifest) -> Made:
    """What differs in data, recipe, code and libraries."""
    data_a, data_b = (
        {name: value for name, value in manifest.inputs.items() if name not in _AFTER_THE_DATA} for manifest in (a, b)
    )
    return Made(
        data=_changes(data_a, data_b),
        recipe=_changes(_flat(a.recipe), _flat(b.recipe)),
        code=_changes({"fingerprint": a.code_fingerprint}, {"fingerprint": b.code_fingerprint}),
        libraries=_changes(a.environment, b.environment),
    )


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    """A recipe's settings by the names that `--set` has for them."""
    if not isinstance(value, dict) or (path and not value):
        return {path: value}
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        flat |= _flat(inner, f"{path}.{name}" if path else str(name))
    return flat


def _changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Change, ...]:
    return tuple(
        Change(name=name, a=a.get(name), b=b.get(name))
        for name in sorted(a.keys() | b.keys())
        if a.get(name) != b.get(name)
    )


def _answers(release: Release) -> predictions.Predictions:
    if predictions.FILE not in release.manifest.files:
        raise errors.ConfigError(
            "A version must have its predictions to be compared.",
            received=f"none in {release.spec}",
            todo="take a version that a run of this project registered",
        )
    return predictions.read(release.folder / predictions.FILE)


def _model(release: Release) -> ModelRef:
    try:
        return ModelRef.model_validate_json((release.folder / champion.MODEL).read_bytes(), extra="ignore")
    except (OSError, ValidationError) as error:
        raise errors.IntegrityError(
            f"A release's {champion.MODEL} must be such as this version of the project can read.",
            received=f"{release.spec}: {type(error).__name__}",
            todo="use the version of the project that made it",
        ) from error


def _ids(shared: differences.Shared, chosen: Any) -> tuple[str, ...]:
    return tuple(image_id for image_id, is_it in zip(shared.image_ids, chosen.tolist(), strict=True) if is_it)
