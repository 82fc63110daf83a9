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
_TASK = "image-classification"


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

    return ModelCardData(
        model_name=document["release"]["name"],
        library_name="keras",
        pipeline_tag=_TASK,
        tags=["facial-expression-recognition", "emotion", document["made_of"]["model"]],
        metrics=["accuracy", "f1"],
        eval_results=_results(document),
    )


def _results(document: Mapping[str, Any]) -> "list[EvalResult]":
    """Accuracy and macro-F1 on the test split, and on what is left of it without duplicates."""
    from huggingface_hub import EvalResult

    metrics = document["metrics"]
    of_splits = {None: metrics | {"macro_f1": metrics["macro"]["f1"]}, "de-duplicated": metrics["deduplicated"]}
    source = plain_text.visible(str(document["made_of"]["inputs"].get("source") or "unknown"))
    return [
        EvalResult(
            task_type=_TASK,
            task_name="Facial expression, as annotators perceived it",
            dataset_type=source,
            dataset_name=source,
            dataset_config=config,
            dataset_split="test",
            dataset_revision=document["made_of"]["inputs"].get("index"),
            metric_type=metric_type,
            metric_name=name,
            metric_value=scores[key],
            metric_args={"interval": list(scores[f"{key}_interval"]), "level": LEVEL, "images": scores["n_images"]},
        )
        for config, scores in of_splits.items()
        if scores is not None
        for metric_type, name, key in (("accuracy", "Accuracy", "accuracy"), ("f1", "Macro-F1", "macro_f1"))
    ]
