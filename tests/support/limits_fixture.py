from collections.abc import Callable, Iterator

import pytest

from fer import limits


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Sets limits by their variables for the test: `limited(table_rows=2)`."""

    def limit(**values: float) -> None:
        for name, value in values.items():
            assert name in limits.Limits.model_fields
            monkeypatch.setenv(limits.variable(name), str(value))
        limits.current.cache_clear()

    yield limit
    limits.current.cache_clear()
