"""The data's reports: on this machine for everyone who runs it, in the store for everyone who looks."""

from pathlib import Path

from prefect import task

from data_contracts import files
from fer import baseline, embedded_store, errors, refs, settings, sharing
from fer import quality as quality_stage
from fer.workspace import write_atomically
from tasks import artifacts, caching


@task(name="show quality", **caching.UNCACHED)
def show_quality(
    plan_name: str, manifest: refs.ManifestRef, quality: refs.QualityRef, with_faces: refs.QualityRef | None = None
) -> dict[str, str]:
    """Put the quality report where people look for it; what it shows -> its path.

    Raises ContractViolation if the data is not fit for training.
    """
    workspace = caching.workspace()
    folder = settings.Settings.load().home / "reports" / "data" / baseline.name(plan_name, manifest.source)
    folder.mkdir(parents=True, exist_ok=True)
    made = {"data quality": folder / quality_stage.HTML, "as JSON": folder / quality_stage.JSON}
    for path in made.values():
        write_atomically(path, (workspace.folder(quality) / path.name).read_bytes())
    if with_faces is not None:
        made["with faces"] = folder / f"with_faces_{quality_stage.HTML}"
        write_atomically(made["with faces"], (workspace.folder(with_faces) / quality_stage.HTML).read_bytes())
    page = made["data quality"]
    artifacts.markdown(
        "quality-report",
        f"{quality_stage.markdown(workspace.folder(quality))}\nThe whole report: `{page}`",
        "What came in, what was refused and why",
    )
    if quality.failures:
        raise errors.ContractViolation(
            "The data must keep its contracts and the recipe's policies.",
            received="; ".join(quality.failures),
            todo=f"read {page}, then correct the sources or the recipe's contracts, policies or drift settings",
        )
    return {name: str(path) for name, path in made.items()}


@task(name="share quality", **caching.UNCACHED, **caching.retried(3))
def share_quality(intake: refs.Intake) -> None:
    """Put the report and the manifest's Data Docs into the store, and link them from the run."""
    workspace = caching.workspace()
    share(
        f"data/{intake.quality.path.split('/')[-1]}",
        {"quality": workspace.folder(intake.quality), "manifest": workspace.folder(intake.validation) / files.DOCS},
        key="data-docs",
    )


def share(name: str, parts: dict[str, Path], *, key: str) -> None:
    """Put folders of pages into the store, and link them in the artifact `key`."""
    with embedded_store.connect(settings.Settings.load()) as store:
        pages = sharing.share(store, name, parts)
        place = store.uri(f"reports/{name}")
    lines = [f"- {page.part}: [{page.name}]({page.link})" for page in pages]
    note = f"In the store at `{place}`; the links are good for a week, while the store runs (`fer store up`)."
    artifacts.markdown(key, "\n".join([note, "", *lines]), "Great Expectations' Data Docs and reports")
