"""A model's robustness as Markdown, from its JSON alone."""

from pathlib import Path

from fer.evaluation.robustness import comparison, figures, measure


def markdown(folder: Path, model: str) -> str:
    """The `robustness.json` in `folder`: accuracy by corruption and severity, and what moving an image changes."""
    scores = figures.Robustness.model_validate_json((folder / measure.FILE).read_bytes())
    low, high = scores.mean_accuracy_interval
    severities = [score.severity for score in scores.corruptions[0].severities]
    lines = [
        f"# {model} under corruption",
        "",
        f"Mean accuracy **{scores.mean_accuracy:.3f}** ({low:.3f} to {high:.3f} at 95 %) over all corruptions and "
        f"severities, {scores.accuracy:.3f} on the same {scores.n_images:,} {scores.split} images as they are, of "
        f"{scores.n_images_of_split:,}.",
        "",
        f"| corruption | {' | '.join(f'severity {severity}' for severity in severities)} | mean |",
        f"| --- |{' ---: |' * (len(severities) + 1)}",
        *(
            f"| {_name(score.kind)} | {' | '.join(f'{one.accuracy:.3f}' for one in score.severities)} "
            f"| {score.accuracy:.3f} |"
            for score in scores.corruptions
        ),
        "",
        "| image | accuracy | same answer |",
        "| --- | ---: | ---: |",
        *(
            f"| {_name(score.nuisance)} | {score.accuracy:.3f} | {score.unchanged:.1%} |"
            for score in scores.invariances
        ),
    ]
    return "\n".join(lines) + "\n"


def comparison_markdown(folder: Path) -> str:
    """The `robustness_comparison.json` in `folder`: errors by corruption beside the champion's."""
    result = comparison.RobustnessComparison.model_validate_json((folder / comparison.FILE).read_bytes())
    title = f"# Under corruption, beside version {result.champion_version}"
    if result.difference is None or result.difference_interval is None:
        return f"{title}\n\nOnly {result.n_images:,} images are new to it: too few to compare on.\n"
    low, high = result.difference_interval
    error, relative = _ratio(result.mean_corruption_error), _ratio(result.relative_mean_corruption_error)
    lines = [
        title,
        "",
        f"Mean accuracy {result.mean_accuracy:.3f} against {result.champion_mean_accuracy:.3f}: "
        f"**{result.difference:+.3f}** ({low:+.3f} to {high:+.3f} at 95 %) on {result.n_images:,} images; mean "
        f"corruption error {error}, relative {relative}, where the champion has 1.",
        "",
        "| corruption | error | champion's | corruption error | relative |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(
            f"| {_name(kind.kind)} | {kind.error:.3f} | {kind.champion_error:.3f} | {_ratio(kind.corruption_error)} "
            f"| {_ratio(kind.relative_corruption_error)} |"
            for kind in result.kinds
        ),
    ]
    return "\n".join(lines) + "\n"


def _name(kind: str) -> str:
    return kind.replace("_", " ")


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
