import hashlib
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fer import demo_faces, images

SMALL = demo_faces.DemoConfig(seed=3, images_per_class={"angry": 5, "happy": 8, "neutral": 6}, duplicates=4)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The members of the small archive: name -> bytes."""
    path = tmp_path_factory.mktemp("demo") / "dataset.zip"
    demo_faces.write_archive(path, SMALL)
    return members(path)


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def defective(config: demo_faces.DemoConfig) -> set[str]:
    found = demo_faces.planted(config)
    return {*found.duplicates, *found.undecodable, *found.empty, *found.blank, *found.no_images}


@pytest.mark.parametrize("label", demo_faces.CLASSES)
def test_every_class_is_drawn_as_48_by_48_grey_faces_with_contrast(label):
    for seed in range(20):
        face = demo_faces.draw(label, np.random.default_rng(seed))
        assert face.shape == (48, 48)
        assert face.dtype == np.uint8
        assert face.std() > 8


def test_the_same_generator_state_draws_the_same_face_and_another_a_different_one():
    first, again, other = (demo_faces.draw("sad", np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_every_unit_of_an_emotion_moves_something():
    for core, optional in demo_faces.PROTOTYPES.values():
        for unit in core + optional:
            assert any(demo_faces.ACTION_UNITS[unit].values())


def test_no_two_emotions_share_their_action_units():
    cores = [frozenset(core) for core, _ in demo_faces.PROTOTYPES.values()]
    assert len(set(cores)) == len(demo_faces.CLASSES)


def test_a_dropped_jaw_darkens_the_mouth_and_a_tight_lip_does_not():
    mouth = {
        label: np.mean([demo_faces.draw(label, np.random.default_rng(n))[34:42, 19:29] for n in range(40)])
        for label in ("surprise", "angry", "neutral")
    }
    assert mouth["surprise"] < mouth["neutral"] - 10
    assert mouth["angry"] > mouth["neutral"] - 5


def test_the_same_config_gives_the_same_bytes_and_another_seed_gives_others(tmp_path):
    digests = []
    for name, config in (("a", SMALL), ("b", SMALL), ("c", SMALL.model_copy(update={"seed": 4}))):
        demo_faces.write_archive(tmp_path / name, config)
        digests.append(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def test_the_archive_is_a_folder_of_class_folders_sorted_and_of_one_date(tmp_path):
    path = tmp_path / "dataset.zip"
    demo_faces.write_archive(path, SMALL)
    with zipfile.ZipFile(path) as opened:
        infos = opened.infolist()
    names = [info.filename for info in infos]
    assert names == sorted(names)
    assert {info.date_time for info in infos} == {(2024, 1, 1, 0, 0, 0)}
    assert names[0] == "demo-faces/README.txt"
    assert all(re.fullmatch(r"demo-faces/(angry|happy|neutral)/\d{5}\.png", name) for name in names[1:])


def test_the_returned_counts_are_those_of_the_files_in_each_class_folder(tmp_path):
    path = tmp_path / "dataset.zip"
    counts = demo_faces.write_archive(path, SMALL)
    folders = [name.split("/")[1] for name in members(path) if name.endswith(".png")]
    assert counts == {label: folders.count(label) for label in SMALL.images_per_class}
    assert sum(counts.values()) == 5 + 8 + 6 + 4 + 2 + 1 + 2


def test_what_is_not_planted_is_sound_and_of_the_configured_number(archive):
    sound = sorted(archive.keys() - defective(SMALL))
    faces = {name: images.decode(archive[name]) for name in sound}
    assert len({face.tobytes() for face in faces.values()}) == len(faces)
    assert all(face.shape == (48, 48) and face.std() > 0 for face in faces.values())
    labels = [name.split("/")[1] for name in sound]
    assert {label: labels.count(label) for label in SMALL.images_per_class} == SMALL.images_per_class


def test_planted_duplicates_are_the_same_bytes_in_the_same_class_under_another_name(archive):
    duplicates = demo_faces.planted(SMALL).duplicates
    assert len(duplicates) == 4
    for copy, original in duplicates.items():
        assert copy != original
        assert copy.split("/")[1] == original.split("/")[1]
        assert archive[copy] == archive[original]


def test_planted_undecodable_and_empty_files_are_refused_by_the_decoder(archive):
    found = demo_faces.planted(SMALL)
    assert len(found.undecodable) == 2
    assert len(found.empty) == 1
    for name in found.undecodable + found.empty:
        with pytest.raises(images.UndecodableImage):
            images.decode(archive[name])
    assert archive[found.empty[0]] == b""


def test_planted_blank_images_decode_to_one_grey_each_and_differ(archive):
    blanks = [images.decode(archive[name]) for name in demo_faces.planted(SMALL).blank]
    assert [len(np.unique(blank)) for blank in blanks] == [1, 1]
    assert blanks[0][0, 0] != blanks[1][0, 0]


def test_more_faces_of_one_class_leave_those_of_the_others_as_they_were(tmp_path, archive):
    more = SMALL.model_copy(update={"images_per_class": {"angry": 7, "happy": 8, "neutral": 6}})
    demo_faces.write_archive(tmp_path / "more.zip", more)
    after = members(tmp_path / "more.zip")
    kept = archive.keys() - defective(SMALL)
    assert all(after[name] == archive[name] for name in kept)


@pytest.mark.parametrize(("asked", "planted"), [(0, 0), (1, 1), (50, 19)])
def test_there_are_at_most_as_many_duplicates_as_faces(asked, planted):
    config = SMALL.model_copy(update={"duplicates": asked})
    assert len(demo_faces.planted(config).duplicates) == planted


@pytest.mark.parametrize("wrong", [{}, {"bored": 10}, {"happy": 0}])
def test_a_config_with_unknown_or_no_faces_is_refused(wrong):
    with pytest.raises(ValueError, match="at least 1"):
        demo_faces.DemoConfig(images_per_class=wrong)


def test_by_default_all_seven_classes_are_drawn_and_disgust_is_the_rarest():
    counts = demo_faces.DemoConfig().images_per_class
    assert set(counts) == set(demo_faces.CLASSES)
    assert 1_600 <= sum(counts.values()) <= 2_000
    assert min(counts, key=counts.__getitem__) == "disgust"


def test_progress_ends_at_the_number_of_faces(tmp_path):
    seen: list[tuple[int, int]] = []
    demo_faces.write_archive(tmp_path / "a.zip", SMALL, lambda done, total, note="": seen.append((done, total)))
    assert seen == [(5, 19), (13, 19), (19, 19)]


def test_a_linear_model_on_pixels_learns_something_but_stays_under_85_percent():
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    labels = np.repeat(np.arange(7), 80)
    faces = np.stack(
        [demo_faces.draw(demo_faces.CLASSES[each], np.random.default_rng([5, n])) for n, each in enumerate(labels)]
    )
    pixels = StandardScaler().fit_transform(faces.reshape(len(faces), -1).astype(np.float32))
    held_out = np.arange(len(labels)) % 5 == 0
    model = LogisticRegression(max_iter=500, tol=1e-3).fit(pixels[~held_out], labels[~held_out])
    accuracy = model.score(pixels[held_out], labels[held_out])
    assert 2 / 7 < accuracy < 0.85
