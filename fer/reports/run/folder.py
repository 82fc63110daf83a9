"""The folder of a release's reports on this machine, which is written where it is not as it would be written now.

Its pages are made of the run's document alone. A run with cached stages finds them there, and is spared what takes
longest of all that it does: to compile the templates, and to import what makes a model card.
"""

import hashlib
import importlib.metadata
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pydantic

from data_contracts import files
from fer.engine import disk
from fer.engine.code import fingerprint
from fer.engine.records import Record
from fer.reports import library
from fer.reports.cards import data_card, model_card
from fer.reports.quality import stage as quality_stage
from fer.reports.run import page
from fer.reports.run.document import Document

_WRITTEN = "_written.json"  # what begins so is not shared
_CODE = (page.__name__, model_card.__name__, data_card.__name__)
_LIBRARY = "huggingface_hub"  # of those that make the pages the one whose version the code's fingerprint leaves out


class Written(Record):
    """What a folder was written from, and with: the SHA-256 of each, and of each file in it by its name below it."""

    made_of: str
    files: dict[str, str]


def write(folder: Path, report: Document, quality_page: Path, docs: Mapping[str, Path]) -> None:
    """Have in `folder` the pages and cards of `report`, the page of its data's quality, and the Data Docs of each
    dataset (its name -> a folder), and nothing else of Data Docs. Raises OSError.
    """
    record = json.dumps(report, indent=1, ensure_ascii=False).encode()
    made_of = _digest(record, quality_page, docs)
    if _read(folder) == Written(made_of=made_of, files=_digests(folder)):
        return
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _WRITTEN).unlink(missing_ok=True)
    disk.write(folder / library.PAGE, page.render(report).encode())
    disk.write(folder / library.RECORD, record)
    disk.write(folder / model_card.FILE, model_card.render(report).encode())
    disk.write(folder / data_card.FILE, data_card.render(report).encode())
    disk.write(folder / quality_stage.HTML, quality_page.read_bytes())
    shutil.rmtree(folder / files.DOCS, ignore_errors=True)
    for name, docs_of_one in docs.items():
        shutil.copytree(docs_of_one, folder / files.DOCS / name)
    written = Written(made_of=made_of, files=_digests(folder))
    disk.write(folder / _WRITTEN, written.model_dump_json(indent=1).encode())


def _digest(record: bytes, quality_page: Path, docs: Mapping[str, Path]) -> str:
    """SHA-256 (hex) of all that a folder is written from, and of the code that does it."""
    parts = [
        hashlib.sha256(record).hexdigest(),
        disk.sha256(quality_page),
        *(f"{name} {_digests(docs_of_one)}" for name, docs_of_one in sorted(docs.items())),
        fingerprint.read(*_CODE).digest,
        importlib.metadata.version(_LIBRARY),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _digests(folder: Path) -> dict[str, str]:
    """The name below `folder` of each file in it -> SHA-256 (hex)."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != _WRITTEN)
    return {path.relative_to(folder).as_posix(): disk.sha256(path) for path in paths}


def _read(folder: Path) -> Written | None:
    try:
        return Written.model_validate_json((folder / _WRITTEN).read_bytes())
    except (OSError, pydantic.ValidationError):
        return None
