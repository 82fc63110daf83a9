"""An audit as Markdown, from its document alone."""

from fer import plain_text
from fer.evaluation.audits.audit import Audit
from fer.evaluation.audits.twins import Twins
from fer.evaluation.comparing.differences import Estimate
from fer.evaluation.refs import Scores
from fer.reports import evaluation, markdown_tables

HTML, JSON = "audit.html", "audit.json"
_plain = plain_text.in_markdown


def markdown(found: Audit, slices: str = "", robustness: str = "") -> str:
    """The whole page; `slices` and `robustness` are what `fer.reports` says of these."""
    parts = [
        f"# {_plain(found.model.name)} on {_plain(', '.join(found.data.sources))}",
        f"**{_plain(found.sentence())}**",
        markdown_tables.table(figures(found)),
        *_twins(found.twins),
        "## What was audited",
        "\n".join(_about(found)),
        "## Metrics",
        evaluation.markdown(found.metrics, found.model.name, found.data.split).partition("\n")[2],
        *_reliability(found),
        *(["## Parts of the test by themselves", slices.partition("\n")[2]] if slices else []),
        *(["## Under corruption", robustness.partition("\n")[2]] if robustness else []),
        "## What this does not say",
        "The model predicts the expression that annotators perceived in a picture, not what a person feels. The "
        "figures hold for images like these. "
        + ("" if found.twins is not None else "What the model was trained on is not known: it may know these images. "),
    ]
    return "\n\n".join(parts) + "\n"


def figures(found: Audit) -> list[dict[str, str | int | float]]:
    """A row for each set of images: all of the test, de-duplicated, with and without a twin."""
    metrics = found.metrics
    rows = [
        _row(
            f"official: all {found.data.split} images",
            metrics.n_images,
            Estimate(value=metrics.accuracy, interval=metrics.accuracy_interval),
            Estimate(value=metrics.macro.f1, interval=metrics.macro_f1_interval),
        )
    ]
    if metrics.deduplicated is not None:
        rows.append(_scores("de-duplicated", metrics.deduplicated))
    if found.twins is not None:
        parts = {"with a twin": found.twins.with_twin, "without one": found.twins.without_twin}
        parts |= {f"closest twin {kind}": part for kind, part in found.twins.kinds.items()}
        rows += [_row(name, part.n_images, part.accuracy) for name, part in parts.items() if part is not None]
    return rows


def _twins(twins: Twins | None) -> list[str]:
    if twins is None:
        return []
    where = _plain(twins.of)
    if twins.difference is None or twins.worth is None:
        which = "No" if twins.with_twin is None else "Every"
        return ["## What twins are worth", f"{which} test image has a twin in {where}."]
    return [
        "## What twins are worth",
        f"A twin is an identical or near-identical image in {where}. The accuracy on test images with one minus that "
        f"on those without is **{points(twins.difference)}**; the official accuracy minus the latter, which is what "
        f"twins are worth, is **{points(twins.worth)}**. The two parts may differ in "
        "more than that, so this is how far the figure rests on twins, not a proof that they were learned by heart.",
    ]


def _about(found: Audit) -> list[str]:
    model, data, costs = found.model, found.data, found.costs
    form = model.form
    lines = [
        f"* model: {_plain(model.name)}, `{model.digest}`, {costs.n_parameters:,} parameters, "
        f"{costs.size_bytes / 1e6:.2f} MB, images of {model.height}×{model.width}",
        f"* classes, in the order of its outputs: {_plain(', '.join(model.classes))}",
    ]
    if form is not None:
        lines.append(f"* grey levels 0 to 255 as {_plain(form.scale or 'the model scales them itself')}")
    if costs.latency is not None:
        lines.append(
            f"* {costs.latency.image_ms:.2f} ms for an image, {costs.latency.images_per_s:,.0f} images per second in "
            "batches, on this machine"
        )
    lines.append(f"* data: {_plain(', '.join(data.sources))}, manifest `{data.digest}`")
    origin = (
        "as the source names it" if data.split_origin.startswith("official") else "drawn, since the source names none"
    )
    lines.append(f"* test split: {origin}")
    return lines


def _reliability(found: Audit) -> list[str]:
    scores = found.metrics.probabilities
    if scores is None:
        return []
    rows: list[dict[str, str | int | float]] = [
        {"images": bin_.n_images, "confidence": f"{bin_.confidence:.3f}", "accuracy": f"{bin_.accuracy:.3f}"}
        for bin_ in scores.reliability
    ]
    return [
        "## Calibration",
        f"Expected calibration error {found.metrics.calibration_error:.3f}, by bins of as many images "
        f"{scores.adaptive_calibration_error:.3f}; the images by the model's confidence:",
        markdown_tables.table(rows),
    ]


def points(estimate: Estimate) -> str:
    """A difference of shares in percentage points."""
    low, high = estimate.interval
    return f"{100 * estimate.value:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"


def _scores(name: str, scores: Scores) -> dict[str, str | int | float]:
    return _row(
        name,
        scores.n_images,
        Estimate(value=scores.accuracy, interval=scores.accuracy_interval),
        Estimate(value=scores.macro_f1, interval=scores.macro_f1_interval),
    )


def _row(
    name: str, n_images: int, accuracy: Estimate, macro_f1: Estimate | None = None
) -> dict[str, str | int | float]:
    return {
        "images": name,
        "number": n_images,
        "accuracy (95 %)": _share(accuracy),
        "macro-F1 (95 %)": "" if macro_f1 is None else _share(macro_f1),
    }


def _share(estimate: Estimate) -> str:
    return f"{estimate.value:.4f} ({estimate.interval[0]:.4f} to {estimate.interval[1]:.4f})"
