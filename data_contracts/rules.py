"""What a rule of a contract is. The rules are data: `fer.engine.contracts` has Great Expectations check them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["stop", "quarantine", "warn"]


@dataclass(frozen=True)
class Rule:
    """One expectation of a dataset.

    `frame` names the table that it looks at. `finding` says what is wrong with the rows that break it. `stop` ends the
    run, `quarantine` takes the rows out, `warn` only says. A missing value breaks no rule but that it must be there.
    """

    id: str
    frame: str
    expectation: str  # Great Expectations' name of it
    arguments: Mapping[str, Any]
    severity: Severity
    finding: str
    why: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it looks at."""
        single = (self.arguments[name] for name in ("column", "column_A", "column_B") if name in self.arguments)
        return (*single, *self.arguments.get("column_list", ()))
