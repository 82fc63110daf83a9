"""The Ref of the stage `score`, and its settings."""

from pydantic import Field

from fer.engine.records import Record
from fer.engine.refs import Ref


class ScoreConfig(Record):
    """By which release pictures are scored, and how.

    `model_file` is the file of the release that answers, with its SHA-256: an export where it has one.
    """

    release: str  # NAME@VERSION
    model_file: str
    model_sha256: str
    whole: bool = Field(default=False, description="take each picture for a face, and look for none in it")
    pictures_per_shard: int = Field(default=4_096, ge=1, le=65_536, description="at most")


class ScoresRef(Ref):
    """`scores-00000.parquet`, … (`data_contracts.scores`), in the order of the pictures. The digest is theirs."""

    release: str
    n_pictures: int
    n_faces: int
    n_without: int  # pictures in which no face was found
    n_unreadable: int
    n_shards: int

    def summary(self) -> str:
        """See Ref."""
        without = f", {self.n_without:,} pictures without a face" if self.n_without else ""
        unreadable = f", {self.n_unreadable:,} can't be read" if self.n_unreadable else ""
        return f"{self.n_faces:,} faces of {self.n_pictures:,} pictures by {self.release}{without}{unreadable}"
