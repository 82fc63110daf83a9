"""How many of a split's images the champion has not learned: what tells that there is enough new data to retrain on."""

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_contracts import files
from fer.engine.records import Record
from fer.registry import registry, trained_on


class Growth(Record):
    """Images that a champion was trained on or chosen by, and those that a new training would have beside them."""

    name: str
    version: int
    n_learned: int
    n_new: int

    @property
    def share(self) -> float:
        """New images for each that was learned."""
        return self.n_new / self.n_learned if self.n_learned else float("inf")

    def summary(self) -> str:
        """Both numbers, in words."""
        return f"{self.n_new:,} images are new to {self.name}@{self.version}, which learned {self.n_learned:,}"


def since_champion(models: registry.Registry, name: str, split_folder: Path) -> Growth | None:
    """By the images' pixels, so that a copy is not new; None without a champion that says what it learned.

    Raises StoreError, IntegrityError.
    """
    champion = models.ledger(name).read().champion
    if champion is None:
        return None
    manifest = models.get(name, str(champion))
    models.require_trusted(manifest)
    stored = manifest.files.get(files.TRAINED_ON)
    if stored is None:
        return None
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / files.TRAINED_ON
        models.store.download_file(stored.key, path, stored.sha256)
        learned = trained_on.read(path)["pixel_sha256"].unique()
    rows = pq.read_table(split_folder / files.SPLIT, columns=["pixel_sha256", "split"])
    to_learn = rows.filter(pc.is_in(rows["split"], pa.array(["train", "validation"])))["pixel_sha256"].unique()
    n_known = pc.sum(pc.is_in(to_learn, value_set=learned)).as_py() or 0
    return Growth(name=name, version=champion, n_learned=len(learned), n_new=len(to_learn) - n_known)
