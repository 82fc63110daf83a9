"""The stage `robustness`: a model on images of a split that are corrupted or moved.

What is changed are the pixels that preprocessing made, uint8, as the shards hold them and as the model's own first
layers, which normalise them, are given them: the same in training, scoring and prediction. So an amount means the same
whatever size and quality the original pictures have, and no decoding and no face detection is measured with it.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from fer import errors
from fer.engine import disk, stage
from fer.engine import workspace as workspaces
from fer.engine.processes import child_process
from fer.evaluation import scoring_process
from fer.evaluation.refs import RobustnessRef
from fer.evaluation.robustness import answers as model_answers
from fer.evaluation.robustness import figures
from fer.evaluation.robustness.answers import Answers
from fer.evaluation.robustness.config import RobustnessConfig
from fer.models import model_file, saved_model
from fer.progress import Progress
from fer.shards import selection
from fer.shards.refs import ShardsRef
from fer.training.refs import ModelRef

FILE = "robustness.json"
_TIMEOUT_S = 6 * 3_600.0


@stage.stage("robustness")
def robustness(
    out: Path,
    model: ModelRef,
    shards: ShardsRef,
    split_name: str,
    config: RobustnessConfig,
    *,
    workspace: workspaces.Workspace,
    progress: Progress,
) -> RobustnessRef:
    """Score `model` under each corruption and nuisance: `robustness.parquet`, and from it `robustness.json`.

    Of at most `config.max_images` images of the split, which the seed and their ids choose: the same ones for another
    model. Raises ConfigError if the classes or the size of the images are not the model's, IntegrityError if the model
    can't be loaded in safe mode.
    """
    if set(model.classes) != set(shards.classes):
        raise errors.ConfigError(
            "A model must be scored on images of its own classes.",
            received=f"a model of {model.classes}, images of {shards.classes}",
            todo="evaluate it on data of its classes",
        )
    result = child_process.run(
        score,
        {
            "model_folder": str(workspace.folder(model)),
            "model_classes": list(model.classes),
            "shards_folder": str(workspace.folder(shards)),
            "split_name": split_name,
            "config": config.model_dump(mode="json"),
            "out": str(out),
        },
        scoring_process.job("Scoring under corruption", _TIMEOUT_S, if_too_slow="lower robustness.max_images"),
        progress=progress,
    )
    answers = model_answers.read(out / model_answers.FILE)
    scores = figures.robustness(answers, config, split_name, result["n_images_of_split"])
    disk.write(out / FILE, scores.model_dump_json(indent=1).encode())
    content = "".join(f"{name}\0{disk.sha256(out / name)}\n" for name in (model_answers.FILE, FILE))
    return RobustnessRef(
        digest=hashlib.sha256(content.encode()).hexdigest(),
        split=split_name,
        n_images=scores.n_images,
        accuracy=scores.accuracy,
        mean_accuracy=scores.mean_accuracy,
        mean_accuracy_interval=scores.mean_accuracy_interval,
    )


def score(
    model_folder: str,
    model_classes: list[str],
    shards_folder: str,
    split_name: str,
    config: dict[str, Any],
    out: str,
    *,
    progress: Progress,
) -> dict[str, Any]:
    """The worker's side: write the answers of a model folder on a split of a shards folder to `out`.

    A batch of images is held at a time, however many there are.
    """
    settings = RobustnessConfig.model_validate(config)
    model = saved_model.load(Path(model_folder))
    folder = Path(shards_folder)
    in_split = selection.image_ids(folder, split_name)
    chosen = selection.choose(in_split, settings.max_images, settings.seed)
    all_conditions = model_answers.conditions(settings)
    image_ids: list[str] = []
    class_indexes: list[np.ndarray] = []
    predicted: dict[str, list[np.ndarray]] = {condition.name: [] for condition in all_conditions}
    at_once = model_file.images_at_once(*model.input_shape[1:3])
    n_scored, n_to_score = 0, len(chosen) * len(all_conditions)
    for batch in selection.batches(folder, split_name, chosen, at_once):
        saved_model.require_size(model, batch.pixels)
        own_class = np.array([batch.classes.index(name) for name in model_classes], np.int32)
        image_ids += batch.image_ids
        class_indexes.append(batch.class_indexes)
        for condition in all_conditions:
            pixels = condition.change(batch.pixels, batch.image_ids, settings.seed)[..., np.newaxis]
            probabilities = saved_model.probabilities(model, pixels, at_once)
            predicted[condition.name].append(own_class[probabilities.argmax(axis=1)])
            n_scored += len(pixels)
            progress(n_scored, n_to_score, "corrupted images scored")
    joined = {name: np.concatenate(parts) for name, parts in predicted.items()}
    model_answers.write(Path(out) / model_answers.FILE, Answers(image_ids, np.concatenate(class_indexes), joined))
    return {"n_images_of_split": len(in_split)}
