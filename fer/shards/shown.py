"""`shown.parquet` of a release: what its model was shown in training, as properties of the pixels.

A row for each of some train images, whose ids are not told: what is scored later is compared with them.
"""

from pathlib import Path

import pyarrow as pa

from data_contracts import scores as contract
from fer.images import properties
from fer.shards import selection

_IMAGES = 5_000
_AT_ONCE = 256


def table(shards: Path) -> pa.Table:
    """What is to be written, of the train images in a folder of shards: of all, or of so many by their ids."""
    chosen = selection.choose(selection.image_ids(shards, "train"), _IMAGES, seed=0)
    rows = (
        []
        if not chosen
        else [
            vars(properties.measure(pixels))
            for batch in selection.batches(shards, "train", chosen, _AT_ONCE)
            for pixels in batch.pixels
        ]
    )
    schema = pa.schema([pa.field(name, pa.float32()) for name in contract.PROPERTIES])
    return pa.Table.from_pylist(rows, schema=schema)
