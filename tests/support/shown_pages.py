"""What a reader meets on an HTML page: its text, its numbers, and what is in the source of it."""

import html.parser
import json
import re

NUMBER = re.compile(r"(?<![\w.])[+\u2212-]?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?[\s\u00a0]?%?")
_BETWEEN_DATE_AND_TIME = re.compile(r"(?<=\d)T(?=\d)")
_UNSHOWN = {"style", "script"}
_VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(html.parser.HTMLParser):
    """The tags of a page in their order, its text, and what stands in its `code` and `pre`. An axis' ticks, which are
    round numbers beside a chart, are no text."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text, self.code = "", []
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID and not self.get_starttag_text().endswith("/>"):
            self._open.append(tag)
        self.text += (
            " " if tag in {"td", "th", "li", "p", "dd", "span", "h1", "h2", "h3", "b", "small", "title"} else ""
        )

    def handle_endtag(self, tag):
        if tag in self._open:
            while self._open.pop() != tag:
                pass
        self.text += " "

    def handle_data(self, data):
        if _UNSHOWN & set(self._open) or ("svg" in self._open and "text" in self._open):
            return
        if {"code", "pre"} & set(self._open):
            self.code.append(data)
        else:
            self.text += data


def numbers_in(text: str) -> list[str]:
    """The numbers as they are written."""
    return [token.replace("\u00a0", " ").strip() for token in NUMBER.findall(text)]


def unfounded(page: Page, document) -> list[str]:
    """The numbers of the page that are in the document neither as such, rounded, in percent, nor in its texts."""
    values: list[float] = []
    texts: list[str] = []

    def walk(part):
        match part:
            case dict():
                for name, each in part.items():
                    texts.append(str(name))
                    walk(each)
            case list() | tuple():
                for each in part:
                    walk(each)
            case bool() | None:
                pass
            case int() | float():
                values.append(float(part))
            case str() if not part.startswith("data:"):
                texts.append(_BETWEEN_DATE_AND_TIME.sub(" ", part))

    walk(json.loads(json.dumps(document)))
    said = {token.rstrip("% ") for text in texts for token in numbers_in(text)}
    known = _Known(values)
    return [token for token in numbers_in(page.text) if token.rstrip("% ") not in said and token not in known]


class _Known:
    """Whether a number, as it is written, is one of `values`."""

    def __init__(self, values: list[float]):
        self._values = set(values)
        self._rounded: dict[tuple[int, int], set[float]] = {}

    def __contains__(self, token: str) -> bool:
        plain = token.rstrip("% ").replace(",", "").replace("\u2212", "-")
        if "e" in plain:
            return any(f"{value:.3g}" == plain for value in self._values)
        scale, decimals = 100 if token.endswith("%") else 1, len(plain.partition(".")[2])
        if (scale, decimals) not in self._rounded:
            self._rounded[scale, decimals] = {round(scale * value, decimals) for value in self._values}
        return float(plain) in self._rounded[scale, decimals]
