"""The body of the quality report: a Jinja template over what `quality.json` holds."""

BODY = """
{% macro table(about, kind='') %}
<div class="scroll {{ kind }}" role="region" tabindex="0" aria-label="{{ about }}"><table>{{ caller() }}</table></div>
{% endmacro %}
{% macro heat(names, rows, given, suggested) %}
{% set shades = shades_of(rows) %}
<p class="note">Rows: {{ given }}. Columns: {{ suggested }}.</p>
{% call table(given ~ ' by ' ~ suggested, 'matrix') %}
<thead><tr><th></th>{% for name in names %}<th class="n">{{ name }}</th>{% endfor %}<th class="n">all</th></tr></thead>
<tbody class="heat">{% for name in names %}{% set row = rows[loop.index0] %}{% set shade = shades[loop.index0] %}
{% set own = loop.index0 %}<tr><th>{{ name }}</th>
{% for count in row %}{% if loop.index0 == own %}<td class="own">–</td>{% else %}
<td style="--share: {{ shade[loop.index0] }}">{{ count|n }}</td>{% endif %}{% endfor %}
<td class="own">{{ row|sum|n }}</td></tr>
{% endfor %}</tbody>
{% endcall %}
{% endmacro %}

<header>
<p class="kicker">Data quality report</p>
<h1>{% for each in named %}<bdi>{{ each }}</bdi>{{ ', ' if not loop.last }}{% endfor %}</h1>
<div class="verdict {{ verdict }}"><strong>{{ verdicts[verdict] }}</strong>
{% if failures or warnings %}<ul>
{% for line in failures %}<li><span class="says stop">stop:</span> {{ line }}</li>{% endfor %}
{% for line in warnings %}<li><span class="says warn">warning:</span> {{ line }}</li>{% endfor %}
</ul>{% else %}<p>Nothing stops the run, nothing leaks{{ ', nothing drifted' if changes.get('n_baseline') }}.</p>
{% endif %}</div>
<div class="tiles">{% for tile in tiles %}
<div class="tile {{ tile.state }}"><span>{{ tile.name }}</span>
<b>{{ tile.count|n if tile.count is not none else '–' }}</b><small>{{ tile.below }}</small></div>{% endfor %}
</div>
</header>

<nav aria-label="Sections"><a href="#came-in">What came in</a> <a href="#refused">Refused</a>
<a href="#changes">Changes</a> <a href="#balance">Classes</a> <a href="#duplicates">Duplicates and leaks</a>
<a href="#labels">Labels</a> <a href="#images">Images</a> <a href="#contract">Contract</a>
<a href="#made">How it was made</a> <a href="#faces">Faces</a></nav>

<main>
<section id="came-in"><h2>What came in, and where it went</h2>
<div class="flow">{% for level in levels %}
<div>{{ level.name }}</div><div>{{ level.bar }}</div>
<ul class="legend">{% for part in level.parts if part.count %}<li><span class="key {{ part.kind }}"></span>
{{ part.name }} <b>{{ part.count|n }}</b> <span class="note">{{ part.count|share(account.found) }}</span></li>
{% endfor %}
</ul>
{% endfor %}</div>
{% for total in account.sums %}<p class="sum"><span class="says {{ 'pass' if total.holds else 'stop' }}">
{{ '✓ adds up:' if total.holds else '✗ does not add up:' }}</span> {{ total|adding }}</p>{% endfor %}
{% if problem %}<p class="note">No later stage ran, as the data could not be divided.</p>
{% elif 'splits' not in account %}<p class="note">No later stage ran, as the data broke its contract.</p>{% endif %}
{% call table('Sources') %}
<thead><tr><th>source</th><th class="n">found</th><th class="n">accepted</th><th class="n">refused</th></tr></thead>
<tbody>{% for each in sources %}<tr><th class="wide">{{ each.source|path }}</th><td class="n">{{ each.found|n }}</td>
<td class="n">{{ each.accepted|n }}</td><td class="n">{{ each.refused|n }}</td></tr>{% endfor %}</tbody>
{% endcall %}
<p>Layout: {{ layouts|join(', ') }}. Files left aside: {{ ignored|kinds }}.</p>
</section>

<section id="refused"><h2>What was refused, and why</h2>
<div class="two">
{% if refused %}<div>{% call table('Refused by the contract') %}
<thead><tr><th>refused by the contract</th><th class="n">files</th><th>for example</th></tr></thead>
<tbody>{% for each in refused %}<tr><th>{{ each.reason }}</th><td class="n">{{ each.count|n }}</td>
<td class="wide"><ul>{% for path in each.examples %}<li>{{ path|path }}</li>{% endfor %}</ul></td></tr>
{% endfor %}</tbody>{% endcall %}</div>
{% else %}<p>By the contract nothing: every file found could be read and keeps it.</p>{% endif %}
{% if 'quarantined' in account %}<div>{% call table('Put aside after acceptance') %}
<thead><tr><th>accepted, but</th><th>because</th><th class="n">images</th></tr></thead><tbody>
{% for what, reasons in (('quarantined by curation', account.quarantined), ('excluded from the split',
account.excluded)) if reasons is defined %}{% for reason, count in reasons.items() %}
<tr><th>{{ what }}</th><td>{{ reason|plain }}</td><td class="n">{{ count|n }}</td></tr>{% else %}
<tr><th>{{ what }}</th><td>–</td><td class="n">0</td></tr>{% endfor %}{% endfor %}</tbody>{% endcall %}</div>
{% endif %}</div>
</section>

<section id="changes"><h2>What changed since the last accepted data</h2>
{% if not changes %}<p class="note">Not reached.</p>
{% elif changes.n_baseline is none %}<p>Nothing was accepted before this data. Once it is accepted – by
<code>fer retrain</code>, <code>fer data check --accept</code> or the flow <code>ingest</code> – what comes next is
compared with it.</p>
{% else %}
<p>Compared with the data accepted before this: <b>{{ changes.n_new|n }}</b> new, <b>{{ changes.n_gone|n }}</b> gone,
<b>{{ changes.n_relabelled|n }}</b> relabelled; {{ changes.n_baseline|n }} images then, {{ changes.n_now|n }} now.</p>
<div class="two"><div><h3>By class</h3>{% call table('Changes by class') %}
<thead><tr><th>class</th><th class="n">before</th><th class="n">now</th><th class="n">new</th><th class="n">gone</th>
</tr></thead><tbody>{% for label, its in changes.classes.items() %}<tr><th>{{ label }}</th>
{% for name in ('then', 'now', 'new', 'gone') %}<td class="n">{{ its[name]|n }}</td>{% endfor %}</tr>{% endfor %}
</tbody>{% endcall %}</div>
{% if changes.n_relabelled %}<div><h3>Relabelled</h3>{% call table('Relabelled') %}
<thead><tr><th>before</th><th>now</th><th class="n">images</th></tr></thead><tbody>
{% for then, now, count in relabelled[:10] %}<tr><th>{{ then }}</th><td>{{ now }}</td><td class="n">{{ count|n }}</td>
</tr>{% endfor %}{% if relabelled[10:] %}<tr><th colspan="2">others</th>
<td class="n">{{ relabelled[10:]|sum(attribute=2)|n }}</td></tr>{% endif %}</tbody>{% endcall %}</div>{% endif %}
</div>
<h3>Drift</h3>
<p class="note">A difference is drift where it is large (its bar reaches the mark, the threshold) and no chance (p,
corrected for the number of tests). The effect is the Kolmogorov-Smirnov distance; of class shares, the total variation
distance.{% if 'new' in drift_sides and changes.n_gathered is defined and changes.n_gathered != changes.n_new %} The new
ones are here the {{ changes.n_gathered|n }} that came since older data, as fewer had been too few to compare.
{% endif %}</p>
{% call table('Drift') %}
<thead><tr><th>verdict</th><th>property</th>{% for name in drift_sides.values() %}<th class="n">{{ name }}</th><th></th>
<th class="n">p</th>{% endfor %}<th class="n">threshold</th><th class="n">median</th></tr></thead>
<tbody>{% for what, by_side in drift.items() %}{% set drifted = by_side.values()|selectattr('drifted')|list %}
{% set first = by_side.values()|first %}<tr>
<td><span class="says {{ changes.action if drifted else 'pass' }}">{{ '✗ drift' if drifted else '✓ none' }}</span></td>
<th class="line">{{ property_names.get(what, what) }}</th>
{% for side in drift_sides %}{% set each = by_side[side] %}<td class="n">{{ '%.3f'|format(each.effect) }}</td>
<td>{{ charts.gauge(each.effect, 2 * each.threshold, title='%.3f of %.3f'|format(each.effect, each.threshold),
kind='state ' ~ (changes.action if each.drifted else 'pass'), limit=each.threshold) }}</td>
<td class="n">{{ each.p_corrected|chance }}</td>{% endfor %}<td class="n">{{ '%.3f'|format(first.threshold) }}</td>
<td class="n">{% if 'median' in first %}{{ first.median_baseline|short }} →
{% for side in drift_sides %}{{ by_side[side].median|short }}{{ ' / ' if not loop.last }}{% endfor %}{% endif %}</td>
</tr>{% endfor %}</tbody>
{% endcall %}
{% endif %}
</section>

<section id="balance"><h2>Classes</h2>
{% call table('Images by class and split', 'narrow') %}
<thead><tr><th>class</th>{% for name in sides %}<th class="n">{{ name }}</th>{% endfor %}
{% if 'excluded' in balance %}<th class="n">excluded</th>{% endif %}</tr></thead>
<tbody>{% for label in classes %}<tr><th>{{ label }}</th>{% for side in sides %}{% set count = balance[side][label] %}
<td class="n">{{ count|n }} <span class="note under">{{ count|share(side_sums[side]) }}</span>
{{ charts.gauge(count / (side_sums[side] or 1), widest, title=label ~ ', ' ~ side ~ ': ' ~ count|share(side_sums[side]),
kind=side) }}</td>{% endfor %}
{% if 'excluded' in balance %}<td class="n">{{ balance.excluded[label]|n }}</td>{% endif %}</tr>{% endfor %}</tbody>
<tfoot><tr><th>all</th>{% for side in sides %}<td class="n">{{ side_sums[side]|n }}</td>{% endfor %}
{% if 'excluded' in balance %}<td class="n">{{ balance.excluded.values()|sum|n }}</td>{% endif %}</tr></tfoot>
{% endcall %}
{% if leaks %}<p>The splits are {{ leaks.origin }}.{% if leaks.n_kept %} {{ leaks.n_kept|n }} images
stand where they stood in the data accepted before this.{% endif %}</p>{% endif %}
</section>

<section id="duplicates"><h2>Duplicates and leaks</h2>
{% if not duplicates %}<p class="note">Not reached.</p>{% else %}{% set looked = made.settings.inspect.config %}
<p><b>{{ duplicates.redundant_copies|n }}</b> redundant exact copies.
<b>{{ duplicates.groups|n }}</b> groups of near-duplicates
{%- if looked is defined %} (a correlation of {{ looked.near_duplicate_correlation }} or more as they are
{%- if looked.aligned_duplicates %}, or of {{ looked.aligned_duplicate_correlation }} once one is moved, zoomed, turned
or mirrored to lie on the other{% endif %}){% endif %}, identical ones among them, with
{{ duplicates.images_in_groups|n }} images; in {{ duplicates.groups_not_identical|n }} groups they are not all
identical.
{% if duplicates.pairs %}{{ duplicates.pairs|n }} pairs:
{% for kind, count in duplicates.pairs_by_kind.items() %}{{ count|n }} {{ kind }}
{{- ', ' if not loop.last else '.' }}{% endfor %}{% endif %}</p>
<div class="two">
{% if leaks %}{% set by_subject = leaks.left_subjects is not none %}<div><h3>Leaks</h3>
<p class="note">In the source's own splits, images with a duplicate{{ ', or their subject,' if by_subject }} in train,
each by its closest kind. Below them, images of validation and test with one in any split closer to training.</p>
{% call table('Leaks') %}
<thead><tr><th>split</th>{% for kind in kinds_of_duplicates %}<th class="n">{{ kind }}</th>{% endfor %}
<th class="n">all</th>{% if by_subject %}<th class="n">same subject</th>{% endif %}</tr></thead>
<tbody>{% for each in leaks.before %}<tr><th>{{ each.split }}</th>
{% for kind in kinds_of_duplicates %}<td class="n">{{ each[kind]|n }}</td>{% endfor %}
<td class="n">{{ each.duplicates|n }}</td>
{% if by_subject %}<td class="n">{{ each.subject|n }}</td>{% endif %}</tr>{% else %}
<tr><td colspan="{{ 7 if by_subject else 6 }}">{{ leaks.unofficial }}</td></tr>{% endfor %}
</tbody><tfoot>{% if leaks.before %}<tr><th colspan="5">before the repair, in any split</th>
<td class="n">{{ leaks.n_before|n }}</td>{% if by_subject %}<td></td>{% endif %}</tr>{% endif %}
<tr><th colspan="5">left after the repair</th>{% for left in (leaks.left, leaks.left_subjects) if left is not none %}
<td class="n"><span class="says {{ 'warn' if left else 'pass' }}">{{ left|n }}</span></td>{% endfor %}</tr></tfoot>
{% endcall %}</div>
<div><h3>As it is, and de-duplicated</h3>
<p class="note">Without images that have a duplicate in train, repeat another one, or were to be dropped.</p>
{% call table('Sizes as they are, and de-duplicated') %}
<thead><tr><th>split</th><th class="n">as it is</th><th class="n">de-duplicated</th><th class="n">fewer</th></tr>
</thead><tbody>{% for name in ('validation', 'test') %}{% set clean = balance[name ~ '_clean'].values()|sum %}
<tr><th>{{ name }}</th><td class="n">{{ side_sums[name]|n }}</td><td class="n">{{ clean|n }}</td>
<td class="n">{{ (side_sums[name] - clean)|n }}</td></tr>{% endfor %}</tbody>{% endcall %}</div>{% endif %}
{% if leaks and leaks.matrix %}<div><h3>Which split the duplicate is in</h3>
<p class="note">Before the repair: images of the row's split with a duplicate of any kind in the column's; in brackets,
with an identical one{{ '; below them, with the same subject' if leaks.left_subjects is not none }}.</p>
{% call table('Duplicates between the official splits') %}
<thead><tr><th></th>{% for name in leaks.matrix %}<th class="n">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>{% for name, row in leaks.matrix.items() %}<tr><th>{{ name }}</th>{% for other in leaks.matrix %}
<td class="n">{% if other in row %}{{ row[other].duplicates|n }} ({{ row[other].identical|n }})
{% if leaks.left_subjects is not none %}<br>{{ row[other].subject|n }}{% endif %}{% else %}–{% endif %}</td>
{% endfor %}</tr>{% endfor %}</tbody>{% endcall %}</div>{% endif %}
<div><h3>Groups by size</h3>
{% call table('Groups by size') %}
<thead><tr><th class="n">images</th><th class="n">groups</th><th></th></tr></thead>
<tbody>{% for size, count in group_sizes %}<tr><td class="n">{{ size }}</td><td class="n">{{ count|n }}</td>
<td class="bars">{{ charts.gauge(count, group_sizes[0][1], title=size ~ ' images: ' ~ count ~ ' groups') }}</td></tr>
{% else %}
<tr><td colspan="3">no image has a duplicate</td></tr>{% endfor %}</tbody>{% endcall %}</div>
</div>{% endif %}
</section>

<section id="labels"><h2>Labels</h2>
{% if not labels %}<p class="note">Not reached.</p>{% else %}
<p><b>{{ labels.conflicting_groups|n }}</b> groups of identical images carry different labels:
{{ labels.conflicting_images|n }} images.</p>
{% if not labels.looked_for_errors %}<p>Labels that are likely wrong were not looked for.</p>
{% else %}<p><b>{{ labels.in_doubt|n }}</b> labels are in doubt: a model that was not shown the image is confident of
another class: {% for name, n in labels.in_doubt_by_split.items() %}{{ n|n }} of {{ name }}
{{- ', ' if not loop.last }}{% endfor %}. The model learned from train alone, and the policy is for train alone; images
of validation and test stay where they are.
{%- for each in labels.commonest %}{{ ' Most often ' if loop.first else ', ' }}{{ each.given }} →
{{ each.suggested }} ({{ each.images|n }}){{ '.' if loop.last }}{% endfor %}</p>
{% if labels.in_doubt %}{{ heat(classes, labels.matrix, 'the label given', 'the label suggested') }}{% endif %}
{% endif %}{% endif %}
</section>

<section id="images"><h2>Images</h2>
{% if issues %}
{% call table('Issues') %}
<thead><tr><th>issue</th><th class="n">images</th><th class="n minor">of accepted</th><th>policy</th>
<th class="n">kept</th><th class="n">dropped</th><th class="n">quarantined</th><th>begins</th></tr></thead>
<tbody>{% for each in issues %}<tr><th class="line">{{ each.issue|plain }}</th><td class="n">{{ each.images|n }}</td>
<td class="n minor">{{ each.images|share(account.accepted) }}</td><td>{{ each.policy or '–' }}</td>
{% for action in ('keep', 'drop', 'quarantine') %}<td class="n">{{ each.actions[action]|n }}</td>{% endfor %}
<td class="line note">{{ each|begins }}</td></tr>{% endfor %}</tbody>
{% endcall %}
<p class="note">The strictest policy among an image's issues decides. An official validation or test split keeps what is
dropped; its de-duplicated version does not.</p>
{% endif %}
<ul class="legend"><li><span class="key train"></span>these images</li>{% for kind, name in outlines.items() %}
<li><span class="key line {{ kind }}"></span>{{ name }}</li>{% endfor %}
{% if has_thresholds %}<li><span class="key line mark"></span>threshold of an issue</li>{% endif %}</ul>
<div class="charts">{% for each in properties if each.images %}
<figure><h3>{{ each.title }}</h3>
{% if each.quantiles.least == each.quantiles.most %}<p>All {{ each.images|n }} images: {{ each.quantiles.least|short }}
{{ each.unit }}.</p>{% else %}{{ histogram(each) }}<figcaption>{{ each.unit }};
median {{ each.quantiles.median|short }}, 5–95 %: {{ each.quantiles.p05|short }}–{{ each.quantiles.p95|short }}
{%- for mark in each.thresholds %};
{{ mark.issue|plain }} {{ mark.side }} {{ mark.value|short }}{% endfor %}</figcaption>{% endif %}</figure>
{% endfor %}</div>
</section>

<section id="contract"><h2>The contract</h2>
<p>{{ contract|length }} rules, {{ (contract|rejectattr('passed')|list|length) or 'none' }} broken. Images that break a
rule of severity quarantine are refused; a broken rule of severity stop ends the run, of warn it only says so.</p>
{% call table('Rules of the contract') %}
<thead><tr><th>outcome</th><th>rule</th><th class="minor">of</th><th class="minor">if broken</th>
<th class="n minor">rows</th><th>why</th></tr></thead>
<tbody>{% for rule in contract|rejectattr('passed')|list + contract|selectattr('passed')|list %}<tr>
<td><span class="says {{ 'pass' if rule.passed else 'stop' if rule.severity == 'stop' else 'warn' }}">
{{ '✓ holds' if rule.passed else '! refuses' if rule.severity == 'quarantine' else '✗ broken' }}</span></td>
<th class="rule">{{ rule.id|plain }}</th><td class="note minor">{{ rule.frame }}</td>
<td class="minor">{{ rule.severity }}</td><td class="n minor">{{ rule.n_checked|n }}</td><td class="wide">
{{ rule.why }}{% if not rule.passed %}<br>
<b>{{ rule.finding }}: {{ rule.n_broken|n }}</b>
{% for each in rule.examples %}{{ 'e.g. ' if loop.first else ', ' }}{{ each|path }}
{% endfor %}{% endif %}</td></tr>{% endfor %}</tbody>{% endcall %}
</section>

<section id="made"><h2>How it was made</h2>
{% for stage, settings in made.settings.items() if settings %}
<details><summary>Settings of {{ stage }}</summary><pre>{{ settings|pretty }}</pre></details>{% endfor %}
{% call table('Digests') %}<thead><tr><th>stage</th><th>digest of its output</th></tr></thead><tbody>
{% for stage, digest in made.digests.items() %}<tr><th>{{ stage }}</th><td class="wide"><code>{{ digest }}</code></td>
</tr>{% endfor %}</tbody>{% endcall %}
</section>

<section id="faces"><h2>Faces</h2>
{% if galleries is none %}<p>This report shows no face. One that does is made with <code>--show-faces</code>.</p>
{% else %}{% for gallery in galleries %}<h3>{{ gallery.title }}</h3>
<p class="note">{{ gallery.examples|length|n }} of {{ gallery.n_all|n }}{{ ': ' if gallery.note }}{{ gallery.note }}</p>
<div class="faces {{ 'pairs' if gallery.examples[0].pictures|length > 1 }}">{% for example in gallery.examples %}
<figure><div>{% for picture in example.pictures %}<img src="{{ picture.uri }}" width="96" height="96"
alt="{{ picture.label }}">{% endfor %}</div><figcaption>{% if example.says %}<b>{{ example.says }}</b><br>{% endif %}
{% for picture in example.pictures %}{{ picture.label }} {{ picture.path|path }}<br>{% endfor %}</figcaption></figure>
{% endfor %}</div>{% else %}<p>No image has an issue to show.</p>{% endfor %}{% endif %}
</section>
</main>
"""
