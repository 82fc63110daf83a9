"""`{corruption-table}`: each corruption with its amounts, and what it makes of a face that the project draws."""

import base64
import html
from typing import Any

import numpy as np
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from fer.images import corruptions, encode
from fer.ingest.demo import faces

_FACE = 3  # the seed of a face that shows them well
_SHOWN_PX = 96  # of an image of 48


class CorruptionTable(SphinxDirective):
    """A row for each kind: its group and name, the amounts of the five severities, and the pictures."""

    def run(self) -> list[nodes.Node]:
        """The table."""
        self.env.note_reread()
        return [nodes.raw("", table(), format="html")]


def table() -> str:
    """The table as HTML, with its pictures inside."""
    face = faces.draw("happy", np.random.default_rng(_FACE))
    rows = "".join(_row(kind, face) for kind in corruptions.KINDS)
    return f'<div class="table-wrapper"><table class="docutils"><tbody>{rows}</tbody></table></div>'


def _row(kind: corruptions.Kind, face: np.ndarray) -> str:
    corruption = corruptions.CORRUPTIONS[kind]
    images = [face]
    images += [corruptions.corrupt(face[np.newaxis], [kind], kind, severity)[0] for severity in corruptions.SEVERITIES]
    name = html.escape(kind.replace("_", " "))
    amounts = ", ".join(f"{amount:g}" for amount in corruption.amounts)
    pictures = "".join(
        _picture(image, f"{name}, severity {at}" if at else "as drawn") for at, image in enumerate(images)
    )
    return (
        f"<tr><td><strong>{name}</strong><br>{html.escape(corruption.group)}<br><small>{html.escape(amounts)}<br>"
        f"{html.escape(corruption.unit)}</small></td>"
        f'<td style="width: 76%"><div style="display: flex; gap: 2px">{pictures}</div></td></tr>'
    )


def _picture(image: np.ndarray, title: str) -> str:
    data = base64.b64encode(encode.png(image)).decode()
    style = f"flex: 1 1 0; min-width: 0; max-width: {_SHOWN_PX}px; image-rendering: pixelated"
    return f'<img alt="{title}" style="{style}" src="data:image/png;base64,{data}">'


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("corruption-table", CorruptionTable)
    return {"parallel_read_safe": True}
