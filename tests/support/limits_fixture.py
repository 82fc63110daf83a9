from collections.abc import Callable, Iterator

import pytest

from fer import limits
from fer.images import limits as image_limits


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Sets limits by their variables for the test: `limited(table_rows=2, image_side_px=9)`."""
    known = {*limits.Limits.model_fields, *(f"image_{name}" for name in image_limits.ImageLimits.model_fields)}

    def limit(**values: float | str) -> None:
        for name, value in values.items():
            assert name in known
            monkeypatch.setenv(limits.variable(name), str(value))
        limits.current.cache_clear()
        image_limits.current.cache_clear()

    yield limit
    limits.current.cache_clear()
    image_limits.current.cache_clear()
