"""Benchmarks of the project against a reference: a bare library call or a plain loop, measured in the same minute.

Each module has `run()`, which yields Rows. Both sides take turns, so that a busy machine slows both; a figure is the
median of its rounds.
"""

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """The project's `value` and the `reference`, both in `unit`, and the bounds of their ratio (the bar)."""

    metric: str
    value: float
    unit: str
    reference: float | None = None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.reference if self.reference else None

    @property
    def bar(self) -> str | None:
        """The bar in words."""
        bounds = [
            f"{sign} {bound:g}" for sign, bound in (("≥", self.at_least), ("≤", self.at_most)) if bound is not None
        ]
        return ", ".join(bounds) or None

    @property
    def keeps(self) -> bool | None:
        """Whether the ratio keeps the bar; None without one."""
        if self.bar is None or self.ratio is None:
            return None
        return (self.at_least or 0) <= self.ratio <= (math.inf if self.at_most is None else self.at_most)


def medians(candidates: Mapping[str, Callable[[], float]], rounds: int = 5) -> dict[str, float]:
    """The median of the figures that each candidate returns, over `rounds` rounds in which all take their turn.

    Each round begins with another candidate, so that none always follows the same one.
    """
    figures: dict[str, list[float]] = {name: [] for name in candidates}
    names = list(candidates)
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            figures[name].append(candidates[name]())
    return {name: statistics.median(values) for name, values in figures.items()}


def seconds(candidates: Mapping[str, Callable[[], object]], rounds: int = 5) -> dict[str, float]:
    """The median seconds of each candidate over `rounds` rounds in which all take their turn, after a warm-up round."""
    durations: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds + 1):
        for name, candidate in candidates.items():
            start = time.perf_counter()
            candidate()
            if turn:
                durations[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in durations.items()}
