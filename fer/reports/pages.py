"""Self-contained HTML pages of one style: no script, no font, nothing fetched, readable on paper and on a phone.

The templates and the style are files in `templates/`. All text is escaped, and characters that can't be seen, or that
turn the direction of what follows, are spelt out.
"""

import functools
from typing import Any

import jinja2
from markupsafe import Markup

from fer import plain_text


def environment() -> jinja2.Environment:
    """An environment with the templates of this package, to which a page adds filters of its own."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("fer.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
        keep_trailing_newline=True,
    )


def from_markdown(title: str, *parts: str) -> str:
    """Render Markdown (CommonMark and tables; HTML in it is shown, not obeyed) as a page; Markup stays as it is."""
    from markdown_it import MarkdownIt

    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    body = Markup("").join(
        part if isinstance(part, Markup) else Markup(renderer.render(part))  # noqa: S704 - the renderer escapes HTML
        for part in parts
    )
    return _of_markdown().render(title=title, body=body)


@functools.cache
def _of_markdown() -> jinja2.Template:
    """Kept: to compile it takes longer than to render it."""
    return environment().get_template("markdown.html.j2")


def _visible(value: Any) -> Any:
    """Text with what can't be seen in it spelt out; Markup, made here, as it is."""
    return value if not isinstance(value, str) or isinstance(value, Markup) else plain_text.visible(value)
