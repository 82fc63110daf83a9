"""A backup in a bucket: what `backup` writes to a folder, as objects below a prefix, and its list last of all.

Without the list there is no backup. Each object is read again once it was written, and compared with the list.
"""

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fer import errors
from fer.engine import buckets, disk
from fer.engine.buckets import Bucket
from fer.engine.store import objectstore
from fer.housekeeping import backup
from fer.housekeeping.backup import LIST, Backup
from fer.registry import log as registry_log
from fer.registry import registry
from fer.settings import Settings

_DATED = re.compile(r"[0-9]{8}T[0-9]{6}Z")


def upload(folder: Path, listed: Backup, store: objectstore.ObjectStore, *, force: bool = False) -> None:
    """Send the backup in `folder` to an empty prefix, or with `force` over another backup, and read it again.

    Raises ConfigError where there is something, IntegrityError where other bytes come back, StoreError.
    """
    there = {listing.key for listing in store.list("")}
    if there and not force:
        raise errors.ConfigError(
            "A backup must go to a prefix without objects.",
            received=f"{len(there):,} objects below {store.uri(min(there))}",
            todo="name another one; or --force, to replace the backup there",
        )
    if there and LIST not in there:
        raise errors.ConfigError(
            "Only another backup is replaced.",
            received=f"something else below {store.uri(min(there))}",
            todo="name another prefix",
        )
    store.delete(LIST)
    for name, file in listed.files.items():
        store.upload_file(name, folder / name)
        if store.sha256(name) != file.sha256:
            raise errors.IntegrityError(
                "A backup must be in the bucket as it was sent.",
                received=f"other bytes at {store.uri(name)}",
                todo="try again; if it stays, look at the store's disks",
            )
    store.put(LIST, (folder / LIST).read_bytes())
    for key in there - {LIST, *listed.files}:
        store.delete(key)


def download(store: objectstore.ObjectStore, folder: Path) -> Backup:
    """Fetch a backup to `folder`, every file verified.

    Raises ConfigError if there is none, IntegrityError, StoreError.
    """
    stored = store.get(LIST)
    if stored is None:
        raise errors.ConfigError(
            f"A backup must have a {LIST}.",
            received=f"none at {store.uri(LIST)}",
            todo="name a prefix that `fer backup` wrote",
        )
    disk.write(folder / LIST, stored.data)
    listed = backup.listed(folder)
    for name, file in listed.files.items():
        store.download_file(name, folder / name, file.sha256)
    return listed


def write(
    place: str, configured: Settings, models: registry.Registry, database: Path | None, *, force: bool = False
) -> tuple[Backup, str]:
    """Write a backup to a folder or `s3://BUCKET[/PREFIX]`, as `backup.write` does; it, and where it is.

    Raises ConfigError for another text, and as `backup.write` and `upload`.
    """
    goal = parse(place)
    if isinstance(goal, Path):
        return backup.write(goal, configured, models, database, force=force), str(goal)
    with tempfile.TemporaryDirectory() as temporary, buckets.opened(goal) as store:
        folder = Path(temporary) / "backup"
        made = backup.write(folder, configured, models, database)
        upload(folder, made, store, force=force)
    return made, str(goal)


@contextlib.contextmanager
def here(place: str) -> Iterator[Path]:
    """The folder of a backup, which is fetched first if it is in a bucket. Raises as `download`, ConfigError."""
    source = parse(place)
    if isinstance(source, Path):
        yield source
        return
    with tempfile.TemporaryDirectory() as temporary:
        with buckets.opened(source) as store:
            download(store, Path(temporary))
        yield Path(temporary)


def parse(place: str) -> Path | Bucket:
    """A folder, or `s3://BUCKET[/PREFIX]`. Raises ConfigError."""
    bucket = buckets.parse(place)
    if bucket is None and (not place.strip() or "://" in place or "\0" in place):
        raise errors.ConfigError(
            "A backup must go to a folder, or to s3://BUCKET/PREFIX.", received=repr(place), todo="name one of these"
        )
    return Path(place).expanduser().resolve() if bucket is None else bucket


def write_dated(
    place: str, configured: Settings, models: registry.Registry, database: Path | None, keep: int
) -> tuple[Backup, str]:
    """Write a backup below a place, named by the time; of those that were so named the last `keep` stay."""
    name = registry_log.now().strftime("%Y%m%dT%H%M%SZ")
    goal = parse(place)
    below = str(goal / name) if isinstance(goal, Path) else str(goal.below(name))
    made = write(below, configured, models, database)
    if isinstance(goal, Path):
        for old in _older({path.name: (path / LIST).is_file() for path in goal.iterdir()}, keep):
            shutil.rmtree(goal / old)
        return made
    with buckets.opened(goal) as store:
        for old in _older({name: store.size(f"{name}/{LIST}") is not None for name in store.folders("")}, keep):
            store.delete(f"{old}/{LIST}")  # first: what a kill leaves is no backup
            for listing in list(store.list(f"{old}/")):
                store.delete(listing.key)
    return made


def _older(whole: dict[str, bool], keep: int) -> list[str]:
    """Those before the last `keep` that are whole, by their names; others than backups so named are left alone."""
    dated = sorted(name for name in whole if _DATED.fullmatch(name))
    kept = [name for name in dated if whole[name]][-keep:]
    return [name for name in dated if kept and name < kept[0]]
