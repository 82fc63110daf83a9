"""What is worth another try, and how that is announced."""

from types import SimpleNamespace

import pytest
from prefect.states import Failed

from fer import errors
from tasks import caching, events, ingest


@pytest.fixture
def heard():
    happened: list[events.Event] = []
    with events.heard_by(happened.append):
        yield happened


def test_an_error_that_may_pass_is_announced_with_its_reason_and_the_wait(heard):
    error = errors.KaggleUnavailable("Kaggle must\ndeliver.", received="status 503", todo="try again")
    condition = caching.retried(4)["retry_condition_fn"]
    assert condition(ingest.resolve, SimpleNamespace(run_count=1), Failed(data=error))
    assert condition(ingest.resolve, SimpleNamespace(run_count=3), Failed(data=error))
    waits = ingest.resolve.retry_delay_seconds
    assert waits[2] > waits[0]
    assert heard == [
        events.Retrying("resolve", "Kaggle must deliver. Received: status 503.", waits[0]),
        events.Retrying("resolve", "Kaggle must deliver. Received: status 503.", waits[2]),
    ]


@pytest.mark.parametrize(
    "error", [errors.KaggleRefused("No."), errors.KaggleUnavailable("No.", wait_s=1800), ValueError("No.")]
)
def test_an_error_that_will_stay_or_has_been_waited_for_is_not_retried_nor_announced(heard, error):
    assert not caching.retried(4)["retry_condition_fn"](
        ingest.resolve, SimpleNamespace(run_count=1), Failed(data=error)
    )
    assert heard == []
