"""Accuracy by the severity of corruptions, as charts of a group of kinds each, beside the champion's."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from fer.reports import svg_lines
from fer.reports.svg_lines import Axes, Line


def charts(robustness: Mapping[str, Any] | None) -> list[tuple[str, Markup]]:
    """A chart for each group, with its name: the candidate's means, and the champion's, on the images that are new to
    the champion; without one on all, beside the accuracy on these as they are. Of one severity alone there is none.
    """
    if not robustness or len(robustness["groups"][0]["severities"]) < 2:
        return []
    beside = robustness.get("comparison") or {}
    champions = {group["group"]: group for group in beside.get("champion_groups", ())}
    result = []
    for group in beside.get("groups") or robustness["groups"]:
        severities = group["severities"]
        lines = [Line("this model", list(zip(severities, group["accuracies"], strict=True)), "first")]
        if champion := champions.get(group["group"]):
            lines.insert(0, Line("champion", list(zip(severities, champion["accuracies"], strict=True)), "second"))
        else:
            clean = robustness["accuracy"]
            lines.insert(0, Line("as they are", [(severities[0], clean), (severities[-1], clean)], "ideal"))
        names = ", ".join(kind.replace("_", " ") for kind in group["kinds"])
        axes = Axes("severity", "accuracy", (severities[0], severities[-1]), (0.0, 1.0))
        chart = svg_lines.chart(lines, axes, title=f"{group['group']}: mean accuracy by severity of {names}")
        result.append((group["group"].capitalize(), chart))
    return result
