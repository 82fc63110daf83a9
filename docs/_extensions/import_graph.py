"""`{import-graph}`: which package of `fer` imports which, drawn from the code. One upward fails the build."""

import html
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import grimp
from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

import fer

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = "fer: one direction"
_log = logging.getLogger(__name__)

_ROW, _BOX, _LEFT, _TOP = 44, (176, 30), 60, 12  # px


class Import(NamedTuple):
    """How many imports one package (or module) of `fer` has of another."""

    importer: str
    imported: str
    count: int


def order() -> list[list[str]]:
    """The layers that import-linter holds, from the top; packages of one layer do not import each other."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract for contract in contracts if contract["name"] == CONTRACT)["layers"]
    return [[name.strip(" ()") for name in layer.split("|")] for layer in layers]


def imports() -> list[Import]:
    """All imports between packages of `fer`."""
    graph = grimp.build_graph("fer", cache_dir=None)
    counts: dict[tuple[str, str], int] = {}
    for importer in graph.modules:
        for imported in graph.find_modules_directly_imported_by(importer):
            ends = _package(importer), _package(imported)
            if ends[0] != ends[1] and "" not in ends:
                counts[ends] = counts.get(ends, 0) + 1
    return [Import(*ends, count) for ends, count in sorted(counts.items())]


def _package(module: str) -> str:
    return ([*module.split("."), ""])[1]


def drawing() -> str:
    """An SVG: one row per package in the order of the layers; imports down on the right, up on the left."""
    rows: dict[str, float] = {}
    shelves, height = [], _TOP
    for layer in order():
        shelves.append((height - 5, len(layer) * _ROW - 4))
        for name in layer:
            rows[name] = height + _BOX[1] / 2
            height += _ROW
    parts = []
    for top, tall in shelves:
        parts.append(f'<rect class="shelf" x="{_LEFT - 8}" y="{top}" width="{_BOX[0] + 16}" height="{tall}" rx="6"/>')
    right, left = _LEFT + _BOX[0], _LEFT
    edges = imports()
    implied = _implied({(edge.importer, edge.imported) for edge in edges})
    for importer, imported, count in edges:
        if importer not in rows or imported not in rows:
            _log.warning(
                "Each package of fer must stand in the contract %r. Received: %s", CONTRACT, (importer, imported)
            )
            continue
        down = rows[imported] > rows[importer]
        if not down:
            _log.warning("Imports in fer must go down. Received: %s imports %s", importer, imported)
        x, out = (right, 1) if down else (left, -1)
        start, end = rows[importer] + 5 * (1 if down else -1), rows[imported] - 5 * (1 if down else -1)
        bulge = x + out * (24 + abs(end - start) * 0.62)
        kind = "up" if not down else "implied" if (importer, imported) in implied else "down"
        parts.append(
            f'<path class="{kind}" style="stroke-width:{min(4.5, 0.8 + count / 9):.1f}" '
            f'd="M{x},{start} C{bulge},{start} {bulge},{end} {x + out * 5},{end}" marker-end="url(#tip)">'
            f"<title>{importer} imports {imported}: {count}</title></path>"
        )
    for name, y in rows.items():
        parts.append(
            f'<rect class="box" x="{_LEFT}" y="{y - _BOX[1] / 2}" width="{_BOX[0]}" height="{_BOX[1]}" rx="4"/>'
            f'<text x="{_LEFT + 12}" y="{y + 5}">{html.escape(name)}</text>'
        )
    return f"{_HEAD.format(width=_LEFT + _BOX[0] + 330, height=height)}{''.join(parts)}</svg>"


def _implied(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The imports that others imply: the imported one is also reached by way of another package."""
    reached = set(edges)
    while longer := {(a, d) for a, b in reached for c, d in reached if b == c} - reached:
        reached |= longer
    return {(a, c) for a, c in edges if any((a, b) in reached and (b, c) in reached for b in {end for _, end in edges})}


_HEAD = """<svg class="import-graph" role="img" aria-label="Imports between the packages of fer"
 viewBox="0 0 {width} {height}" width="{width}" height="{height}" xmlns="http://www.w3.org/2000/svg"><style>
.import-graph {{ max-width: 100%; height: auto; }}
.import-graph .shelf {{ fill: var(--color-background-secondary, #f4f4f4); }}
.import-graph .box {{ fill: var(--color-background-primary, #fff); stroke: var(--color-foreground-border, #999); }}
.import-graph text {{ font: 15px monospace; fill: var(--color-foreground-primary, #000); }}
.import-graph path {{ fill: none; }}
.import-graph path:hover {{ stroke: var(--color-brand-primary, #00f); opacity: 1; }}
.import-graph .down {{ stroke: var(--color-foreground-primary, #000); opacity: .8; }}
.import-graph .implied {{ stroke: var(--color-foreground-muted, #666); opacity: .3; }}
.import-graph .up {{ stroke: #c00; }}
</style><defs><marker id="tip" orient="auto" markerWidth="9" markerHeight="9" refX="6"
 refY="4.5" markerUnits="userSpaceOnUse">
<path d="M0,0 L9,4.5 L0,9 z" style="fill: var(--color-foreground-muted, #666); stroke: none"/></marker></defs>"""


class ImportGraph(SphinxDirective):
    """The drawing as inline SVG."""

    def run(self) -> list[nodes.Node]:
        """The nodes that stand where the directive stood."""
        for package in Path(fer.__file__).parent.rglob("*.py"):
            self.env.note_dependency(str(package))
        return [nodes.raw("", drawing(), format="html")]


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("import-graph", ImportGraph)
    return {"parallel_read_safe": True}
