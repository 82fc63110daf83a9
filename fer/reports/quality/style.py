"""The look of the quality report: one column on a phone, wide on a desk, black on white on paper."""

CSS = """
:root {
  color-scheme: light dark;
  --ink: #1b1f24; --muted: #59636e; --paper: #ffffff; --soft: #f4f6f8; --line: #d5dae0;
  --train: #1f6fb5; --validation: #63b0e3; --test: #12876b; --excluded: #a7afb8; --quarantined: #e08a00;
  --refused: #c4451c; --heat: 31, 111, 181; --before: #c4451c;
  --pass: #14794a; --warn: #a86200; --stop: #be2427;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --ink: #e4e8ec; --muted: #9ba6b1; --paper: #14171b; --soft: #1d2127; --line: #383f47;
    --train: #4b97d8; --validation: #9fd0f2; --test: #35b896; --excluded: #7b848e; --quarantined: #f0a63a;
    --refused: #e8704a; --heat: 75, 151, 216; --before: #f0906e;
    --pass: #4cc38a; --warn: #f0a63a; --stop: #f2777a;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; font-variant-numeric: tabular-nums; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .1rem 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; line-height: 1.25; margin: 2.75rem 0 .4rem; padding-top: .6rem;
  border-top: 1px solid var(--line); scroll-margin-top: 2.6rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; }
p { margin: .4rem 0; max-width: 48rem; overflow-wrap: anywhere; }
.sum { max-width: none; }
main section:first-child h2 { border-top: 0; margin-top: 1rem; }
a { color: var(--train); }
.kicker, .note, figcaption, .tile small, .path { color: var(--muted); font-size: .875rem; }
.kicker { margin: 0; }
.path, bdi { overflow-wrap: anywhere; unicode-bidi: isolate; }
nav { position: sticky; top: 0; z-index: 1; background: var(--paper); border-bottom: 1px solid var(--line);
  margin-top: 1.5rem; padding: .45rem 0; overflow-x: auto; white-space: nowrap; scrollbar-width: none; }
nav a { margin-right: .95rem; font-size: .9rem; text-decoration: none; }
nav a:hover { text-decoration: underline; }

.verdict { border-left: .5rem solid var(--of); background: var(--soft); padding: .7rem 1rem; border-radius: .35rem; }
.verdict strong { color: var(--of); font-size: 1.15rem; }
.verdict ul { margin: .4rem 0 0; padding-left: 1.1rem; }
.verdict li { overflow-wrap: anywhere; }
.pass { --of: var(--pass); } .warn { --of: var(--warn); } .stop { --of: var(--stop); }
.says { color: var(--of); font-weight: 600; white-space: nowrap; }

.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.5rem, 1fr)); gap: .5rem; margin: 1rem 0; }
.tile { background: var(--soft); border-radius: .35rem; padding: .55rem .75rem; border-top: 3px solid transparent; }
.tile b { display: block; font-size: 1.45rem; line-height: 1.25; font-weight: 650; }
.tile span { display: block; font-size: .9rem; }
.tile small { display: block; line-height: 1.3; font-size: .8rem; }
.tile.stop, .tile.warn, .tile.pass { border-top-color: var(--of); }
.tile.stop b, .tile.warn b { color: var(--of); }

.scroll { overflow-x: auto; margin: .6rem 0 1rem; max-width: 100%; }
table { border-collapse: collapse; font-size: .9rem; }
caption { text-align: left; color: var(--muted); font-size: .875rem; padding-bottom: .3rem; }
th, td { padding: .3rem .9rem .3rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { color: var(--muted); font-weight: 600; vertical-align: bottom; white-space: nowrap; }
tbody th { font-weight: 500; }
.n { text-align: right; white-space: nowrap; }
tfoot th, tfoot td { border-bottom: 0; font-weight: 600; }
td.wide { min-width: 16rem; overflow-wrap: anywhere; }
th.rule { min-width: 7rem; }
td.bars { min-width: 8rem; }
.line { white-space: nowrap; }
td ul { margin: 0; padding: 0; list-style: none; }

.flow { display: grid; grid-template-columns: 7rem 1fr; gap: .2rem .8rem; align-items: center; margin: 1rem 0; }
.flow > * { min-width: 0; }
.legend li { overflow-wrap: anywhere; }
.flow .legend { grid-column: 2; margin: 0 0 .7rem; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; padding: 0; list-style: none; font-size: .875rem; }
.key { display: inline-block; width: .75rem; height: .75rem; border-radius: 2px; margin-right: .35rem; }
svg { display: block; width: 100%; overflow: visible; }
svg.bar { height: 1.7rem; }
svg.gauge { height: .55rem; min-width: 4.4rem; margin-top: .15rem; }
td > svg.gauge:only-child { margin-top: .4rem; }
svg text { font-size: .75rem; fill: var(--muted); }
svg .train, .key.train { fill: var(--train); background: var(--train); }
svg .validation, .key.validation { fill: var(--validation); background: var(--validation); }
svg .test, .key.test { fill: var(--test); background: var(--test); }
svg .excluded, .key.excluded { fill: var(--excluded); background: var(--excluded); }
svg .quarantined, .key.quarantined { fill: var(--quarantined); background: var(--quarantined); }
svg .refused, .key.refused { fill: var(--refused); background: var(--refused); }
svg .accepted, .key.accepted { fill: var(--train); background: var(--train); opacity: .75; }
svg .found, .key.found { fill: var(--muted); background: var(--muted); }
svg .found.even, .key.found.even { opacity: .6; }
svg .ground { fill: var(--line); opacity: .6; }
svg .fill { fill: var(--train); }
svg .outline { fill: none; stroke-width: 1.8; }
svg .then { stroke: var(--before); } svg .new { stroke: var(--test); stroke-dasharray: 5 2; }
.key.line { height: 0; border-top: 2px solid; vertical-align: middle; border-radius: 0; width: 1.1rem; }
.key.then { border-color: var(--before); } .key.new { border-color: var(--test); border-style: dashed; }
.key.mark { border-color: var(--stop); border-style: dashed; }
svg line.mark { stroke: var(--stop); stroke-width: 1.5; stroke-dasharray: 4 3; vector-effect: non-scaling-stroke; }
svg.gauge line.mark { stroke-dasharray: none; stroke: var(--ink); }
svg text.mark { fill: var(--stop); }
svg .axis { stroke: var(--line); }
svg .state { fill: var(--of); }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr)); gap: 1.2rem 1.6rem; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 0 2.5rem; }
figure { margin: 0; min-width: 0; }
figure h3 { margin-top: .4rem; }
figcaption { line-height: 1.35; }

.heat td { text-align: right; padding: .4rem .55rem; border: 1px solid var(--paper); min-width: 3.1rem;
  background: rgba(var(--heat), var(--share)); }
.heat td.own { background: var(--soft); color: var(--muted); }
.heat th { border: 0; white-space: nowrap; }

.faces { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.2rem, 1fr)); gap: .9rem; }
.faces.pairs { grid-template-columns: repeat(auto-fill, minmax(13.2rem, 1fr)); }
.faces figure { font-size: .8rem; line-height: 1.3; break-inside: avoid; }
.faces div { display: flex; gap: .3rem; }
.faces img { width: 96px; height: 96px; image-rendering: pixelated; border-radius: 3px; }
details { margin: .5rem 0; }
summary { cursor: pointer; color: var(--train); }
pre { background: var(--soft); border-radius: .35rem; padding: .7rem; font-size: .8rem; white-space: pre-wrap;
  overflow-wrap: anywhere; margin: .5rem 0; }

@media (max-width: 600px) {
  body { padding: 1rem .85rem 3rem; }
  h1 { font-size: 1.3rem; }
  .flow { grid-template-columns: 1fr; }
  .flow .legend { grid-column: 1; }
  .tiles { grid-template-columns: repeat(2, 1fr); gap: .5rem; }
  th, td { padding-right: .6rem; }
  thead th, thead th.n { white-space: normal; }
  td.wide { min-width: 9.5rem; }
  th.wide { min-width: 8rem; }
  .minor { display: none; }
  .narrow { font-size: .85rem; }
  .narrow th, .narrow td { padding-right: .45rem; }
  .narrow .under { display: block; font-size: .75rem; }
  .narrow svg.gauge { min-width: 2.4rem; }
  .matrix th, .matrix td { padding: .35rem .25rem; min-width: 2.15rem; font-size: .8rem; }
  .matrix thead th { writing-mode: vertical-rl; text-align: left; padding: .2rem .6rem; }
}
@media print {
  @page { margin: 14mm; }
  html { font-size: 9.5pt; }
  body { max-width: none; padding: 0; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  nav { display: none; }
  h2, h3 { break-after: avoid; }
  h2 { margin-top: 1.4rem; }
  .tiles { grid-template-columns: repeat(5, 1fr); }
  .charts { grid-template-columns: repeat(2, 1fr); }
  .two { grid-template-columns: 1fr 1fr; }
  .scroll { overflow: visible; }
  p.note { break-after: avoid; }
  tr, figure, .tile, .verdict, .flow, .two > div, .matrix, .narrow { break-inside: avoid; }
  details::details-content { content-visibility: visible; display: block; height: auto; }
  summary { list-style: none; color: var(--ink); font-weight: 600; }
}
"""
