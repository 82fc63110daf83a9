"""The shards' tasks: a model's input as Parquet, and its balance."""

from typing import Any

from fer import plain_text
from fer.curation.refs import SplitRef
from fer.engine import runners
from fer.ingest.refs import ManifestRef
from fer.reports import markdown_tables, pictures
from fer.shards import balance as balance_stage
from fer.shards import preprocess as preprocess_stage
from fer.shards import preprocessing
from fer.shards.refs import ShardsRef
from tasks import stages
from tasks.runs import events
from tasks.shown import artifacts

_PROCESSES = runners.Processes()
_BALANCE, _CLASSES = "balance", "Train images by class"


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


def _planned(source: ShardsRef, config: balance_stage.BalanceConfig) -> str:
    return markdown_tables.table(balance_stage.table(balance_stage.plan(source, config)))


def _done(source: ShardsRef, config: balance_stage.BalanceConfig, balanced: ShardsRef) -> str:
    series = {"before": source.counts["train"], "after": balanced.counts["train"]}
    bars = artifacts.picture(pictures.class_bars(series, title=_CLASSES), _CLASSES)
    return f"{plain_text.in_markdown(balance_stage.title(config))}\n\n{bars}\n\n{_planned(source, config)}"


def _show_balance(balanced: ShardsRef, parameters: dict[str, Any]) -> None:
    artifacts.markdown(_BALANCE, _done(parameters["source"], parameters["config"], balanced), _CLASSES)


@stages.task(balance_stage.balance, on_cached=_show_balance)
def balance(source: ShardsRef, config: balance_stage.BalanceConfig, runner: runners.Runner = _PROCESSES) -> ShardsRef:
    """Bring the classes of the train split to their target; the plan is shown before anything is done."""
    plan = balance_stage.table(balance_stage.plan(source, config))
    events.publish(events.Planned(_BALANCE, balance_stage.title(config), plan))
    page = artifacts.living_page(_BALANCE, _CLASSES)
    page(lambda: f"{plain_text.in_markdown(balance_stage.title(config))}\n\n{_planned(source, config)}")
    balanced = stages.run(balance_stage.balance, source, config, runner=runner)
    page(lambda: _done(source, config, balanced), last=True)
    return balanced
