"""The task of exports: the model in forms that need neither TensorFlow nor this package."""

from fer import plain_text
from fer.evaluation.refs import CalibrationRef, EvaluationRef, ExportsRef
from fer.exports import export as export_stage
from fer.exports.config import ExportConfig
from fer.shards.refs import ShardsRef
from fer.training.refs import ModelRef
from tasks import stages
from tasks.shown import artifacts


def _show(exports: ExportsRef) -> None:
    plain = plain_text.in_markdown
    lines = [f"- {check.mark} **{plain(check.name)}**: {plain(check.detail)}" for check in exports.checks]
    artifacts.markdown("exports", "\n".join(["# Exports", "", *lines]), plain_text.visible(exports.summary()))


@stages.task(export_stage.export, on_cached=lambda exports, _: _show(exports))
def export(
    model: ModelRef,
    shards: ShardsRef,
    evaluation: EvaluationRef | None,
    calibration: CalibrationRef,
    config: ExportConfig,
) -> ExportsRef:
    """Convert the model, and compare each file's answers with Keras' own."""
    exports = stages.run(export_stage.export, model, shards, evaluation, calibration, config)
    _show(exports)
    return exports
