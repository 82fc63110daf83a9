"""Where scores are put for their user: a folder, one Parquet file, or a prefix of a bucket of the store.

A folder and a prefix get the shards as they are, `scores-00000.parquet` and on, beside `scores.html` and `scores.json`;
a file gets all rows, and the two stand beside it under its name.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet as pq

from data_contracts import scores as contract
from fer import errors
from fer.engine import buckets, disk
from fer.engine.buckets import Bucket

_FILE = ".parquet"


def parse(text: str) -> Path | Bucket:
    """A folder or file ending in `.parquet` on this machine, or `s3://BUCKET[/PREFIX]`. Raises ConfigError."""
    if (bucket := buckets.parse(text)) is not None:
        return bucket
    if not text.strip() or "://" in text or "\0" in text:
        raise errors.ConfigError(
            "--output must be a folder, a file that ends in .parquet, or s3://BUCKET[/PREFIX].",
            received=repr(text),
            todo="for example --output scores",
        )
    return Path(text).expanduser().absolute()


def write(output: Path | Bucket, shards: list[Path], pages: Mapping[str, bytes]) -> list[str]:
    """Put the shards and pages there; where each is. What was there under these names is replaced.

    Of an earlier scoring no shard is left beside them. Raises WorkspaceError, StoreError.
    """
    if isinstance(output, Bucket):
        return _to_bucket(output, shards, pages)
    with disk.workspace_errors(output.parent):
        if output.suffix == _FILE:
            output.parent.mkdir(parents=True, exist_ok=True)
            with disk.replacing(output) as staging:
                _join(shards, staging)
            named = {output.with_suffix(Path(name).suffix): data for name, data in pages.items()}
        else:
            output.mkdir(parents=True, exist_ok=True)
            for shard in shards:
                with disk.replacing(output / shard.name) as staging:
                    shutil.copyfile(shard, staging)
            for old in output.glob("scores-*.parquet"):
                if old.name not in {shard.name for shard in shards}:
                    old.unlink()
            named = {output / name: data for name, data in pages.items()}
        for path, data in named.items():
            disk.write(path, data)
    return [str(output), *map(str, named)]


def _join(shards: list[Path], path: Path) -> None:
    """All rows in one file, a row group in memory at a time."""
    schema = contract.schema(contract.classes_of(pq.read_schema(shards[0])))
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for shard in shards:
            with pq.ParquetFile(shard) as file:
                for number in range(file.num_row_groups):
                    writer.write_table(file.read_row_group(number).cast(schema))


def _to_bucket(output: Bucket, shards: list[Path], pages: Mapping[str, bytes]) -> list[str]:
    with buckets.opened(output) as store:
        for shard in shards:
            store.upload_file(shard.name, shard)
        for name, data in pages.items():
            store.put(name, data)
        for listed in list(store.list("scores-")):
            if listed.key.endswith(_FILE) and listed.key not in {shard.name for shard in shards}:
                store.delete(listed.key)
        return [str(output), *(store.uri(name) for name in pages)]
