"""Charts of a run's outputs for the UI. Each is a stage of its own: drawn once, and another colour trains nothing."""

from pathlib import Path

from fer.engine import disk, stage
from fer.engine import workspace as workspaces
from fer.progress import Progress
from fer.reports import plots
from fer.reports.refs import PictureRef
from fer.shards.refs import ShardsRef
from fer.training.refs import ModelRef

PICTURE = "picture.png"


@stage.stage("learning curves")
def learning_curves(out: Path, model: ModelRef, *, workspace: workspaces.Workspace, progress: Progress) -> PictureRef:
    """Draw a model's accuracy and loss by epoch."""
    disk.write(out / PICTURE, plots.learning_curves(workspace.folder(model), model))
    return PictureRef()


@stage.stage("class balance")
def class_balance(
    out: Path,
    source: ShardsRef,
    balanced: ShardsRef,
    title: str,
    *,
    workspace: workspaces.Workspace,
    progress: Progress,
) -> PictureRef:
    """Draw the train images by class before and after balancing."""
    disk.write(
        out / PICTURE, plots.png(plots.class_balance(source.counts["train"], balanced.counts["train"], title=title))
    )
    return PictureRef()
