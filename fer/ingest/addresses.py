"""Addresses in place of a source: what to do about each, since sources are read from this machine or from Kaggle."""

import re
import shlex
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

_KINDS = "(?:archive|folder|kaggle):"
_ADDRESS = re.compile(rf"(?:{_KINDS})?\s*([a-z][a-z0-9+.-]+)://(.*)", re.IGNORECASE)
_NO_SCHEME = re.compile(rf"(?:{_KINDS})?\s*((?:www\.)?kaggle\.com/.*)", re.IGNORECASE)
_HANDLE_OF_COMPETITION = re.compile(r"kaggle:(?:c|competitions)/([\w-]+)(?:/.*)?", re.ASCII)
_HANDLE_OF_PAGE = re.compile(r"kaggle:datasets/(.+)")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
_ZIP = ".zip"
_PACKED = (".tar", ".tgz", ".gz", ".xz", ".bz2", ".7z", ".rar")
_PAGES = {"code", "models", "discussions", "learn", "organizations", "docs", "notebooks", "search", "settings"}


class Address(NamedTuple):
    """An address without what may be secret in it, and what to do."""

    shown: str
    todo: str


def in_text(text: str) -> Address | None:
    """The address that a source's text holds where it should name a form; None if it holds none."""
    text = text.strip()
    if match := _HANDLE_OF_COMPETITION.fullmatch(text):
        return Address(text, _of_competition(match[1]))
    if match := _HANDLE_OF_PAGE.fullmatch(text):
        return Address(text, _of_kaggle_page(["datasets", *match[1].split("/")]))
    if match := _ADDRESS.fullmatch(text):
        scheme, rest = match[1].lower(), match[2]
    elif match := _NO_SCHEME.fullmatch(text):
        scheme, rest = "https", match[1]
    else:
        return None
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        host, path = (parts.hostname or ""), parts.path
    except ValueError:  # of brackets that hold no address
        host, path = "", ""
    shown = f"{scheme}://{host}{path}"  # without user, password, query: keys may be there
    if scheme == "file":
        path = unquote(path)
        return Address(shown, f"write {'archive' if path.lower().endswith(_ZIP) else 'folder'}:{path}")
    if scheme in ("http", "https"):
        return Address(shown, _of_web_page(host.removeprefix("www."), path))
    if scheme == "s3":
        return Address(shown, _of_bucket(shown, path))
    return Address(shown, f"download it first, {_then(_last(path))}")


def is_packed(address: str) -> bool:
    """Whether an address is that of an archive, which is to be downloaded, rather than of files."""
    return address.lower().endswith((_ZIP, *_PACKED))


def _of_web_page(host: str, path: str) -> str:
    names = [name for name in path.split("/") if name]
    if host == "kaggle.com":
        return _of_kaggle_page(names)
    if host == "huggingface.co" and names[:1] == ["datasets"] and len(names) >= 3:
        name = "/".join(names[1:3])
        return (
            f"download it first, e.g. by `hf download {shlex.quote(name)} --repo-type dataset --local-dir faces`, and "
            "then write folder:faces"
        )
    return f"download the file first, {_then(_last(path))}"


def _of_kaggle_page(names: list[str]) -> str:
    """Of the page whose path has these parts."""
    if names[:1] in (["c"], ["competitions"]) and len(names) >= 2:
        return _of_competition(names[1])
    handle = names[1:] if names[:1] == ["datasets"] else names if names and names[0] not in _PAGES else []
    if len(handle) >= 2 and all(_NAME.fullmatch(name) for name in handle[:2]):
        is_pinned = len(handle) >= 4 and handle[2] == "versions" and handle[3].isdecimal()
        return f"write kaggle:{'/'.join(handle[: 4 if is_pinned else 2])}"
    return "take OWNER/SLUG from the address of a dataset's page, https://www.kaggle.com/datasets/OWNER/SLUG"


def _of_competition(name: str) -> str:
    return (
        f"a competition is no dataset: accept its rules at https://www.kaggle.com/competitions/{name}/rules, download "
        f"its files there, or by `kaggle competitions download -c {name}`, and then write archive:{name}.zip"
    )


def _of_bucket(shown: str, path: str) -> str:
    name = _last(path)
    if is_packed(name):
        return f"download it first, e.g. by `aws s3 cp {shlex.quote(shown)} .`, {_then(name)}"
    return "write s3://BUCKET/PREFIX, of the store that FER_STORE_ENDPOINT names; or download it, and write folder:PATH"


def _last(path: str) -> str:
    """The last name in a path."""
    return path.rstrip("/").rpartition("/")[2]


def _then(name: str) -> str:
    """What to do with a file of this name once it is here."""
    if name.lower().endswith(_ZIP):
        return f"and then write archive:{name}"
    if name.lower().endswith(_PACKED):
        return "unpack it, and then write folder:PATH"
    return "and then write archive:PATH.zip, or folder:PATH"
