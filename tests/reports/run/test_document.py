from types import SimpleNamespace

import pytest
import run_documents

from fer.evaluation.explanations.figures import ClassExplanation, Explanations, Mistakes
from fer.evaluation.refs import Check, Opponents, VerdictRef
from fer.registry.refs import ReleaseRef
from fer.reports.run import document, page

CHECKS = (
    Check(name="accuracy at least 0.6", passed=True, detail="accuracy 0.7000"),
    Check(name="no worse", passed=False, detail="macro-F1 -0.1000 against the champion"),
)


def told(status, champion_version=3, checks=CHECKS[:1], decision="", kept_because=""):
    release = ReleaseRef(
        name="demo",
        version=3,
        status=status,
        uri="s3://m/3",
        champion_version=champion_version,
        kept_because=kept_because,
    )
    passed = all(check.passed for check in checks)
    verdict = VerdictRef(passed=passed, checks=checks, champion_version=2, decision=decision)
    return document.verdict(SimpleNamespace(release=release, verdict=verdict, opponents=Opponents()))


@pytest.mark.parametrize(
    ("given", "headline", "why"),
    [
        (
            {"status": "released", "decision": "better than the champion"},
            "demo version 3 is released and is the champion",
            ["better than the champion"],
        ),
        (
            {"status": "released", "champion_version": 4},
            "demo version 3 is released",
            ["it passed its gates, and there was no other champion"],
        ),
        (
            {"status": "kept", "champion_version": 2, "kept_because": "not shown to be better"},
            "demo version 3 passed its gates and is kept, not promoted",
            ["not shown to be better"],
        ),
        (
            {"status": "refused", "champion_version": 2, "checks": CHECKS},
            "demo version 3 is refused by its gates",
            ["macro-F1 -0.1000 against the champion"],
        ),
    ],
)
def test_the_verdict_is_a_sentence_with_its_reason(given, headline, why):
    verdict = told(**given)
    assert (verdict["headline"], verdict["why"]) == (headline, why)
    assert len(verdict["checks"]) == len(given.get("checks", CHECKS[:1]))


def test_classes_with_a_picture_bring_it_along_and_the_others_say_why_not(tmp_path):
    rows = [
        ClassExplanation(name="happy", n_images=31, heat=((0.5,),), picture="grad_cam_000.png"),
        ClassExplanation(name="sad", n_images=3, why_not="fewer than 20 images"),
    ]
    nothing = Mistakes(n=0, most_confident=(), n_labels_in_doubt=0, labels_in_doubt=())
    record = Explanations(split="test", layer="conv", classes=tuple(rows), mistakes=nothing)
    (tmp_path / "explanations.json").write_text(record.model_dump_json())
    (tmp_path / "grad_cam_000.png").write_bytes(b"png")
    found = document.explanations(SimpleNamespace(explanations="ref"), SimpleNamespace(folder=lambda ref: tmp_path))
    assert [row["picture_uri"] for row in found["classes"]] == ["data:image/png;base64,cG5n", None]
    shown = page.render(run_documents.made() | {"explanations": found})
    assert shown.count("<img") == 1
    assert "fewer than 20 images" in shown
    assert document.explanations(SimpleNamespace(explanations=None), None) is None


def test_a_champion_that_was_not_measured_is_no_comparison_but_a_reason():
    none = SimpleNamespace(opponents=Opponents())
    assert document.comparison(none, None) == (None, "no other model was champion before it")
    unmeasured = SimpleNamespace(opponents=SimpleNamespace(champion=SimpleNamespace(evaluation=None)))
    found, reason = document.comparison(unmeasured, None)
    assert found is None
    assert reason == "the champion could not be compared with it, as the gates say"
