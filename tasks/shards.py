"""The shards' tasks: a model's input as Parquet, and its balance."""

from typing import Any

from fer.curation.refs import SplitRef
from fer.engine import runners
from fer.ingest.refs import ManifestRef
from fer.reports import pictures
from fer.shards import balance as balance_stage
from fer.shards import preprocess as preprocess_stage
from fer.shards import preprocessing
from fer.shards.refs import ShardsRef
from tasks import artifacts, caching, stages

_PROCESSES = runners.Processes()
_CLASSES = "Train images by class"


@stages.task(preprocess_stage.preprocess)
def preprocess(
    manifest: ManifestRef,
    split: SplitRef,
    config: preprocessing.PreprocessConfig,
    runner: runners.Runner = _PROCESSES,
) -> ShardsRef:
    """Decode, grey, resize and blur every image into Parquet shards of uint8 pixels."""
    return stages.run(preprocess_stage.preprocess, manifest, split, config, runner=runner)


@stages.task(preprocess_stage.preprocess, "preprocess champion")
def preprocess_as_champion(
    manifest: ManifestRef,
    split: SplitRef,
    config: preprocessing.PreprocessConfig,
    runner: runners.Runner = _PROCESSES,
) -> ShardsRef:
    """Do the same as the champion's images were made; all splits of them, though one is wanted."""
    return stages.run(preprocess_stage.preprocess, manifest, split, config, name="preprocess champion", runner=runner)


def _show_balance(balanced: ShardsRef, parameters: dict[str, Any]) -> None:
    source, config = parameters["source"], parameters["config"]
    rows = balance_stage.table(balance_stage.plan(source, config))
    artifacts.table("balance-plan", rows, balance_stage.title(config))
    _show_classes(source, balanced)


def _show_classes(source: ShardsRef, balanced: ShardsRef) -> None:
    workspace = caching.workspace()
    chart = workspace.folder(pictures.class_balance(source, balanced, _CLASSES, workspace=workspace))
    png = (chart / pictures.PICTURE).read_bytes()
    artifacts.markdown("class-balance-chart", artifacts.picture(png, _CLASSES), _CLASSES)


@stages.task(balance_stage.balance, on_cached=_show_balance)
def balance(source: ShardsRef, config: balance_stage.BalanceConfig, runner: runners.Runner = _PROCESSES) -> ShardsRef:
    """Bring the classes of the train split to their target; the plan is shown before anything is done."""
    artifacts.plan("balance", balance_stage.title(config), balance_stage.table(balance_stage.plan(source, config)))
    balanced = stages.run(balance_stage.balance, source, config, runner=runner)
    _show_classes(source, balanced)
    return balanced
