"""The stage `tombstones`: all images that are to be forgotten, as the workers of `index` read them.

Out: `tombstones.parquet` (`matching.SCHEMA`), one row per digest and one per feature.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fer.engine import stage
from fer.engine.workspace import Workspace
from fer.ingest.refs import TombstonesRef
from fer.ingest.tombstones import matching
from fer.ingest.tombstones.records import Tombstones
from fer.progress import Progress, silent


@stage.stage("tombstones")
def gather(out: Path, found: Tombstones, *, workspace: Workspace, progress: Progress = silent) -> TombstonesRef:
    """Write `tombstones.parquet`."""
    digests, features = found.digests(), found.features()
    columns = [[*digests, *[None] * len(features)], [*[None] * len(digests), *features]]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, matching.SCHEMA, strict=True)]
    pq.write_table(pa.Table.from_arrays(arrays, schema=matching.SCHEMA), out / matching.FILE)
    return TombstonesRef(n_images=len(digests))
