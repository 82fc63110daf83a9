"""The files of a workspace in a bucket, by their SHA-256: equal files are there once, and never change.

objects/<sha256>                            a file's bytes
damaged/<sha256>/<ID>                       what lay there instead, when it was fetched
.partial/<stage>/<key>/<file>.json          a finished file of an output that several machines are making
"""

import json
import uuid
from pathlib import Path

from fer import errors
from fer.engine import disk
from fer.engine.outputs import File
from fer.engine.store import objectstore


class Objects:
    """Files in `store`, which is the workspace's bucket and prefix."""

    def __init__(self, store: objectstore.ObjectStore):
        self.store = store
        self._seen: set[tuple[str, int]] = set()  # objects that were there, once: key and bytes

    @property
    def uri(self) -> str:
        """The workspace's `s3://` URI, as FER_WORKSPACE gives it."""
        return f"s3://{self.store.bucket}/{self.store.prefix}".rstrip("/")

    def look(self) -> None:
        """Learn which objects are there: one listing instead of a question per file."""
        self._seen |= {(listed.key, listed.size_bytes) for listed in self.store.list("objects/")}

    def is_there(self, file: File) -> bool:
        """Whether the file is there, or was when it was last asked for."""
        key = _key(file)
        wanted = key, file["size_bytes"]
        if wanted not in self._seen and self.store.size(key) == file["size_bytes"]:
            self._seen.add(wanted)
        return wanted in self._seen

    def upload(self, path: Path, file: File) -> None:
        """Bring the file at `path` there. Raises WorkspaceError if it is another file by now."""
        key = _key(file)
        if self.store.size(key) == file["size_bytes"]:
            return
        uploaded = self.store.upload_file(key, path)
        if uploaded.sha256 != file["sha256"]:
            self.store.delete(key)
            raise errors.WorkspaceError(
                "A stage's output must stay as it was made.",
                received=f"other bytes at {path}",
                todo="run the same command again; what is missing is made again",
            )

    def download(self, file: File, path: Path) -> None:
        """Bring a file here, verified. Raises IntegrityError; a damaged object is then set aside, to be replaced."""
        key = _key(file)
        try:
            self.store.download_file(key, path, file["sha256"])
        except errors.IntegrityError:
            self.store.move(key, f"damaged/{file['sha256']}/{uuid.uuid4().hex}")
            self._seen.discard((key, file["size_bytes"]))
            raise

    def share_finished(self, out: str, name: str, path: Path) -> File:
        """Upload a finished file of an output that is being made in the folder `out` of the run's machine."""
        file = File(size_bytes=path.stat().st_size, sha256=disk.sha256(path))
        self.upload(path, file)
        self.store.put(f"{out}/{name}.json", json.dumps(file).encode())
        return file

    def finished(self, out: str, name: str) -> File | None:
        """The file that was uploaded as this one, or None."""
        record = self.store.get(f"{out}/{name}.json")
        return json.loads(record.data) if record is not None else None


def _key(file: File) -> str:
    return f"objects/{file['sha256']}"
