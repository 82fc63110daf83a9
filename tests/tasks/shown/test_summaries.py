"""A run's summary: what the terminal says, for any result."""

from uuid import UUID

import pytest

from tasks.runs import events
from tasks.runs.results import ComparisonResult, SweepResult
from tasks.shown import summaries

ROWS = ({"candidate": "a|b", "validation": 0.5, "images": 1200},)
STAGES = [
    events.Ended("download", True, False, 0.1, "3 files", key="0e6a5b54670f", origin="by run 609c3477, 2 h ago"),
    events.Ended("train", False, False, 1234.56, "best epoch <2>", key="f3e4a5b213d1", why="train.epochs: 1 → 2"),
    events.Ended("evaluate", cached=False, failed=True, seconds=2, summary=""),
]


def test_stages_are_told_with_their_time_and_result_and_pages_are_linked():
    text = summaries.markdown("It failed.\nNext: `try` again", None, STAGES, {"verdict": UUID(int=7)})
    lines = text.splitlines()
    assert lines[0] == "# It failed."
    assert "Next: \\`try\\` again" in lines
    assert "| = download | cached | 3 files | by run 609c3477, 2 h ago | 0e6a5b54 |" in lines
    assert r"| ✓ train | 1,234.6 s | best epoch \<2\> | train.epochs: 1 → 2 | f3e4a5b2 |" in lines
    assert "| ✗ evaluate | 2.0 s |  |  |  |" in lines
    assert f"[verdict](/artifacts/artifact/{UUID(int=7)})" in lines


@pytest.mark.parametrize(
    "result",
    [
        ComparisonResult(recipe="demo", rows=ROWS, best="a|b", reports={"report": "/x/`y`.html"}),
        SweepResult(recipe="demo", rows=ROWS, best=0.5, command="fer retrain", reports={"report": "/x/y.html"}),
    ],
)
def test_a_table_of_results_is_shown_with_where_the_reports_are(result):
    lines = summaries.markdown("best on validation: a|b", result, [], {}).splitlines()
    assert lines[0] == r"# best on validation: a\|b"
    assert r"| a\|b | 0.5 | 1,200 |" in lines
    assert "- **report** `/x/y.html`" in lines
    assert isinstance(result, ComparisonResult) or "fer retrain" in lines


def test_a_run_without_stages_or_pages_has_its_message_alone():
    assert summaries.markdown("demo is kept", None, [], {}).strip() == "# demo is kept"
