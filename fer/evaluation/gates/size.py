"""How large a candidate is, and the gate on it: by itself, and beside the champion."""

from data_contracts import files
from fer.engine import workspace as workspaces
from fer.evaluation.config import GateConfig
from fer.evaluation.refs import Champion, Check, Measure, Size
from fer.training.refs import ModelRef

_REASON = "whoever serves the model has memory and a disk for so much"
_MEGABYTE = 1_000_000


def of(model: ModelRef, workspace: workspaces.Workspace) -> Size:
    """The size of a model: of its file as it is released, and of its weights."""
    size_bytes = (workspace.folder(model) / files.MODEL).stat().st_size
    return Size(n_parameters=model.n_parameters, file_bytes=size_bytes)


def checks(size: Size, champion: Champion | None, config: GateConfig, workspace: workspaces.Workspace) -> list[Check]:
    """The bounds that the recipe sets; none without a champion or where it sets none."""
    found = []
    if config.max_parameters:
        found.append(_absolute("parameters", size.n_parameters, config.max_parameters, "gate.max_parameters"))
    if config.max_megabytes:
        found.append(_absolute("megabytes", size.file_bytes / _MEGABYTE, config.max_megabytes, "gate.max_megabytes"))
    if champion is not None and config.max_size_ratio:
        found.append(_relative(size, of(champion.model, workspace), champion.version, config.max_size_ratio))
    return found


def _absolute(unit: str, value: float, bound: float, setting: str) -> Check:
    measure = Measure(quantity="size", value=value, demand="at most", bound=bound, unit=unit, setting=setting)
    return Check(
        name=f"at most {bound:,.10g} {unit}",
        passed=measure.holds,
        detail=f"{value:,.10g} {unit}, of at most {bound:,.10g} by {setting}",
        reason=_REASON,
        measure=measure,
    )


def _relative(size: Size, champions: Size, version: int, bound: float) -> Check:
    """By whichever is larger of the two ratios."""
    by_parameters = size.n_parameters / max(1, champions.n_parameters)
    by_bytes = size.file_bytes / max(1, champions.file_bytes)
    measure = Measure(
        quantity="size",
        value=max(by_parameters, by_bytes),
        demand="at most",
        bound=bound,
        unit="ratio",
        setting="gate.max_size_ratio",
    )
    return Check(
        name=f"size against the champion (version {version})",
        passed=measure.holds,
        detail=f"{size.words()}: {by_parameters:.2f} and {by_bytes:.2f} times the champion's, of at most {bound:g} by "
        "gate.max_size_ratio",
        reason=_REASON,
        measure=measure,
    )
