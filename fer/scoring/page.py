"""Scores as a page, from their findings alone."""

from fer import plain_text
from fer.curation.drift import DriftConfig
from fer.reports import markdown_tables
from fer.scoring.findings import Findings, Share

HTML, JSON = "scores.html", "scores.json"
_plain = plain_text.in_markdown
Row = dict[str, str | int | float]


def markdown(found: Findings, outputs: tuple[str, ...] = ()) -> str:
    """The whole page; `outputs` say where the scores are."""
    parts = [
        f"# Scores of {_plain(', '.join(found.sources))} by {_plain(found.release)}",
        f"**{_plain(found.sentence())}**",
        markdown_tables.table(counts(found)),
        "## How often it may be right",
        *_estimate(found),
        "## What was predicted",
        markdown_tables.table([_share(share) for share in found.shares]),
        "## Drift against training",
        *_drift(found),
        *_unreadable(found),
        "## Where it is from",
        "\n".join(
            [
                f"* release {_plain(found.release)}, model `{found.model_digest}`",
                f"* scores `{found.scores_digest}`",
                *(f"* {_plain(output)}" for output in outputs),
            ]
        ),
        "## What this does not say",
        "The model predicts the expression that annotators perceived in a picture, not what a person feels. Nobody has "
        "labelled these pictures: the accuracy is an estimate, which drift makes worth less.",
    ]
    return "\n\n".join(parts) + "\n"


def counts(found: Findings) -> list[Row]:
    """What was found, a row each."""
    rows: list[Row] = [
        {"what": "pictures", "number": found.n_pictures},
        {"what": "faces scored", "number": found.n_faces},
        {"what": "pictures without a face", "number": found.n_without},
        {"what": "pictures that can't be read", "number": found.n_unreadable},
    ]
    if found.unsure is not None:
        rows.append({"what": "faces of which the model is unsure", "number": f"{found.unsure:.1%}"})
    if found.unlike is not None:
        rows.append({"what": "faces unlike those of the training", "number": f"{found.unlike:.1%}"})
    if found.mean_confidence is not None:
        rows.append({"what": "mean confidence, calibrated", "number": f"{found.mean_confidence:.3f}"})
    return rows


def _estimate(found: Findings) -> list[str]:
    made = found.estimate
    if made is None:
        return ["There is no estimate: it takes a face, and a release with its test predictions."]
    lines = [
        f"By the model's confidence about **{made.accuracy:.1%}** of the {made.n_faces:,} faces are labelled rightly; "
        f"on the {made.n_test:,} test images it was {made.accuracy_on_test:.1%}. It is the share of faces whose "
        f"probability is above {made.threshold:.3f}, as that of as many test images is as are right. On test images "
        f"that did not set this threshold such an estimate was off by {100 * made.error_on_test:.1f} points (root of "
        "the mean square)."
    ]
    if found.drifted:
        lines.append("**These faces differ from those of training (below): the estimate is then mostly too high.**")
    return lines


def _share(share: Share) -> Row:
    on_test = "" if share.share_on_test is None else f"{share.share_on_test:.1%}"
    return {"class": share.label, "faces": share.n_faces, "share": f"{share.share:.1%}", "on the test": on_test}


def _drift(found: Findings) -> list[str]:
    if not found.tests:
        return ["The release does not hold what these faces could be compared with."]
    has_inputs = any(test["of"] == "inputs" for test in found.tests)
    rows: list[Row] = [
        {
            "what": str(test["what"]),
            "": "drift" if test["drifted"] else "",
            "distance": f"{test['effect']:.3f}",
            "limit": f"{test['threshold']:.2f}",
            "median": f"{test['median']:.4g}" if "median" in test else "",
            "in training": f"{test['median_baseline']:.4g}" if "median_baseline" in test else "",
            "p (Holm)": f"{test['p_corrected']:.2g}".replace("-", "−"),  # no line ends at a minus
        }
        for test in found.tests
    ]
    about = [
        "Drift is a large difference that is no chance: a distance beyond its limit, with a p of at most "
        f"{DriftConfig().alpha:g}. Properties of what the model was shown are held against those of train images – "
        "`mean`, `std`, `p05` and `p99` are of grey levels, 0 to 255, `entropy` is in bits –, `class shares` and "
        "`confidence` of the predictions against those on the test images."
    ]
    if not has_inputs:
        about.append("The release is from before releases held the properties of their inputs.")
    return [*about, markdown_tables.table(rows)]


def _unreadable(found: Findings) -> list[str]:
    if not found.errors:
        return []
    rows: list[Row] = [{"reason": reason, "pictures": count} for reason, count in found.errors.items()]
    return ["## Pictures that can't be read", markdown_tables.table(rows)]
