"""The card of a model that was audited: `README.md` in Hugging Face's format, made of `audit.json` alone."""

from fer import plain_text
from fer.evaluation.audits.audit import Audit
from fer.reports.cards import law, markdown, model_card


def render(found: Audit) -> str:
    """The card of an audit."""
    from huggingface_hub import ModelCard, ModelCardData

    audit = found.model_dump(mode="json")
    metadata = ModelCardData(
        model_name=plain_text.visible(found.model.name),
        library_name="keras",
        pipeline_tag=model_card.TASK,
        tags=[*model_card.TAGS, "audit"],
        metrics=["accuracy", "f1"],
        eval_results=model_card.results(
            audit["metrics"], " + ".join(found.data.sources), found.data.digest, found.data.split
        ),
    )
    text = markdown.template("audit_card.md.j2").render(card_data=metadata.to_yaml(), audit=audit, law=law)
    return str(ModelCard(text))
