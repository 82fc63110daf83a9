import pytest
import run_documents
import shown_pages
from huggingface_hub import ModelCard

from fer.evaluation.audits.audit import Audit, AuditedData, AuditedModel
from fer.evaluation.comparing.costs import Costs
from fer.evaluation.metrics import Metrics
from fer.reports.cards import audit_card


@pytest.fixture
def audit():
    metrics, _ = run_documents.drawn()
    del metrics["row_shares"], metrics["split"]
    return Audit(
        model=AuditedModel(
            name="model *x*.hdf5", kind="file", digest="ab" * 32, classes=run_documents.CLASSES, height=48, width=48
        ),
        data=AuditedData(
            sources=("folder:/data/[x](y)",), digest="cd" * 32, split_origin="official", split="test",
            n_images=run_documents.N, n_deduplicated=540,
        ),
        metrics=Metrics.model_validate(metrics),
        twins=None,
        costs=Costs(size_bytes=1_200_000, n_parameters=277_975),
    )  # fmt: skip


def test_an_audited_model_has_a_card_with_its_figures_its_limits_and_the_law(audit):
    card = audit_card.render(audit)
    results = ModelCard(card).data.eval_results
    assert results[0].metric_value == audit.metrics.accuracy
    assert results[0].metric_args["interval"] == list(audit.metrics.accuracy_interval)
    assert results[0].dataset_revision == audit.data.digest
    for words in ("trained elsewhere", "Article 5(1)(f)", "not what a person feels", "it may know these images"):
        assert words in card
    assert "model *x*" not in card.split("---", 2)[2]
    assert "[x](y)" not in card.split("---", 2)[2]


def test_every_number_of_it_is_in_the_audit(audit):
    text = audit_card.render(audit).split("---", 2)[2]
    told = shown_pages.Page(text.partition("## Intended")[0] + text.partition("## How good it is")[2])
    assert len(shown_pages.numbers_in(told.text)) > 30
    assert set(shown_pages.unfounded(told, audit.model_dump(mode="json"))) <= {"95 %", "7"}  # intervals, classes
