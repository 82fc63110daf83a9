from types import SimpleNamespace

import pytest

from fer.evaluation.refs import Check, Opponents, VerdictRef
from fer.registry.refs import ReleaseRef
from fer.reports.run import document

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


def test_a_champion_that_was_not_measured_is_no_comparison_but_a_reason():
    none = SimpleNamespace(opponents=Opponents())
    assert document.comparison(none, None) == (None, "no other model was champion before it")
    unmeasured = SimpleNamespace(opponents=SimpleNamespace(champion=SimpleNamespace(evaluation=None)))
    found, reason = document.comparison(unmeasured, None)
    assert found is None
    assert reason == "the champion could not be compared with it, as the gates say"
