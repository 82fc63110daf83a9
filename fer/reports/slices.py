"""A model on parts of the test as Markdown, from its JSON alone."""

from pathlib import Path

from fer import plain_text
from fer.evaluation.slices import figures
from fer.reports import markdown_tables

_MOST = 20  # slices that are shown: people and sources can be many


def markdown(folder: Path) -> str:
    """The `slices.json` in `folder`: the worst slices beside the rest, and what could not be looked at."""
    found = figures.Slices.model_validate_json((folder / figures.FILE).read_bytes())
    n_worse = sum(one.is_worse for one in found.slices)
    rows = [
        {
            "slice": one.name,
            "images": one.n_images,
            "accuracy": f"{one.accuracy:.3f} ({one.accuracy_interval[0]:.3f} to {one.accuracy_interval[1]:.3f})",
            "by its classes": f"{one.accuracy_by_classes:.3f}",
            "rest": f"{one.accuracy_of_rest:.3f}",
            "difference": f"{one.difference:+.3f} ({one.difference_interval[0]:+.3f} to "
            f"{one.difference_interval[1]:+.3f})",
            "p": f"{one.p_corrected:.2g}",
            "worse": "yes" if one.is_worse else "",
        }
        for one in found.slices[:_MOST]
    ]
    lines = [
        "# Parts of the test by themselves",
        "",
        f"Accuracy **{found.accuracy:.3f}** on {found.n_images:,} images. Of {len(found.slices):,} slices of "
        f"{found.min_slice_size:,} images or more {n_worse:,} are worse than the rest, by Fisher's exact test at "
        f"{figures.LEVEL:g} after Holm's correction. The worst first; intervals at 95 %.",
        "",
        markdown_tables.table(rows),
        *(f"- Not evaluated: {plain_text.in_markdown(one)}." for one in found.not_evaluated),
    ]
    return "\n".join(lines) + "\n"
