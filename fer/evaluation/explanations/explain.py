"""The stage `explanations`: where a model looks for each class, and its mistakes by image id.

What is shown is an average: the mean of at least 20 faces that the model has right, none of them a near-duplicate of
another one, with the mean of their Grad-CAM maps over it. A class with fewer has no picture. Pictures of single images
are made only on request, in a folder of their own, which no report, artifact or release holds.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from fer.engine import disk, stage
from fer.engine import workspace as workspaces
from fer.engine.processes import child_process
from fer.engine.records import Record
from fer.evaluation import predictions, scoring_process
from fer.evaluation.explanations import figures
from fer.evaluation.explanations.config import ExplanationsConfig
from fer.evaluation.explanations.figures import ClassExplanation, Explanations
from fer.evaluation.refs import EvaluationRef, ExplanationsRef
from fer.images import encode
from fer.images import heat as heat_images
from fer.models import grad_cam, model_file, saved_model
from fer.progress import Progress
from fer.shards import selection
from fer.shards.refs import ShardsRef
from fer.training.refs import ModelRef

FILE = "explanations.json"
FACES, FACES_LIST = "faces", "faces.json"  # of single images, with `show_faces`
_TIMEOUT_S = 3_600.0
_FACES_PER_CLASS, _FACES_OF_MISTAKES = 4, 24
_AT_ONCE = 64  # images whose gradients are held
_DECIMALS = 4
_NO_CONVOLUTION = "the model has no convolution of more than one place, whose maps would say where it looks"


class Face(Record):
    """One image as a picture, with `show_faces`: `why` it is shown is `right`, `confident mistake` or `label in doubt`.

    Of a mistake the heat is for what the model predicted.
    """

    file: str
    image_id: str
    why: str
    label: str
    predicted: str


class Faces(Record):
    """What `faces.json` holds."""

    faces: tuple[Face, ...]


@stage.stage("explanations")
def explanations(
    out: Path,
    model: ModelRef,
    shards: ShardsRef,
    evaluation: EvaluationRef,
    config: ExplanationsConfig,
    show_faces: bool,
    *,
    workspace: workspaces.Workspace,
    progress: Progress,
) -> ExplanationsRef:
    """Write `explanations.json` and a picture for each class that has enough images, from the model's evaluation.

    With `show_faces` also `faces.json` and, in `faces/`, pictures of single images. Raises ConfigError for images of
    another size than the model's, IntegrityError if the model can't be loaded in safe mode.
    """
    rows = predictions.read(workspace.folder(evaluation) / predictions.FILE)
    mistakes = figures.mistakes(rows, config.listed)
    averaged = average_faces(rows, config)
    shown = _faces(rows, mistakes, config) if show_faces else []
    found = child_process.run(
        explain,
        {
            "model_folder": str(workspace.folder(model)),
            "target_classes": [model.classes.index(name) for name in rows.classes],
            "shards_folder": str(workspace.folder(shards)),
            "split_name": evaluation.split,
            "averaged": averaged,
            "faces": [[face.file, face.image_id, rows.classes.index(face.predicted)] for face in shown],
            "out": str(out),
        },
        scoring_process.job("Explaining", _TIMEOUT_S),
        progress=progress,
    )
    names = figures.picture_names(len(rows.classes))
    result = Explanations(
        split=evaluation.split,
        layer=found["layer"],
        classes=tuple(
            _class(name, image_ids, heat, picture, config)
            for name, image_ids, heat, picture in zip(rows.classes, averaged, found["heat"], names, strict=True)
        ),
        mistakes=mistakes,
    )
    disk.write(out / FILE, result.model_dump_json(indent=1).encode())
    if show_faces and result.layer is not None:
        disk.write(out / FACES_LIST, Faces(faces=tuple(shown)).model_dump_json(indent=1).encode())
    return ExplanationsRef(
        digest=hashlib.sha256((out / FILE).read_bytes()).hexdigest(),
        layer=result.layer,
        n_classes_explained=sum(one.picture is not None for one in result.classes),
        n_mistakes=mistakes.n,
        n_labels_in_doubt=mistakes.n_labels_in_doubt,
    )


def average_faces(rows: predictions.Predictions, config: ExplanationsConfig) -> list[list[str]]:
    """By class index the ids of the images whose average is shown; none of a class with too few."""
    return [
        selection.choose(right, config.images_per_class, config.seed) if len(right) >= config.min_images else []
        for right in figures.right_by_class(rows)
    ]


def _class(name: str, image_ids: list[str], heat: Any, picture: str, config: ExplanationsConfig) -> ClassExplanation:
    if heat is not None:
        return ClassExplanation(name=name, n_images=len(image_ids), heat=heat, picture=picture)
    few = f"fewer than {config.min_images} distinct images that the model has right"
    return ClassExplanation(name=name, n_images=0, why_not=_NO_CONVOLUTION if image_ids else few)


def _faces(rows: predictions.Predictions, mistakes: figures.Mistakes, config: ExplanationsConfig) -> list[Face]:
    found: list[tuple[str, str, str, str]] = []
    for name, right in zip(rows.classes, figures.right_by_class(rows), strict=True):
        found += [
            (image_id, "right", name, name) for image_id in selection.choose(right, _FACES_PER_CLASS, config.seed)
        ]
    for why, listed in (
        ("confident mistake", mistakes.most_confident),
        ("label in doubt", mistakes.labels_in_doubt),
    ):
        found += [(one.image_id, why, one.label, one.predicted) for one in listed[:_FACES_OF_MISTAKES]]
    return [
        Face(file=f"{FACES}/{number:03}.png", image_id=image_id, why=why, label=label, predicted=predicted)
        for number, (image_id, why, label, predicted) in enumerate(found)
    ]


def explain(
    model_folder: str,
    target_classes: list[int],
    shards_folder: str,
    split_name: str,
    averaged: list[list[str]],
    faces: list[list[Any]],
    out: str,
    *,
    progress: Progress,
) -> dict[str, Any]:
    """The worker's side: write the pictures to `out`; the layer's name, and by class the mean heat, None without one.

    `averaged` are the ids of the images of each class's average face; `faces` file, id and class of single images.
    """
    model = saved_model.load(Path(model_folder))
    nothing = {"layer": None, "heat": [None] * len(averaged)}
    if grad_cam.feature_layer(model) is None:
        progress(1, 1, "no map to explain by")
        return nothing
    height, width = model.input_shape[1:3]
    at_once = min(_AT_ONCE, model_file.images_at_once(height, width))
    cam = grad_cam.GradCam(model, at_once)
    sums = [(np.zeros((height, width)), np.zeros((cam.height, cam.width))) for _ in averaged]
    class_of = {image_id: index for index, image_ids in enumerate(averaged) for image_id in image_ids}
    folder, n_done, n_all = Path(shards_folder), 0, len(class_of) + len(faces)
    for batch in selection.batches(folder, split_name, class_of, at_once):
        saved_model.require_size(model, batch.pixels)
        classes = np.array([class_of[image_id] for image_id in batch.image_ids])
        maps = cam.heat(batch.pixels[..., np.newaxis], np.array(target_classes)[classes])
        for index, image, one in zip(classes, batch.pixels, maps, strict=True):
            sums[index][0][...] += image
            sums[index][1][...] += one
        n_done += len(classes)
        progress(n_done, n_all, "images explained")
    heat: list[Any] = []
    for name, image_ids, (pixels, warmth) in zip(figures.picture_names(len(averaged)), averaged, sums, strict=True):
        if not image_ids:
            heat.append(None)
            continue
        mean = (warmth / len(image_ids)).astype(np.float32)
        face = np.rint(pixels / len(image_ids)).astype(np.uint8)
        disk.write(Path(out) / name, encode.png(heat_images.beside(face, mean / max(float(mean.max()), 1e-6))))
        heat.append([[round(value, _DECIMALS) for value in row] for row in mean.tolist()])
    if faces:
        (Path(out) / FACES).mkdir()
    files_of: dict[str, list[tuple[str, int]]] = {}
    for file, image_id, predicted in faces:
        files_of.setdefault(image_id, []).append((file, target_classes[predicted]))
    for batch in selection.batches(folder, split_name, files_of, at_once):
        saved_model.require_size(model, batch.pixels)
        wanted = [(row, *one) for row, image_id in enumerate(batch.image_ids) for one in files_of[image_id]]
        rows = np.array([row for row, _, _ in wanted])
        maps = cam.heat(batch.pixels[rows, ..., np.newaxis], np.array([target for _, _, target in wanted]))
        for (row, file, _), one in zip(wanted, maps, strict=True):
            disk.write(Path(out) / file, encode.png(heat_images.beside(batch.pixels[row], one)))
        n_done += len(wanted)
        progress(n_done, n_all, "images explained")
    return {"layer": cam.layer, "heat": heat}
