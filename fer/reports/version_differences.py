"""What differs between two versions, as rows for the terminal."""

import json
from typing import Any

from fer.evaluation.comparing.costs import Costs
from fer.evaluation.comparing.differences import Differences, Estimate, GroupDifference
from fer.registry.version_differences import Change, VersionDifferences

NOT_MEASURED = "not measured"
_MOST_CHARACTERS = 60  # of a value


def figures(found: VersionDifferences) -> list[dict[str, str]]:
    """A row for each figure: A's, B's, and B minus A with its interval at 95 %."""
    return [*(answers(found.answers) if found.answers else []), *costs(found.costs_a, found.costs_b)]


def answers(found: Differences) -> list[dict[str, str]]:
    """The rows on what the two models say."""
    return [
        _row(
            "accuracy",
            _share(found.accuracy_a.value),
            _share(found.accuracy_b.value),
            signed(found.accuracy),
            chance(found.p_value),
        ),
        _row("macro-F1", _share(found.macro_f1_a), _share(found.macro_f1_b), signed(found.macro_f1)),
        *(_group(f"recall of {group.name}", group) for group in found.per_class),
        *(_group(f"accuracy on {group.name}", group) for group in found.slices),
        _row(
            "right, and the other is wrong",
            f"{found.n_lost:,}",
            f"{found.n_gained:,}",
            f"{found.n_gained - found.n_lost:+,}",
        ),
        _row("wrong both, each otherwise", f"{found.n_other_wrong:,}", f"{found.n_other_wrong:,}", ""),
    ]


def costs(a: Costs, b: Costs) -> list[dict[str, str]]:
    """The rows on what the two models cost."""
    return [
        _cost("size, MB", a.size_bytes / 1e6, b.size_bytes / 1e6, ".2f"),
        _cost("parameters", a.n_parameters, b.n_parameters, ",d"),
        _cost("ms for an image", _timed(a, "image_ms"), _timed(b, "image_ms"), ".2f"),
        _cost("images per second", _timed(a, "images_per_s"), _timed(b, "images_per_s"), ",.0f"),
        _cost("training, minutes", a.train_minutes, b.train_minutes, ".1f"),
        _cost("training, peak MB", a.peak_memory_mb, b.peak_memory_mb, ",.0f"),
        _cost("training, kWh", a.energy_kwh, b.energy_kwh, ".4f"),
    ]


def changes(found: VersionDifferences) -> list[dict[str, str]]:
    """A row for each part of what the versions were made of that differs."""
    return [
        {"of": of, "what": change.name, "A": _value(change.a), "B": _value(change.b)}
        for of in ("data", "recipe", "code", "libraries")
        for change in _of(found, of)
    ]


def sentence(found: VersionDifferences) -> str:
    """What the answers were compared on, and what of the making is the same."""
    n = 0 if found.answers is None else found.answers.n_images
    same = [of for of in ("data", "recipe", "code", "libraries") if not _of(found, of)]
    text = f"{n:,} test images of both ({found.n_test_a:,} and {found.n_test_b:,})"
    if found.scored_on:
        text = f"{n:,} test images of {', '.join(found.scored_on)} that neither was trained on"
    text += f", without {found.n_relabelled:,} that bear another label now" if found.n_relabelled else ""
    return f"{text}; the same: {', '.join(same) or 'nothing'}"


def signed(estimate: Estimate) -> str:
    """A difference with its interval."""
    low, high = estimate.interval
    return f"{estimate.value:+.3f} ({low:+.3f} to {high:+.3f})"


def chance(p_value: float) -> str:
    """A p-value, three digits that count."""
    return f"p = {p_value:.3g}" if p_value >= 1e-4 else "p < 0.0001"


def _of(found: VersionDifferences, of: str) -> tuple[Change, ...]:
    return tuple(getattr(found.made, of))


def _group(name: str, group: GroupDifference) -> dict[str, str]:
    return _row(
        f"{name} ({group.n_images:,})",
        _share(group.accuracy_a),
        _share(group.accuracy_b),
        signed(group.difference),
        chance(group.p_corrected),
    )


def _row(name: str, a: str, b: str, difference: str, p: str = "") -> dict[str, str]:
    return {"": name, "A": a, "B": b, "B minus A (95 %)": difference, "chance": p}


def _cost(name: str, a: float | None, b: float | None, form: str) -> dict[str, str]:
    shown_a, shown_b = (NOT_MEASURED if value is None else format(value, form) for value in (a, b))
    return _row(name, shown_a, shown_b, "" if a is None or b is None else format(b - a, f"+{form}"))


def _timed(of: Costs, name: str) -> float | None:
    return None if of.latency is None else getattr(of.latency, name)


def _share(value: float) -> str:
    return f"{value:.3f}"


def _value(value: Any) -> str:
    text = "–" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"
