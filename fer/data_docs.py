"""Great Expectations' Data Docs as pages that need nothing else: no script, no font, nothing fetched.

As built they take their styles, their icons and even the table of results from eight servers, and are blank without.
"""

import html
import shutil
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

_KEPT = {
    *("a", "br", "div", "h1", "h2", "h3", "h4", "h5", "h6", "i", "li", "nav", "ol", "p", "span", "strong"),
    *("table", "tbody", "td", "th", "thead", "tr", "ul"),
}
_ATTRIBUTES = {"id", "class", "hidden", "colspan"}
_DROPPED = {"button", "footer", "label", "script", "style", "svg"}  # with what is in them
_INDEX = {"ge-index-page-validation-results-table": "results", "ge-index-page-expectation_suites-table": "rules"}
_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 1rem auto; padding: 0 1rem; }
h4, h5, h6 { line-height: 1.2; margin: 1.5rem 0 .5rem; }
h4, h5 { font-size: 1.25rem; }
h6 { font-size: 1rem; }
table { border-collapse: collapse; margin: .5rem 0 1rem; }
th, td { border: 1px solid #8886; padding: .25rem .6rem; text-align: left; vertical-align: top; }
td { overflow-wrap: anywhere; }
th { background: #8882; }
ul { padding-left: 1.2rem; }
.table-responsive { overflow-x: auto; }
.alert { border-bottom: 1px solid #8886; margin-top: 1.5rem; }
.badge { background: #8883; border-radius: .3em; padding: 0 .35em; font-family: ui-monospace, monospace; }
.breadcrumb { display: flex; flex-wrap: wrap; gap: .5rem; padding: 0; list-style: none; }
.breadcrumb-item + .breadcrumb-item::before { content: "› "; }
.sticky, .nav-tabs { display: none; }
.collapse { display: none; }
.collapse:target { display: block; }
.text-success, .text-danger { font-style: normal; font-weight: bold; }
.text-success { color: #18794e; }
.text-danger { color: #cd2b31; }
.fa-check-circle::before { content: "✓ kept"; }
.fa-times::before { content: "✗ broken"; }
.fa-exclamation-triangle::before { content: "! not checked"; }
@media (prefers-color-scheme: dark) { .text-success { color: #4cc38a; } .text-danger { color: #ff6369; } }
@media print { body { margin: 0; max-width: none; font-size: 11px; } tr { break-inside: avoid; } }
"""
# What slips through all the same can neither run nor fetch anything.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


class Verdict(NamedTuple):
    """How many rules of a frame there are, and how many are broken."""

    n_rules: int
    n_broken: int


def tidy(folder: Path, title: str, verdicts: Mapping[str, Verdict]) -> None:
    """Rewrite the pages in `folder` and remove what they no longer need. `verdicts`: frame -> what the index shows."""
    shutil.rmtree(folder / "static", ignore_errors=True)  # 4 MB of fonts and moving pictures
    tables = {"results": _results(folder, verdicts), "rules": _rules(verdicts)}
    for page in sorted(folder.rglob("*.html")):
        cleaner = _Cleaner(tables if page == folder / "index.html" else {})
        cleaner.feed(page.read_text("utf-8"))
        cleaner.close()
        page.write_text(
            '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>Data Docs: {html.escape(title)}</title>\n<style>{_STYLE}</style></head>\n"
            f"<body>\n{''.join(cleaner.kept).strip()}\n</body>\n</html>\n",
            "utf-8",
        )


class _Cleaner(HTMLParser):
    """Collects in `kept` what a page shows: known elements, with links to other pages of the same folder alone."""

    def __init__(self, tables: Mapping[str, str]):
        super().__init__(convert_charrefs=False)
        self.kept: list[str] = []
        self._tables = tables
        self._in_body = False
        self._dropping: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "body":
            self._in_body = True
        elif tag in _DROPPED:
            self._dropping.append(tag)
        elif tag in _KEPT and self._shows():
            shown = "".join(f' {name}="{html.escape(value or "")}"' for name, value in attrs if _is_kept(name, value))
            self.kept.append(f"<{tag}{shown}>")
            for name in (dict(attrs).get("class") or "").split() if tag == "table" else ():
                self.kept.append(self._tables.get(_INDEX.get(name, ""), ""))

    def handle_endtag(self, tag: str) -> None:
        if self._dropping and tag == self._dropping[-1]:
            self._dropping.pop()
        elif tag in _KEPT and self._shows():
            self.kept.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if self._shows() and (data.strip() or "\n" not in data):
            self.kept.append(html.escape(data, quote=False))

    def handle_entityref(self, name: str) -> None:
        if self._shows():
            self.kept.append(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.handle_entityref(f"#{name}")

    def _shows(self) -> bool:
        return self._in_body and not self._dropping


def _is_kept(name: str, value: str | None) -> bool:
    if name == "href":  # relative, so that no value in the data leads anywhere
        return value is not None and ":" not in value and not value.startswith(("/", "\\"))
    return name in _ATTRIBUTES


def _results(folder: Path, verdicts: Mapping[str, Verdict]) -> str:
    rows = []
    for frame, verdict in verdicts.items():
        for page in sorted((folder / "validations" / frame).rglob("*.html")):
            icon = "times text-danger" if verdict.n_broken else "check-circle text-success"
            kept = f"{verdict.n_rules - verdict.n_broken} of {verdict.n_rules}"
            link = f'<a href="{page.relative_to(folder).as_posix()}">{frame}</a>'
            rows.append(f'<tr><td>{link}</td><td><i class="fas fa-{icon}"></i></td><td>{kept}</td></tr>')
    return f"<thead><tr><th>part</th><th>contract</th><th>rules kept</th></tr></thead><tbody>{''.join(rows)}</tbody>"


def _rules(verdicts: Mapping[str, Verdict]) -> str:
    link = '<a href="expectations/{0}.html">rules for {0}, with reasons</a>'
    rows = [f"<tr><td>{link.format(each)}</td></tr>" for each in verdicts]
    return f"<tbody>{''.join(rows)}</tbody>"
