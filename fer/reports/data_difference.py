"""What differs between two versions of data, for the terminal and as a page."""

import io
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fer import plain_text
from fer.curation.versions.difference import Beside, DataDifference
from fer.engine import disk
from fer.reports import markdown_tables, pages

HTML, JSON, PARQUET = "data_difference.html", "data_difference.json", "changes.parquet"
Rows = list[dict[str, str | int | float]]
_MEANINGS = {  # kind of change -> what it says
    "added": "in B alone",
    "removed": "in A alone",
    "relabelled": "the same image with another label",
    "moved": "the same image in another split",
    "renamed": "the same pixels under another path, or encoded anew",
}


def summary(found: DataDifference) -> Rows:
    """A row for each kind of change."""
    rows: Rows = [{"change": "none", "images": found.n_same, "": "as in A"}]
    for kind, meaning in _MEANINGS.items():
        count = getattr(found, f"n_{kind}")
        if count is None:
            rows.append({"change": kind, "images": "–", "": "the splits of a version are not known"})
        else:
            rows.append({"change": kind, "images": count, "": meaning})
    return rows


def beside(name: str, values: Mapping[str, Beside]) -> Rows:
    """A row for each class, source or split."""
    return [
        {name: value, "A": of.a, "B": of.b, "B minus A": f"{of.b - of.a:+,}", "added": of.added, "removed": of.removed}
        for value, of in values.items()
    ]


def crossed(found: Mapping[str, Mapping[str, int]]) -> Rows:
    """A row for each label or split in A and in B, most images first."""
    pairs = [(n, a, b) for a, by_b in found.items() for b, n in by_b.items()]
    return [{"in A": a, "in B": b, "images": n} for n, a, b in sorted(pairs, key=lambda pair: (-pair[0], *pair[1:]))]


def drifted(found: DataDifference) -> Rows:
    """A row for each test of drift."""
    return [
        {
            "property": str(test["what"]),
            "of": "all images" if test["of"] == "all" else f"the {test['n']:,} added",
            "distance": f"{test['effect']:.3f}",
            "drift from": f"{test['threshold']:.3f}",
            "p": f"{test['p_corrected']:.3g}",
            "verdict": "drift" if test["drifted"] else "none",
        }
        for test in found.drift
    ]


def markdown(found: DataDifference) -> str:
    """The whole difference."""
    plain = plain_text.in_markdown
    parts = [
        f"# What changed from {plain(found.a)} to {plain(found.b)}",
        f"A: {plain(found.a)}, {found.n_a:,} images, digest `{found.digest_a}`",
        f"B: {plain(found.b)}, {found.n_b:,} images, digest `{found.digest_b}`",
        markdown_tables.table(summary(found)),
        *_section("By class", beside("class", found.classes)),
        *_section("By source", beside("source", found.sources)),
        *_section("By split", beside("split", found.splits)),
        *_section("Relabelled", crossed(found.relabelled)),
        *_section("Moved between splits", crossed(found.moved or {})),
        *_section("Drift, from A on", drifted(found)),
        "Drift is a difference that is large (the distance reaches its threshold) and no chance (p, corrected for the "
        "number of tests). The distance is Kolmogorov's and Smirnov's, of class shares the total variation distance.",
    ]
    if found.examples:
        parts.append(f"## Images\n\nSome of each kind by their image_id; all are in `{PARQUET}`.")
        parts += [
            f"**{kind}** " + ", ".join(f"`{plain(name)}`" for name in ids) for kind, ids in found.examples.items()
        ]
    return "\n\n".join(parts) + "\n"


def write(folder: Path, found: DataDifference, changes: pa.Table) -> dict[str, Path]:
    """Write the page, the document and all changes; what it is -> its path."""
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    pq.write_table(changes, buffer, compression="zstd")
    paths = {"page": folder / HTML, "as JSON": folder / JSON, "all changes": folder / PARQUET}
    disk.write(paths["page"], pages.from_markdown(f"{found.a} and {found.b}", markdown(found)).encode())
    disk.write(paths["as JSON"], found.model_dump_json(indent=1).encode())
    disk.write(paths["all changes"], buffer.getvalue())
    return paths


def _section(title: str, rows: Rows) -> list[str]:
    return [f"## {title}", markdown_tables.table(rows)] if rows else []
