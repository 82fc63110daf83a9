"""Cards as Markdown: text from outside is no markup in it."""

import functools

import jinja2

from fer import plain_text


def template(name: str) -> jinja2.Template:
    """A template of this package, in which `plain` makes text of what comes from outside."""
    return _environment().get_template(name)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(  # noqa: S701 - Markdown, in which HTML's escapes would be seen
        loader=jinja2.PackageLoader("fer.reports"), undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    environment.filters |= {
        "dec": lambda value: "–" if value is None else f"{value:.3f}",
        "n": lambda count: f"{count:,}",
        "plain": plain_text.in_markdown,
        "points": lambda difference: f"{difference:+.3f}",
    }
    return environment
