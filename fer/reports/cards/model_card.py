"""The model card of a release: `README.md` in Hugging Face's format, made of the run's document alone.

Its metadata is YAML with a model-index, in which each metric has its interval. Nothing is fetched and nothing sent.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fer import plain_text
from fer.reports.cards import law, markdown

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

FILE = "README.md"
LEVEL = 0.95
TASK, TAGS = "image-classification", ("facial-expression-recognition", "emotion")


def render(document: Mapping[str, Any]) -> str:
    """The card of a document as `fer.reports.run.document` makes it."""
    from huggingface_hub import ModelCard

    text = markdown.template("model_card.md.j2").render(
        card_data=_metadata(document).to_yaml(),
        document=document,
        defects=defects(document["data"]),
        law=law,
    )
    return str(ModelCard(text))


def defects(data: Mapping[str, Any]) -> list[str]:
    """What is known to be wrong with the data, a line each; `data` is the document's."""
    lines = list(data["warnings"])
    if data["labels_in_conflict"]:
        lines.append(f"{data['labels_in_conflict']:,} identical images carry different labels")
    for split, count in (data["labels_in_doubt"] or {}).items():
        if count:
            lines.append(
                f"{count:,} labels of {split} are in doubt: a model that was not shown them is sure of another"
            )
    if data["duplicate_groups"]:
        lines.append(f"{data['duplicate_groups']:,} groups of near-duplicates")
    if data["leaked_after"]:
        lines.append(f"{data['leaked_after']:,} images of validation and test have a duplicate closer to training")
    lines += [f"{count:,} images: {issue.replace('_', ' ')}" for issue, count in data["issues"].items()]
    return lines


def _metadata(document: Mapping[str, Any]) -> "ModelCardData":
    from huggingface_hub import ModelCardData

    inputs = document["made_of"]["inputs"]
    return ModelCardData(
        model_name=document["release"]["name"],
        library_name="keras",
        pipeline_tag=TASK,
        tags=[*TAGS, document["made_of"]["model"]],
        metrics=["accuracy", "f1"],
        eval_results=results(
            document["metrics"],
            str(inputs.get("source") or "unknown"),
            inputs.get("index"),
            document["metrics"]["split"],
        ),
    )


def results(metrics: Mapping[str, Any], dataset: str, revision: str | None, split: str) -> "list[EvalResult]":
    """Accuracy and macro-F1 on a split, and on what is left of it without duplicates; `metrics` as JSON holds them."""
    from huggingface_hub import EvalResult

    of_splits = {None: {**metrics, "macro_f1": metrics["macro"]["f1"]}, "de-duplicated": metrics["deduplicated"]}
    source = plain_text.visible(dataset)
    return [
        EvalResult(
            task_type=TASK,
            task_name="Facial expression, as annotators perceived it",
            dataset_type=source,
            dataset_name=source,
            dataset_config=config,
            dataset_split=split,
            dataset_revision=revision,
            metric_type=metric_type,
            metric_name=name,
            metric_value=scores[key],
            metric_args={"interval": list(scores[f"{key}_interval"]), "level": LEVEL, "images": scores["n_images"]},
        )
        for config, scores in of_splits.items()
        if scores is not None
        for metric_type, name, key in (("accuracy", "Accuracy", "accuracy"), ("f1", "Macro-F1", "macro_f1"))
    ]
