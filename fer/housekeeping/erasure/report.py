"""The report of an erasure, for who answers for data protection: Markdown, JSON, and one page that needs nothing else.

No picture is in it, nor the name of a subject.
"""

from collections.abc import Iterator
from pathlib import Path

from fer import plain_text
from fer.engine import buckets, disk
from fer.engine.code import key_parts
from fer.housekeeping.erasure.erase import Erasure
from fer.reports import markdown_tables, pages

NAMES = {"report": "erasure.html", "as Markdown": "erasure.md", "as JSON": "erasure.json"}
_MOST_IMAGES = 200
_DIGITS = 16  # of a digest


def write(erasure: Erasure, folder: Path) -> dict[str, Path]:
    """Write all three; what it shows -> its path."""
    folder.mkdir(parents=True, exist_ok=True)
    text = markdown(erasure)
    content = {
        "report": pages.from_markdown("Erasure report", text),
        "as Markdown": text,
        "as JSON": erasure.model_dump_json(indent=1),
    }
    for title, name in NAMES.items():
        disk.write(folder / name, content[title].encode())
    return {title: folder / name for title, name in NAMES.items()}


def markdown(erasure: Erasure) -> str:
    """The report as Markdown."""
    return "\n".join(_lines(erasure)) + "\n"


def _lines(erasure: Erasure) -> Iterator[str]:
    plain = plain_text.in_markdown
    yield from ["# Erasure report" if erasure.is_done else "# What an erasure would do", ""]
    yield from [
        f"- asked for by **{erasure.asked_by}**; done by {plain(erasure.by)} on {erasure.at_utc:%Y-%m-%d %H:%M} UTC"
    ]
    yield f"- reason: {plain(erasure.reason) or 'none given'}"
    yield f"- {erasure.pictures()}"
    yield f"- {_of_tombstone(erasure)}"
    copies = ", with this machine's copies of what is there" if _in_bucket(erasure) else ""
    yield f"- workspace: {plain(erasure.workspace)}{copies}"
    yield from ["", "## Models that knew them", ""]
    if erasure.releases:
        yield markdown_tables.table(
            [
                {
                    "release": known.release,
                    "must be retrained": "yes" if known.must_be_retrained else "no: only tested on them",
                    "status": "champion" if known.is_champion else known.status,
                    "trained on": known.n_train,
                    "chosen by": known.n_validation,
                    "tested on": known.n_test,
                }
                for known in erasure.releases
            ]
        )
    else:
        yield "None: no release was trained on them, chosen by them or tested on them."
    if erasure.silent_releases:
        yield from ["", f"These don't say what they were trained on: {', '.join(erasure.silent_releases)}."]
    if erasure.retrained:
        yield from [
            "",
            "A release is not changed by an erasure. Retrain (`fer retrain`), promote the new version by name",
        ]
        yield from ["if the gates only kept it (`fer models promote`), then withdraw each of these:", "", "```"]
        yield from [*(f"fer models withdraw {spec} --reason ERASURE" for spec in erasure.retrained), "```"]
    yield from ["", "## What held their pixels", ""]
    if erasure.things:
        rows = [
            {
                "now": thing.fate,
                "where": key_parts.short(thing.name),
                "what": thing.what,
                "MB": f"{thing.size_bytes / 1e6:,.1f}",
            }
            for thing in erasure.things
        ]
        yield markdown_tables.table(rows)
    else:
        yield "Nothing on this machine."
    yield from ["", "## What stays", ""]
    yield from _stays(erasure)
    yield from ["", "## The pictures in the workspace", ""]
    if erasure.images:
        rows = [
            {
                "image": image.image_id,
                "pixels (SHA-256)": image.pixel_sha256[:_DIGITS],
                "source": image.source,
                "": "near-twin" if image.is_twin else "asked for",
            }
            for image in erasure.images[:_MOST_IMAGES]
        ]
        yield markdown_tables.table(rows)
        if len(erasure.images) > _MOST_IMAGES:
            yield f"\n… and {len(erasure.images) - _MOST_IMAGES:,} more, all of them in `{NAMES['as JSON']}`."
    else:
        yield "None."


def _in_bucket(erasure: Erasure) -> bool:
    return buckets.parse(erasure.workspace) is not None


def _of_tombstone(erasure: Erasure) -> str:
    if not erasure.tombstone:
        return f"tombstone: {erasure.n_earlier_tombstones:,} earlier ones know these pictures already"
    stands = "stands in the store" if erasure.is_done else "would be written"
    return f"tombstone `{erasure.tombstone[:_DIGITS]}` {stands}: no later run takes these pictures in, or twins of them"


def _stays(erasure: Erasure) -> Iterator[str]:
    sources = ", ".join(map(plain_text.in_markdown, erasure.sources)) or "the sources"
    yield f"- **The sources** are not changed: {sources}. Whoever owns them must remove the pictures there; a later"
    yield "  run reads the archive again, and leaves them out as it takes the pictures in."
    yield "- **Rows about the pictures** (path, label, digests, the subject if it is known; no pixels) in outputs of"
    in_bucket = "; in the bucket until its prefix is removed" if _in_bucket(erasure) else ""
    yield f"  validation, curation and split, until `fer gc` removes these as newer data is accepted{in_bucket}."
    yield "- **Digests of pixels** in the releases above, by which it is known that they knew them, and in the"
    yield "  tombstone, with 24 bytes for each picture asked for: the least that knows it again."
    yield "- **Models** that were trained on them, until they are retrained and withdrawn; averages of 20 faces."
    yield "- **Backups**, other machines' workspaces and their copies of this one, and Kaggle's cache"
    yield "  (`~/.cache/kagglehub`), which this command does not see: run it there too."
