"""Where a model looks, and its mistakes, as Markdown, from the files of the stage `explanations` alone."""

from collections.abc import Callable
from pathlib import Path

from fer import plain_text
from fer.evaluation.explanations import explain, figures

_SHOWN = 10  # mistakes of each kind


def markdown(folder: Path, model: str, picture: Callable[[bytes, str], str]) -> str:
    """The `explanations.json` in `folder`; `picture` makes Markdown of a PNG and its title."""
    found = figures.Explanations.model_validate_json((folder / explain.FILE).read_bytes())
    plain, mistakes = plain_text.in_markdown, found.mistakes
    lines = [f"# Where {plain(model)} looks", ""]
    if found.layer is not None:
        lines += [
            f"Grad-CAM by the maps of {plain(found.layer)}: of each class the mean of the {found.split} images that "
            "the model has right, and over it the mean of where it sees the class. None of these pictures is of one "
            "person.",
            "",
        ]
    for one in found.classes:
        shown = one.why_not
        if one.picture is not None:
            shown = f"{one.n_images:,} images"
        lines += [f"**{plain(one.name)}**: {shown}", ""]
        if one.picture is not None:
            lines += [picture((folder / one.picture).read_bytes(), f"The average face of {plain(one.name)}"), ""]
    lines += [
        f"## Mistakes: {mistakes.n:,}, of them {mistakes.n_labels_in_doubt:,} with a label in doubt",
        "",
        *_table("label in doubt", mistakes.labels_in_doubt),
        *_table("most confident", mistakes.most_confident),
    ]
    return "\n".join(lines)


def faces_markdown(folder: Path, model: str, picture: Callable[[bytes, str], str]) -> str:
    """The single images in `folder`, made with `show_faces`: for the eyes of those who may see the data."""
    listed = explain.Faces.model_validate_json((folder / explain.FACES_LIST).read_bytes()).faces
    plain = plain_text.in_markdown
    lines = [f"# Single images: where {plain(model)} looks", ""]
    for why in dict.fromkeys(face.why for face in listed):
        lines += [f"## {why.capitalize()}", ""]
        for face in listed:
            if face.why == why:
                caption = plain(f"{face.image_id}: labelled {face.label}, predicted {face.predicted}")
                lines += [picture((folder / face.file).read_bytes(), caption), "", caption, ""]
    return "\n".join(lines)


def _table(title: str, listed: tuple[figures.Mistake, ...]) -> list[str]:
    if not listed:
        return []
    plain = plain_text.in_markdown
    rows = [
        f"| {plain(one.image_id)} | {plain(one.label)} ({one.label_probability:.3f}) "
        f"| {plain(one.predicted)} ({one.predicted_probability:.3f}) |"
        for one in listed[:_SHOWN]
    ]
    return [f"| {title} | label | predicted |", "| --- | --- | --- |", *rows, ""]
