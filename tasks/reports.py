"""The data's reports: on this machine for everyone who runs it, in the store for everyone who looks."""

from pathlib import Path

from prefect import task

from data_contracts import files
from fer import errors, settings
from fer.curation import baseline
from fer.curation.refs import ValidationRef
from fer.engine import disk, seaweedfs
from fer.reports import publishing
from fer.reports.quality import stage as quality_stage
from fer.reports.refs import QualityRef
from tasks import artifacts, caching

_FACES = f"with_faces_{quality_stage.HTML}"


@task(name="show quality", **caching.UNCACHED, **caching.retried(3))
def show_quality(
    recipe: str,
    given: list[str],
    validation: ValidationRef,
    quality: QualityRef,
    with_faces: QualityRef | None = None,
) -> dict[str, str]:
    """Put the quality report where people look for it; what it shows -> its path."""
    workspace = caching.workspace()
    folder = settings.Settings.load().home / "reports" / "data" / baseline.name(recipe, baseline.families(given))
    folder.mkdir(parents=True, exist_ok=True)
    made = {"data quality": folder / quality_stage.HTML, "as JSON": folder / quality_stage.JSON}
    for path in made.values():
        disk.write(path, (workspace.folder(quality) / path.name).read_bytes())
    if with_faces is not None:
        made["with faces"] = folder / _FACES
        disk.write(made["with faces"], (workspace.folder(with_faces) / quality_stage.HTML).read_bytes())
    else:  # of other data, perhaps
        (folder / _FACES).unlink(missing_ok=True)
    docs = workspace.folder(validation) / files.DOCS / "index.html"
    artifacts.markdown(
        "quality-report",
        f"{quality_stage.markdown(workspace.folder(quality))}\nThe whole report: `{made['data quality']}`; "
        f"the contract's Data Docs: `{docs}`",
        "What came in, what was refused and why",
    )
    return {name: str(path) for name, path in (made | {"data docs": docs}).items()}


def require_fit(quality: QualityRef, reports: dict[str, str]) -> None:
    """Raise UnfitData if the report says that the data is not fit for training."""
    if quality.failures:
        pages = ", or ".join(reports[name] for name in ("data quality", "with faces") if name in reports)
        raise errors.UnfitData(
            "The data must keep its contracts and the recipe's policies.",
            received="; ".join(quality.failures),
            todo=f"read {pages}, then correct the sources or the recipe's contracts, policies or drift settings",
            reports=reports,
        )


@task(name="share quality", **caching.UNCACHED, **caching.retried(3))
def share_quality(validation: ValidationRef, quality: QualityRef) -> None:
    """Put the report and the manifest's Data Docs into the store, and link them from the run."""
    workspace = caching.workspace()
    share(
        f"data/{quality.path.split('/')[-1]}",
        {"quality": workspace.folder(quality), "manifest": workspace.folder(validation) / files.DOCS},
        key="data-docs",
    )


def share(name: str, parts: dict[str, Path], *, key: str) -> None:
    """Put folders of pages into the store, and link them in the artifact `key`."""
    with seaweedfs.connect(settings.Settings.load()) as store:
        shared = publishing.share(store, name, parts)
        place = store.uri(shared.top)
    note = f"In the store at `{place}`; the links are good for a week, while it runs at this address (`fer store up`)."
    if any(page.link is None for page in shared.pages):
        note = f"In the store at `{place}`. No links: signed by this temporary key they would hold it."
    lines = [
        f"- {page.part}: " + (f"`{page.name}`" if page.link is None else f"[{page.name}]({page.link})")
        for page in shared.pages
    ]
    artifacts.markdown(key, "\n".join([note, "", *lines]), "Great Expectations' Data Docs and reports")
