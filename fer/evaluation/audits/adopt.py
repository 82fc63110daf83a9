"""The stage `adopt`: a model's file from elsewhere becomes a model's folder, as training leaves one."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

from pydantic import Field

from data_contracts import files
from fer import errors, limits
from fer.engine import disk, stage
from fer.engine import workspace as workspaces
from fer.engine.processes import child_process
from fer.engine.records import Record
from fer.evaluation import scoring_process
from fer.models import foreign_file, saved_model
from fer.models.foreign_file import InputFormat
from fer.progress import Progress
from fer.shards import preprocessing
from fer.training.refs import ModelRef

_TIMEOUT_S = 900.0
_ORIGIN = "a file, trained elsewhere"


class ForeignModel(Record):
    """A file that is identified by its content, and its form. Where it lies enters no key."""

    name: str
    sha256: str
    suffix: str
    form: InputFormat
    path: str = Field(exclude=True)


def identify(path: Path, form: InputFormat) -> ForeignModel:
    """Raises SourceError for what is no file of a model, or too large a one."""
    suffix = path.suffix.lower()
    if suffix not in foreign_file.SUFFIXES or not path.is_file():
        raise errors.SourceError(
            f"A model must be NAME@VERSION of the registry, or a file that ends in {', '.join(foreign_file.SUFFIXES)}.",
            received=f"{path}, which is {'another' if path.is_file() else 'no'} file",
            todo="correct the path; a model in another form must be converted by Keras first",
        )
    limit = limits.current().model_bytes
    if path.stat().st_size > limit:
        raise errors.SourceError(
            f"A model's file must have at most {limit:,} bytes.",
            received=f"{path.stat().st_size:,} in {path}",
            todo=f"take another model, or {limits.to_raise('model_bytes')}",
        )
    return ForeignModel(name=path.name, sha256=disk.sha256(path), suffix=suffix, form=form, path=str(path.resolve()))


@stage.stage("adopt")
def adopt(out: Path, foreign: ForeignModel, *, workspace: workspaces.Workspace, progress: Progress) -> ModelRef:
    """Write `model.keras`, the model wrapped as `fer.models.foreign_file` says, and `preprocessing.json`.

    Images are resized to the model's size and nothing else. Of its training nothing is known: no epoch, no accuracy.
    Raises IntegrityError, ConfigError.
    """
    given = out / f"given{foreign.suffix}"
    shutil.copyfile(foreign.path, given)
    if disk.sha256(given) != foreign.sha256:
        raise errors.IntegrityError(
            "A model's file must stay as it is while it is copied.",
            received=f"another content of {foreign.path}",
            todo="run the same command again",
        )
    result = child_process.run(
        wrap,
        {"given": str(given), "name": foreign.name, "form": foreign.form.model_dump(mode="json"), "out": str(out)},
        scoring_process.job("Loading the model", _TIMEOUT_S),
        progress=progress,
    )
    given.unlink()
    return ModelRef(
        **result,
        model=foreign.name,
        classes=foreign.form.classes,
        epochs_run=0,
        best_epoch=0,
        validation_accuracy=0.0,
        train_seconds=0.0,
        started_from=_ORIGIN,
    )


def wrap(given: str, name: str, form: dict[str, Any], out: str, *, progress: Progress) -> dict[str, Any]:
    """The worker's side: load the file and write the folder."""
    model = foreign_file.load(Path(given), InputFormat.model_validate(form), name)
    _, height, width, _ = model.input_shape
    config = preprocessing.PreprocessConfig(height=height, width=width, blur_kernel=0)
    record = preprocessing.Preprocessing(
        config=config,
        classes=tuple(form["classes"]),
        height=height,
        width=width,
        mean=0.0,
        std=1.0,
        probe=preprocessing.probe(config),
    )
    record_json = record.model_dump_json(indent=1).encode()
    disk.write(Path(out) / files.PREPROCESSING, record_json)
    model.save(Path(out) / files.MODEL)
    progress(1, 1, "model wrapped")
    # Keras numbers the layers of a session: the digest is of the weights and of the form, not of their names.
    content = saved_model.digest(model, record_json) + InputFormat.model_validate(form).model_dump_json()
    return {"n_parameters": int(model.count_params()), "digest": hashlib.sha256(content.encode()).hexdigest()}
