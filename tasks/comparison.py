"""A comparison's task: several models in one table."""

import json
from collections.abc import Mapping, Sequence

from prefect import task

from fer import compare, errors, refs, settings
from fer.recipe import Recipe
from fer.workspace import write_atomically
from tasks import artifacts, caching

_OF_THE_DATA = ("demo", "index", "contracts", "inspect", "curate", "split", "drift")


def check(plan: Recipe, plans: Mapping[str, Recipe]) -> None:
    """Raise ConfigError if there is nothing to compare, or candidates are not of the same data."""
    if not plans:
        raise errors.ConfigError(
            "A comparison must have candidates.",
            received="none",
            todo="name some: --candidate 'vgg: train.model.name=vgg'",
        )
    for name, each in plans.items():
        other = next((part for part in _OF_THE_DATA if getattr(each, part) != getattr(plan, part)), None)
        if other is not None:
            raise errors.ConfigError(
                "Candidates must be compared on the same data and splits.",
                received=f"another {other} for {name}",
                todo=f"give settings of {other} for all of them, by --set",
            )


@task(name="compare", **caching.UNCACHED)
def publish(
    recipe: str, sources: Sequence[str], found: Mapping[str, tuple[refs.ModelRef, refs.EvaluationRef]]
) -> refs.ComparisonOutcome:
    """Put the candidates in a table, on a page of the UI and in files."""
    workspace = caching.workspace()
    rows = compare.compare(found, workspace)
    text = f"# {recipe}: {len(rows)} models compared\n\n{compare.markdown(rows)}"
    reports = {name: workspace.folder(evaluation) / "report.md" for name, (_, evaluation) in found.items()}
    by_class = "\n".join(f"\n## {name}\n{path.read_text().partition(chr(10))[2]}" for name, path in reports.items())
    folder = settings.Settings.load().home / "reports" / "comparisons" / recipe
    folder.mkdir(parents=True, exist_ok=True)
    made = {"as Markdown": folder / "comparison.md", "as JSON": folder / "comparison.json"}
    record = {"recipe": recipe, "sources": list(sources), "rows": [row.model_dump(mode="json") for row in rows]}
    write_atomically(made["as Markdown"], f"{text}{by_class}".encode())
    write_atomically(made["as JSON"], json.dumps(record, indent=1, ensure_ascii=False).encode())
    artifacts.markdown("comparison", f"{text}{by_class}", "Models compared on the same images")
    return refs.ComparisonOutcome(
        recipe=recipe,
        rows=tuple(compare.table(rows)),
        best=compare.best_of(rows).candidate,
        reports={name: str(path) for name, path in made.items()},
    )
