"""Great Expectations' Data Docs as one page per dataset that needs nothing else: no script, no font, nothing fetched.

Great Expectations builds two pages per part of the dataset, its results and its rules. They load their styles, their
icons and even the table of results from eight servers, and are blank without these. Of each page the sections are kept
(the results; the rules with their reasons), without links, and with no attribute except the classes that the style
below knows.
"""

import html
from collections.abc import Collection, Mapping
from html.parser import HTMLParser
from typing import NamedTuple

PAGE = "index.html"

_RENAMED = {"h5": "h4", "h6": "h4"}  # below the page's own h1 to h3
_KEPT = {
    *("div", "h4", "h5", "h6", "li", "ol", "p", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"),
}
_MAY_BE_EMPTY = {"td", "th"}
_CLASSES = {"badge", "table-responsive", "text-danger"}
_DROPPED = {"button", "footer", "label", "script", "style", "svg"}  # with what is in them
_OVERVIEW = "section-1"  # of the results: the number of rules kept, and when that was found out
_OVERVIEW_HEADING = "section-1-content-block-1"
_NOTES_HEADING = "-collapse-item-1-header"
_SIGNS = {
    "fa-check-circle": ("kept", "✓ kept"),
    "fa-times": ("broken", "✗ broken"),
    "fa-exclamation-triangle": ("broken", "! not checked"),
}
_STYLE = """
:root { color-scheme: light dark; --kept: #18794e; --broken: #cd2b31; }
@media screen and (prefers-color-scheme: dark) { :root { --kept: #4cc38a; --broken: #ff6369; } }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 70rem; margin: 1rem auto; padding: 0 1rem; }
h1, h2, h3, h4 { line-height: 1.2; margin: 1.5rem 0 .5rem; overflow-wrap: anywhere; break-after: avoid; }
h1 { font-size: 1.6rem; margin-bottom: .3rem; }
h2 { font-size: 1.35rem; margin-top: 2.5rem; padding-top: .7rem; border-top: 2px solid #8886; }
h3 { font-size: 1.1rem; }
h4 { font-size: 1rem; }
p { margin: .3rem 0; overflow-wrap: anywhere; }
li p { opacity: .8; font-size: .9rem; }
table { border-collapse: collapse; margin: .5rem 0 1rem; font-size: .95rem; }
th, td { border: 1px solid #8886; padding: .25rem .6rem; text-align: left; vertical-align: top; }
td { overflow-wrap: break-word; }
td:nth-child(2), td td { overflow-wrap: anywhere; }
td td { min-width: 3rem; }
th { background: #8882; overflow-wrap: normal; }
ul { padding-left: 1.2rem; }
li { margin-bottom: .5rem; overflow-wrap: anywhere; }
.table-responsive { overflow-x: auto; }
.table-responsive > table { width: 100%; }
.table-responsive > table > thead > tr > th:first-child { width: 8rem; }
.table-responsive > table > thead > tr > th:last-child { width: 25%; }
.badge { background: #8883; border-radius: .3em; padding: 0 .35em; font-family: ui-monospace, monospace; }
.kept, .broken { font-weight: bold; white-space: nowrap; }
.kept { color: var(--kept); }
.broken, .text-danger { color: var(--broken); }
.text-danger { font-weight: 500; }
@media (max-width: 600px) {
  body { padding: 0 .7rem; }
  table { font-size: .85rem; }
  th, td { padding: .2rem .35rem; }
  .table-responsive > table > thead > tr > th:first-child { width: auto; }
}
@media print {
  html { font-size: 9pt; }
  body { margin: 0; max-width: none; }
  tr, li { break-inside: avoid; }
  .table-responsive { overflow: visible; }
}
"""
# What slips through all the same can neither run nor fetch anything.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


class Verdict(NamedTuple):
    """How many rules of a frame there are, and how many are broken."""

    n_rules: int
    n_broken: int


class Built(NamedTuple):
    """Of a frame, as HTML by Great Expectations: the page of its results and the page of its rules."""

    results: str
    rules: str


def page(title: str, verdicts: Mapping[str, Verdict], built: Mapping[str, Built]) -> str:
    """The page as HTML. `verdicts`: frame -> what the overview says of it; one that is not `built` went unchecked."""
    parts = {
        frame: _part(frame, verdict, built[frame]) if frame in built else "" for frame, verdict in verdicts.items()
    }
    rows = "".join(_row(frame, verdicts[frame], is_checked=bool(part)) for frame, part in parts.items())
    name = html.escape(f"Data Docs: {title}")
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{name}</title>\n<style>{_STYLE}</style></head>\n"
        f"<body>\n<h1>{name}</h1>\n<p>Great Expectations checked the contract of this dataset, part by part.</p>\n"
        "<table><thead><tr><th>part</th><th>contract</th><th>rules kept</th></tr></thead>\n"
        f"<tbody>{rows}</tbody></table>\n{''.join(parts.values())}</body>\n</html>\n"
    )


def _row(frame: str, verdict: Verdict, *, is_checked: bool) -> str:
    """Of the overview."""
    name = html.escape(frame)
    if not is_checked:
        return f"<tr><td>{name}</td><td>{_sign('fa-exclamation-triangle')}</td><td></td></tr>"
    kept = f"{verdict.n_rules - verdict.n_broken:,} of {verdict.n_rules:,}"
    return f'<tr><td><a href="#{name}">{name}</a></td><td>{_outcome(verdict)}</td><td>{kept}</td></tr>'


def _part(frame: str, verdict: Verdict, built: Built) -> str:
    """What the built pages say of a frame."""
    results = _sections(built.results, without=(_OVERVIEW,))
    rules = _sections(built.rules, without=(_OVERVIEW_HEADING,), is_suite=True)
    name = html.escape(frame)
    return (
        f'<section id="{name}">\n<h2>{name}: {_outcome(verdict)}</h2>\n'
        f"<h3>Results</h3>\n{results}\n<h3>Rules, with reasons</h3>\n{rules}\n</section>\n"
    )


def _sections(built: str, *, without: Collection[str], is_suite: bool = False) -> str:
    cleaner = _Cleaner(without, is_suite=is_suite)
    cleaner.feed(built)
    cleaner.close()
    return "".join(cleaner.kept).strip()


def _outcome(verdict: Verdict) -> str:
    return _sign("fa-times" if verdict.n_broken else "fa-check-circle")


def _sign(icon: str) -> str:
    kind, says = _SIGNS[icon]
    return f'<span class="{kind}">{says}</span>'


class _Cleaner(HTMLParser):
    """Collects in `kept` what the sections of a page show, balanced, except the elements with the IDs `without`.

    Of a suite's page the tables are left out too, which give its name.
    """

    def __init__(self, without: Collection[str], *, is_suite: bool):
        super().__init__(convert_charrefs=True)
        self.kept: list[str] = []
        self._without = without
        self._is_suite = is_suite
        self._open: list[tuple[str, int]] = []  # tag as it was read, where its element begins in `kept`
        self._dropping: list[str] = []  # the element that is being left out, and those of its kind in it

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        classes = attributes.get("class", "").split()
        if self._dropping:
            self._dropping += [tag] if tag == self._dropping[0] else []
        elif self._is_left_out(tag, attributes, classes):
            self._dropping.append(tag)
        elif not self._open and "ge-section" not in classes:
            return
        elif tag == "br":
            self.kept.append("<br>")
        elif tag == "i":
            self.kept += [_sign(name) for name in classes if name in _SIGNS]
        elif tag in _KEPT:
            self._open.append((tag, len(self.kept)))
            shown = " ".join(name for name in classes if name in _CLASSES)
            styled = f' class="{shown}"' if shown else ""
            self.kept.append(f"<{_RENAMED.get(tag, tag)}{styled}>")

    def handle_endtag(self, tag: str) -> None:
        if self._dropping:
            if tag == self._dropping[-1]:
                self._dropping.pop()
        elif tag in (open_tag for open_tag, _ in self._open):
            while self._end_last() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self._open and not self._dropping and (data.strip() or "\n" not in data):
            self.kept.append(html.escape(data, quote=False))

    def close(self) -> None:
        super().close()
        while self._open:
            self._end_last()

    def _end_last(self) -> str:
        """End the element that was begun last; one with nothing in it is left out. Returns its tag."""
        tag, begin = self._open.pop()
        if len(self.kept) == begin + 1 and tag not in _MAY_BE_EMPTY:
            self.kept.pop()
        else:
            self.kept.append(f"</{_RENAMED.get(tag, tag)}>")
        return tag

    def _is_left_out(self, tag: str, attributes: Mapping[str, str], classes: Collection[str]) -> bool:
        name = attributes.get("id", "")
        if tag in _DROPPED or name in self._without or name.endswith(_NOTES_HEADING):
            return True
        if tag == "a":  # those that unfold something; of others the text stays
            return "-collapse-" in attributes.get("href", "")
        return self._is_suite and "table-responsive" in classes
