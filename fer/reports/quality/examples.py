"""Examples of each issue as small pictures, for a report that is asked to show faces.

Only the thumbnails that are shown are read, and at most MOST examples of an issue are.
"""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts import files, manifest
from fer.reports.quality import figures
from fer.reports.quality.page import Example, Gallery, Picture

MOST = 16

Row = dict[str, Any]  # of the manifest

# Issue -> the column that it is about, and the order in which the clearest cases come first.
_BY_PROPERTY = {
    "dark": ("p99", "ascending"),
    "bright": ("p05", "descending"),
    "blurry": ("sharpness", "ascending"),
    "low_information": ("entropy", "ascending"),
    "blank": ("mean", "ascending"),
    "odd_size": ("width", "descending"),
    "outlier": ("outlier_score", "descending"),
    "no_face": ("face_score", "ascending"),
}
_NOTES = {
    "dark": "the darkest first",
    "bright": "the brightest first",
    "blurry": "the least sharp first",
    "low_information": "those that hold least first",
    "odd_size": "the widest first",
    "outlier": "the least like the others first",
    "no_face": "the least like a face first",
}
_PROPERTIES = ["image_id", "path", "label", "pixel_sha256", "width", "height", "part", "row"]


def galleries(folders: Mapping[str, Path]) -> tuple[Gallery, ...]:
    """The issues that images have, each with examples; those about labels first."""
    findings = pq.read_table(folders["inspect"] / files.FINDINGS)
    decided = pq.read_table(folders["curate"] / files.CURATION, columns=["image_id", "issues"])
    columns = [*_PROPERTIES, "mean", "p05", "p99", "entropy", "sharpness"]
    images = pq.read_table(folders["validate"] / files.ACCEPTED, columns=columns).sort_by("image_id")
    for name in ("outlier_score", "face_score"):
        images = images.append_column(name, _by_id(findings, name, images["image_id"]))
    doubted = figures.label_errors(folders)
    in_doubt = images.take(pc.index_in(doubted["image_id"], images["image_id"].combine_chunks()))
    for name in ("suggested_label", "label_quality"):
        in_doubt = in_doubt.append_column(name, doubted[name])
    thumbnails = _Thumbnails(folders["index"] / files.THUMBNAILS)
    issues = _by_id(decided, "issues", images["image_id"]).combine_chunks()
    at, names = pc.list_parent_indices(issues), pc.list_flatten(issues)

    def having(issue: str) -> pa.Table:
        return images.take(at.filter(pc.equal(names, issue)))

    all_galleries = [
        _conflicts(having("conflicting_labels"), thumbnails),
        _label_errors(in_doubt, thumbnails),
        _near_duplicates(pq.read_table(folders["inspect"] / files.PAIRS), images, thumbnails),
    ]
    for issue, (column, order) in _BY_PROPERTY.items():
        rows = having(issue)
        clearest = rows.sort_by([(column, order), ("image_id", "ascending")]).slice(0, MOST).to_pylist()
        examples = tuple(Example((picture,)) for picture in thumbnails.of(clearest))
        all_galleries.append(Gallery(issue.replace("_", " ").capitalize(), _NOTES.get(issue, ""), examples, len(rows)))
    return tuple(gallery for gallery in all_galleries if gallery.examples)


def _conflicts(images: pa.Table, thumbnails: "_Thumbnails") -> Gallery:
    """Identical images of different classes, side by side: of each class one."""
    groups: dict[str, dict[str, Row]] = {}
    for row in images.sort_by([("pixel_sha256", "ascending"), ("label", "ascending")]).to_pylist():
        groups.setdefault(row["pixel_sha256"], {}).setdefault(row["label"], row)
    shown = list(groups.values())[:MOST]
    pictures = iter(thumbnails.of([row for group in shown for row in group.values()]))
    examples = tuple(Example(tuple(next(pictures) for _ in group), " or ".join(group) + "?") for group in shown)
    return Gallery("Identical images with different labels", "one of each class", examples, len(groups))


def _label_errors(images: pa.Table, thumbnails: "_Thumbnails") -> Gallery:
    clearest = images.sort_by([("label_quality", "ascending"), ("image_id", "ascending")]).slice(0, MOST).to_pylist()
    examples = tuple(
        Example((picture,), f"{row['label']} ({row['label_quality'] or 0:.0%}) → {row['suggested_label']}")
        for row, picture in zip(clearest, thumbnails.of(clearest), strict=True)
    )
    return Gallery(
        "Labels in doubt", "given (and how likely it is) → suggested, the least likely first", examples, len(images)
    )


def _near_duplicates(pairs: pa.Table, images: pa.Table, thumbnails: "_Thumbnails") -> Gallery:
    """The least alike of the near-duplicates: they tell whether the threshold is right."""
    pairs = pairs.sort_by([("correlation", "ascending"), ("first", "ascending"), ("second", "ascending")])
    shown = pairs.slice(0, MOST).to_pylist()
    at = pc.index_in(
        pa.array([pair[end] for pair in shown for end in ("first", "second")], pa.string()),
        images["image_id"].combine_chunks(),
    )
    pictures = thumbnails.of(images.take(at).to_pylist())
    examples = tuple(
        Example(tuple(pictures[2 * number : 2 * number + 2]), f"{pair['kind']}, correlation {pair['correlation']:.3f}")
        for number, pair in enumerate(shown)
    )
    return Gallery("Near-duplicates", "pairs, the least alike first", examples, len(pairs))


def _by_id(table: pa.Table, column: str, ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column's values for these image_ids; null where there is no such row."""
    return pc.take(table[column], pc.index_in(ids, table["image_id"].combine_chunks()))


class _Thumbnails:
    """The thumbnails in a folder."""

    def __init__(self, folder: Path):
        self._folder = folder

    def of(self, rows: Sequence[Row]) -> list[Picture]:
        """A picture of each row of the manifest."""
        uris: dict[tuple[int, int], str] = {}
        for number in sorted({row["part"] for row in rows}):
            wanted = sorted({row["row"] for row in rows if row["part"] == number})
            uris |= {(number, at): uri for at, uri in zip(wanted, self._read(number, wanted), strict=True)}
        return [Picture(uris[row["part"], row["row"]], str(row["label"]), row["path"]) for row in rows]

    def _read(self, number: int, wanted: list[int]) -> list[str]:
        import numpy as np

        from fer.images import encode

        side = manifest.THUMBNAIL_SIDE
        pixels = pq.read_table(self._folder / files.part(number), columns=["pixels"])["pixels"].take(pa.array(wanted))
        return [
            "data:image/png;base64,"
            + base64.b64encode(encode.png(np.frombuffer(thumbnail, np.uint8).reshape(side, side))).decode()
            for thumbnail in pixels.to_pylist()
        ]
