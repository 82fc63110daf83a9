"""A comparison's task: several models in one table."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from fer import plain_text, settings
from fer.engine import disk
from fer.evaluation.comparing import candidates
from fer.evaluation.refs import EvaluationRef
from fer.recipes import overrides
from fer.recipes.schema import Recipe
from fer.reports import comparison as comparison_report
from fer.reports import evaluation as evaluation_report
from fer.reports import pages
from fer.training.refs import ModelRef
from tasks import caching, reports
from tasks.runs.results import ComparisonResult
from tasks.shown import artifacts


@caching.uncached("compare", retries=0)
def publish(
    base: Recipe,
    choice: str,
    sources: Sequence[str],
    variants: Mapping[str, Recipe],
    models: Mapping[str, tuple[ModelRef, EvaluationRef]],
    known: candidates.Known,
) -> ComparisonResult:
    """Put the candidates in a table, on a page of the UI and in files; `known` of their test images divides them.

    `variants` are their recipes by name, made from `base`, which the user named by `choice`.
    """
    workspace = caching.workspace()
    rows = candidates.compare(models, workspace, known)
    settings_of = {name: overrides.assignments(variant, base.resolved()) for name, variant in variants.items()}
    text = f"# {base.name}: {len(rows)} models compared\n\n{comparison_report.markdown(rows)}"
    by_class = "\n" + comparison_report.by_class(rows)
    by_class += "".join(
        _section(name, settings_of[name], workspace.folder(reports.evaluation_report(evaluation, model)))
        for name, (model, evaluation) in models.items()
    )
    folder = settings.Settings.load().home / "reports" / "comparisons" / base.name
    folder.mkdir(parents=True, exist_ok=True)
    names = {"report": "comparison.html", "as Markdown": "comparison.md", "as JSON": "comparison.json"}
    paths = {what: folder / name for what, name in names.items()}
    document = {
        "recipe": base.name,
        "sources": list(sources),
        "settings": settings_of,
        "rows": [row.model_dump(mode="json") for row in rows],
    }
    page = pages.from_markdown(f"{base.name}: models compared", text, comparison_report.pictures(rows), by_class)
    disk.write(paths["report"], page.encode())
    disk.write(paths["as Markdown"], f"{text}{by_class}".encode())
    disk.write(paths["as JSON"], json.dumps(document, indent=1, ensure_ascii=False).encode())
    artifacts.markdown("comparison", f"{text}{by_class}", "Models compared on the same images")
    return ComparisonResult(
        recipe=choice,
        rows=tuple(comparison_report.table(rows)),
        best=candidates.best_of(rows).candidate,
        reports={name: str(path) for name, path in paths.items()},
    )


def _section(name: str, assignments: Sequence[str], report: Path) -> str:
    """A candidate's settings and its metrics by class, as Markdown; `report` is the folder of its report."""
    plain = plain_text.in_markdown
    chosen = "\n".join(f"* {plain(assignment)}" for assignment in assignments) or "The recipe's own settings."
    _, _, by_class = (report / evaluation_report.MARKDOWN).read_text().partition("\n")
    return f"\n## {plain(name)}\n\n{chosen}\n{by_class}"
