"""Self-contained HTML pages: no script, no font, nothing fetched, readable on paper and on a phone."""

import html

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #8886; }
table { border-collapse: collapse; display: block; overflow-x: auto; margin: 1rem 0; }
th, td { border: 1px solid #8886; padding: .25rem .6rem; text-align: left; }
th { background: #8882; }
code { overflow-wrap: anywhere; }
img { max-width: 100%; height: auto; background: white; }
@media print { body { margin: 0; max-width: none; font-size: 11px; } h2, img, tr { break-inside: avoid; } }
"""


def page(title: str, markdown: str) -> str:
    """Render Markdown (CommonMark and tables; HTML in it is shown, not obeyed) as a page."""
    from markdown_it import MarkdownIt

    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    return document(title, renderer.render(markdown), _STYLE)


def document(title: str, body: str, style: str) -> str:
    """A page of a body (HTML, trusted) and a style (CSS). The browser is told to run and fetch nothing."""
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<title>{html.escape(title)}</title>\n<style>{style}</style></head>\n"
        f"<body>\n{body}</body>\n</html>\n"
    )
