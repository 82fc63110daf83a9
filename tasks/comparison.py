"""A comparison's task: several models in one table."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from prefect import task

from fer import plain_text, settings
from fer.engine import disk
from fer.evaluation import compare
from fer.evaluation.refs import EvaluationRef
from fer.recipes import overrides
from fer.recipes.schema import Recipe
from fer.reports import comparison as comparison_report
from fer.training.refs import ModelRef
from tasks import artifacts, caching
from tasks.results import ComparisonOutcome


@task(name="compare", **caching.UNCACHED)
def publish(
    base: Recipe,
    recipe: str,
    sources: Sequence[str],
    plans: Mapping[str, Recipe],
    found: Mapping[str, tuple[ModelRef, EvaluationRef]],
) -> ComparisonOutcome:
    """Put the candidates in a table, on a page of the UI and in files.

    `plans` are their recipes, variants of `base`, which `recipe` names.
    """
    workspace = caching.workspace()
    rows = compare.compare(found, workspace)
    differing = {name: overrides.assignments(each, base.resolved()) for name, each in plans.items()}
    text = f"# {base.name}: {len(rows)} models compared\n\n{comparison_report.markdown(rows)}"
    by_class = "".join(
        _section(name, differing[name], workspace.folder(evaluation)) for name, (_, evaluation) in found.items()
    )
    folder = settings.Settings.load().home / "reports" / "comparisons" / base.name
    folder.mkdir(parents=True, exist_ok=True)
    made = {"as Markdown": folder / "comparison.md", "as JSON": folder / "comparison.json"}
    record = {
        "recipe": base.name,
        "sources": list(sources),
        "settings": differing,
        "rows": [row.model_dump(mode="json") for row in rows],
    }
    disk.write(made["as Markdown"], f"{text}{by_class}".encode())
    disk.write(made["as JSON"], json.dumps(record, indent=1, ensure_ascii=False).encode())
    artifacts.markdown("comparison", f"{text}{by_class}", "Models compared on the same images")
    return ComparisonOutcome(
        recipe=recipe,
        rows=tuple(comparison_report.table(rows)),
        best=compare.best_of(rows).candidate,
        reports={name: str(path) for name, path in made.items()},
    )


def _section(name: str, differing: Sequence[str], evaluation: Path) -> str:
    """A candidate's settings and its metrics by class, as Markdown."""
    shown = plain_text.in_markdown
    chosen = "\n".join(f"* {shown(each)}" for each in differing) or "The recipe's own settings."
    _, _, by_class = (evaluation / "report.md").read_text().partition("\n")
    return f"\n## {shown(name)}\n\n{chosen}\n{by_class}"
