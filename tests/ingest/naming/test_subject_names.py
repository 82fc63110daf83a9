import re
import shlex

import pytest
from indexed import CONFIG, by_path, png, run

from fer.engine.local_workspace import LocalWorkspace
from fer.ingest.naming import subject_names
from fer.recipes import overrides

LABELS = ("angry", "fear", "happy", "neutral", "sad")


def paths(form, *others, labels=LABELS, n=12):
    """Paths by a form of label, subject number n, and one of the `others`, with their labels."""
    return {
        form.format(label=label, code=label[:2].upper(), n=number, other=other, initials=f"K{chr(65 + number)}"): label
        for label in labels
        for number in range(n)
        for other in others or ("",)
    }


@pytest.mark.parametrize(
    ("labels", "n_subjects"),
    [
        (paths("jaffe/{initials}.{label}{other}.tiff", 1, 2, 3), 12),
        (paths("{label}/S{n:03d}_001_{other:08d}.png", 1, 2), 12),
        (paths("faces/subj{n}_{label}_{other}.jpg", 1, 2, 3), 12),
        (paths("faces/subject{n:02d}.{label}.png"), 12),
        (paths("{label}_subject_{n}_{other}.jpg", 1, 2), 12),
        (paths("Actor_{n:02d}/{label}_{other}.png", 1, 2), 12),
        (paths("{label}/P{n:02d}/{other}.png", 1, 2), 12),
        (paths("{label}/{n:03d}_o_m_{other}.jpg", "a", "b"), 12),
        (paths("{label}/Raf090_{n:02d}_Caucasian_{label}_{other}.jpg", "left", "right"), 12),
        (paths("KDEF/A{other}{n:02d}{code}S.JPG", "F", "M"), 24),
        (paths("train_F{n:02d}_{label}_{other}.jpg", 1, 2) | paths("test_M{n:02d}_{label}_{other}.jpg", 1, 2), 24),
    ],
)
def test_names_that_hold_subjects_are_noticed_with_a_pattern_that_finds_them(labels, n_subjects):
    proposal = subject_names.propose(labels)
    assert proposal is not None
    assert len({re.search(proposal.pattern, path)[1] for path in labels}) == len(proposal.subjects) == n_subjects
    assert proposal.n_images == len(labels)


@pytest.mark.parametrize(
    "form",
    [
        "train/{label}/{n}.png",
        "{label}/img_{n}.png",
        "{label}/{label}_{n:04d}.png",
        "x/{label}{n:03d}.png",
        "{label}/images ({n}).jpg",
        "{label}/{n:04d}_aug{other}.jpg",
        "{label}/frame_{n}_{other}.jpg",
        "{label}/{n}_48x48.png",
        "{label}/2020-01-{n:02d}-{other}.jpg",
        "{label}/WhatsApp Image 2020-01-{n:02d} at {other}.jpg",
        "{label}/IMG_202001{n:02d}_{other}.jpg",
        "fold{n}/{label}/{other}.png",
        "{n}/{other}_{label}.png",
        "aligned/train_{n}{other}{label}_aligned.jpg",
        "test/{label}/PrivateTest_{n}{other}.jpg",
        "{label}/cropped_emotions.{n}{other}~{label}.png",
    ],
)
def test_counters_dates_copies_and_other_numbers_are_no_subjects(form):
    assert subject_names.propose(paths(form, 1, 2, 3)) is None


def test_a_few_images_propose_nothing():
    assert subject_names.propose(paths("{label}/S{n:03d}_{other}.png", 1, n=3, labels=LABELS[:2])) is None
    assert subject_names.propose({}) is None


def test_the_report_proposes_the_setting_that_then_finds_the_subjects_or_says_that_there_are_none(tmp_path):
    workspace = LocalWorkspace(tmp_path)
    names = paths("{label}/S{n:03d}_{other}.png", 1, 2, n=5, labels=("angry", "happy"))
    files = {name: png(n) for n, name in enumerate(names)}
    (line,) = run(workspace, files).warnings
    assert "20 images look as if they said who is shown ('S000', 'S001', 'S002', 'S003', …: 5 in" in line
    (setting,) = (word for word in shlex.split(line.split("--set ")[1])[:1])
    pattern = overrides.parse_settings([setting]).index.subject_pattern
    manifest = run(workspace, files, CONFIG.model_copy(update={"subject_pattern": pattern}))
    assert {row["subject"] for row in by_path(workspace, manifest).values()} == {f"S00{n}" for n in range(5)}
    assert manifest.warnings == ()
    none = overrides.parse_settings(["index.subject_pattern="]).index.subject_pattern
    assert run(workspace, files, CONFIG.model_copy(update={"subject_pattern": none})).warnings == ()
