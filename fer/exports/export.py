"""The stage `export`: a trained model as ONNX and LiteRT, in float32 and in 8 bits, each checked against Keras."""

import hashlib
from pathlib import Path

from fer.engine import disk, stage
from fer.engine import workspace as workspaces
from fer.engine.processes import child_process
from fer.evaluation import predictions, recording, scoring_process
from fer.evaluation.calibration import calibrator
from fer.evaluation.calibration import scores as calibration_scores
from fer.evaluation.refs import CalibrationRef, Check, EvaluationRef, ExportsRef
from fer.evaluation.unlikeness import Unlikeness
from fer.exports import convert, fidelity, framing, serving
from fer.exports.config import ExportConfig
from fer.exports.fidelity import Tally
from fer.exports.serving import Fidelity
from fer.models import saved_model
from fer.progress import Progress
from fer.shards import preprocessing
from fer.shards.refs import ShardsRef
from fer.training.refs import ModelRef

_SHIPPED = Path(__file__).with_name("shipped") / serving.PREPROCESS
_TIMEOUT_S = 3_600.0
_VALIDATION = "validation"


@stage.stage("export")
def export(
    out: Path,
    model: ModelRef,
    shards: ShardsRef,
    evaluation: EvaluationRef | None,
    calibration: CalibrationRef,
    config: ExportConfig,
    *,
    workspace: workspaces.Workspace,
    progress: Progress,
) -> ExportsRef:
    """Write the models that `config` asks for, `preprocess.py`, and `serving.json`, which names them.

    Each is asked about the images of `evaluation`, the model's own, and told from what that recorded; without one, as
    where other models of the recipe were evaluated, about the validation images. A file of 8 bits that loses too much
    is not there, and `serving.json` says why. Raises IntegrityError if the model can't be loaded in safe mode.
    """
    model_folder = workspace.folder(model)
    split, recorded, environment = _VALIDATION, None, saved_model.environment(model_folder)
    if evaluation is not None:
        folder = workspace.folder(evaluation)
        own = folder / calibration_scores.FILE
        split, recorded = evaluation.split, own if own.is_file() else folder / predictions.FILE
        noted = recording.read(folder)
        environment = {} if noted is None else noted.environment
    result = child_process.run(
        convert.convert,
        {
            "model_folder": str(model_folder),
            "model_classes": list(model.classes),
            "shards_folder": str(workspace.folder(shards)),
            "config": config.model_dump(mode="json"),
            "split_name": split,
            "recorded": None if recorded is None else str(recorded),
            "out": str(out),
        },
        scoring_process.job("Exporting", _TIMEOUT_S),
        progress=progress,
    )
    found = [fidelity.of(name, split, Tally.model_validate(tally)) for name, tally in result["tallies"].items()]
    checks = [fidelity.unconvertible(kind, fault, config) for kind, fault in result["faults"].items()]
    checks += [
        _check(one, config, recorded_on_gpu=environment.get("device", recording.CPU) != recording.CPU) for one in found
    ]
    not_released = {}
    for one, check in zip(found, checks[len(result["faults"]) :], strict=True):
        if check.warns:
            (out / one.file).unlink()
            not_released[one.file] = check.detail
    (out / serving.PREPROCESS).write_bytes(_SHIPPED.read_bytes())
    digests = {path.name: disk.sha256(path) for path in sorted(out.iterdir()) if path.is_file()}
    prepared = preprocessing.load_record(model_folder)
    is_whole = prepared.config.face == "whole"
    content = serving.of(
        prepared,
        calibrator.load(workspace.folder(calibration)),
        tuple(found),
        not_released,
        {name: digests[name] for name in (*serving.MODELS, serving.PREPROCESS) if name in digests},
        framing.of_train(workspace.folder(shards), config.seed) if is_whole else None,
        None if result["unlikeness"] is None else Unlikeness.model_validate(result["unlikeness"]),
    )
    written = content.model_dump_json(indent=1).encode()
    disk.write(out / serving.FILE, written)
    return ExportsRef(
        digest=hashlib.sha256(written).hexdigest(),
        files=tuple(name for name in content.files if name in serving.MODELS),
        checks=tuple(checks),
    )


def _check(found: Fidelity, config: ExportConfig, *, recorded_on_gpu: bool) -> Check:
    if found.file in (serving.ONNX_INT8, serving.LITERT_INT8):
        return fidelity.int8_check(found, config)
    return fidelity.float32_check(found, config, recorded_on_gpu=recorded_on_gpu)
