"""The outputs of the stages of `fer.ingest`."""

from pydantic import Field

from fer.engine.refs import Counts, Ref


class DatasetRef(Ref):
    """`dataset.zip`: the source as delivered."""

    source: str
    n_files: int
    size_bytes: int
    left_out: Counts = Field(default_factory=dict)  # kind of hidden or system file or folder -> count

    def summary(self) -> str:
        """See Ref."""
        return f"{self.source}: {self.n_files:,} files, {self.size_bytes / 1e6:,.1f} MB"


class TombstonesRef(Ref):
    """`tombstones.parquet`: the images that are to be forgotten."""

    n_images: int

    def summary(self) -> str:
        """See Ref."""
        return f"{self.n_images:,} image{'s are' if self.n_images != 1 else ' is'} to be forgotten"


class ManifestRef(Ref):
    """`manifest.parquet`, one row per file found, and its bytes and thumbnails in `images/` and `thumbnails/`."""

    source: str  # of the datasets, as in `DatasetRef.source`, sorted and joined by `sources.JOINED_BY`
    layouts: tuple[str, ...]
    classes: tuple[str, ...]
    synonyms: dict[str, str] = Field(default_factory=dict)  # as in the recipe
    ignore_labels: tuple[str, ...] = ()
    n_found: int
    n_quarantined: int
    n_forgotten: int = 0  # images left out, of which nothing is kept: they, or twins of theirs, are to be forgotten
    ignored: Counts = Field(default_factory=dict)  # kind of other file in the sources -> count
    warnings: tuple[str, ...] = ()
    split_warnings: tuple[str, ...] = ()  # what looks like a split and is none; of interest where splits are kept

    def summary(self) -> str:
        """See Ref."""
        n_ignored = sum(self.ignored.values())
        ignored = f", {n_ignored:,} other file{'s' * (n_ignored != 1)} ignored" if n_ignored else ""
        forgotten = f", {self.n_forgotten:,} left out as they are to be forgotten" if self.n_forgotten else ""
        layout = ", ".join(self.layouts)
        return f"{self.n_found:,} images found ({layout}), {self.n_quarantined:,} can't be read{ignored}{forgotten}"
