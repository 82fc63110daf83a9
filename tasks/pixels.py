"""The pixels' tasks: shards of a model's input, and their balance."""

from prefect import task

from fer import balance as balance_stage
from fer import plots, refs
from fer import preprocess as preprocess_stage
from tasks import artifacts, caching


@task(**caching.cached(preprocess_stage.preprocess))
def preprocess(
    manifest: refs.ManifestRef, split: refs.SplitRef, config: preprocess_stage.PreprocessConfig
) -> refs.ShardsRef:
    """Decode, grey, resize and blur every image into Parquet shards of uint8 pixels."""
    progress = artifacts.progress_bar("preprocess")
    return preprocess_stage.preprocess(manifest, split, config, workspace=caching.workspace(), progress=progress)


@task(**caching.cached(preprocess_stage.preprocess, "preprocess champion"))
def preprocess_as_champion(
    manifest: refs.ManifestRef, split: refs.SplitRef, config: preprocess_stage.PreprocessConfig
) -> refs.ShardsRef:
    """Do the same as the champion's images were made; all splits of them, though one is wanted."""
    progress = artifacts.progress_bar("preprocess champion")
    return preprocess_stage.preprocess(manifest, split, config, workspace=caching.workspace(), progress=progress)


@task(**caching.cached(balance_stage.balance))
def balance(source: refs.ShardsRef, config: balance_stage.BalanceConfig) -> refs.ShardsRef:
    """Bring the classes of the train split to their target; the plan is shown before anything is done."""
    artifacts.plan("balance", balance_stage.title(config), balance_stage.table(balance_stage.plan(source, config)))
    progress = artifacts.progress_bar("balance")
    balanced = balance_stage.balance(source, config, workspace=caching.workspace(), progress=progress)
    figure = plots.class_balance(source.counts["train"], balanced.counts["train"], title="Train images by class")
    artifacts.markdown("class-balance-chart", artifacts.picture(plots.png(figure), "Train images by class"))
    return balanced
