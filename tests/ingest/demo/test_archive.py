import hashlib
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fer.images import decode, properties
from fer.ingest.demo import archive as demo_archive

SMALL = demo_archive.DemoConfig(
    seed=3,
    images_per_class={"angry": 5, "happy": 8, "neutral": 6},
    duplicates=4,
    near_duplicates=6,
    conflicts=3,
    mislabelled=5,
    outliers=4,
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The members of the small archive: name -> bytes."""
    path = tmp_path_factory.mktemp("demo") / "dataset.zip"
    demo_archive.write_archive(path, SMALL)
    return members(path)


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def defective(config: demo_archive.DemoConfig) -> set[str]:
    return {path for paths in demo_archive.planted(config).model_dump().values() for path in paths}


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(properties.thumbnail(first).ravel(), properties.thumbnail(second).ravel())[0, 1])


def measured(archive: dict[str, bytes], paths: tuple[str, ...]) -> list[properties.Properties]:
    return [properties.measure(decode.decode(archive[path])) for path in paths]


def sound(archive: dict[str, bytes]) -> list[properties.Properties]:
    return measured(archive, tuple(archive.keys() - defective(SMALL)))


def folder(path: str) -> str:
    return path.split("/")[1]


def test_the_same_config_gives_the_same_bytes_and_another_seed_gives_others(tmp_path):
    digests = []
    for name, config in (("a", SMALL), ("b", SMALL), ("c", SMALL.model_copy(update={"seed": 4}))):
        demo_archive.write_archive(tmp_path / name, config)
        digests.append(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def test_the_archive_is_a_folder_of_class_folders_sorted_and_of_one_date(tmp_path):
    path = tmp_path / "dataset.zip"
    demo_archive.write_archive(path, SMALL)
    with zipfile.ZipFile(path) as opened:
        infos = opened.infolist()
    names = [info.filename for info in infos]
    assert names == sorted(names)
    assert {info.date_time for info in infos} == {(2024, 1, 1, 0, 0, 0)}
    assert names[0] == "demo-faces/README.txt"
    assert all(re.fullmatch(r"demo-faces/(angry|happy|neutral)/\d{5}\.(png|jpg)", name) for name in names[1:])


def test_the_returned_counts_are_those_of_the_files_in_each_class_folder(tmp_path):
    path = tmp_path / "dataset.zip"
    counts = demo_archive.write_archive(path, SMALL)
    folders = [folder(name) for name in members(path) if name.endswith(("png", "jpg"))]
    assert counts == {label: folders.count(label) for label in SMALL.images_per_class}
    faces, copies, further, broken_or_blank = 5 + 8 + 6, 4 + 6 + 3, 5 + 2 + 2 + 2 + 1 + 1 + 4, 2 + 1 + 2
    assert sum(counts.values()) == faces + copies + further + broken_or_blank


def test_every_planted_path_is_in_the_archive_and_planted_once(archive):
    planted = demo_archive.planted(SMALL).model_dump()
    assert defective(SMALL) <= archive.keys()
    assert sum(len(paths) for paths in planted.values()) == len(defective(SMALL))


def test_the_readme_says_that_no_person_is_shown(archive):
    (readme,) = demo_archive.planted(SMALL).no_images
    assert "no person is shown" in archive[readme].decode()


def test_what_is_not_planted_is_sound_and_of_the_configured_number(archive):
    names = sorted(archive.keys() - defective(SMALL))
    faces = {name: decode.decode(archive[name]) for name in names}
    assert len({face.tobytes() for face in faces.values()}) == len(faces)
    assert all(face.shape == (48, 48) and face.std() > 0 for face in faces.values())
    labels = [folder(name) for name in names]
    assert {label: labels.count(label) for label in SMALL.images_per_class} == SMALL.images_per_class


def test_planted_duplicates_are_the_same_bytes_in_the_same_class_under_another_name(archive):
    duplicates = demo_archive.planted(SMALL).duplicates
    assert len(duplicates) == 4
    for copy, original in duplicates.items():
        assert copy != original
        assert folder(copy) == folder(original)
        assert archive[copy] == archive[original]


def test_planted_near_duplicates_look_like_a_face_of_their_class_and_are_not_identical(archive):
    near_duplicates = demo_archive.planted(SMALL).near_duplicates
    assert len(near_duplicates) == 6
    for copy, original in near_duplicates.items():
        assert folder(copy) == folder(original)
        assert archive[copy].startswith(b"\xff\xd8\xff")
        pixels, of_original = decode.decode(archive[copy]), decode.decode(archive[original])
        assert not np.array_equal(pixels, of_original)
        assert correlation(pixels, of_original) >= 0.93


def test_planted_conflicts_are_the_same_bytes_in_another_class(archive):
    conflicts = demo_archive.planted(SMALL).conflicts
    assert len(conflicts) == 3
    for copy, original in conflicts.items():
        assert folder(copy) != folder(original)
        assert archive[copy] == archive[original]


def test_planted_label_errors_are_new_faces_in_the_folder_of_another_class(archive):
    mislabelled = demo_archive.planted(SMALL).mislabelled
    assert len(mislabelled) == 5
    assert set(mislabelled.values()) <= set(SMALL.images_per_class)
    others = {archive[name] for name in archive.keys() - mislabelled.keys()}
    for path, shown in mislabelled.items():
        assert folder(path) != shown
        assert archive[path] not in others


def test_no_face_is_the_origin_of_two_copies():
    planted = demo_archive.planted(SMALL.model_copy(update={"near_duplicates": 50}))
    origins = [*planted.duplicates.values(), *planted.near_duplicates.values(), *planted.conflicts.values()]
    assert len(set(origins)) == len(origins) == 19


def test_planted_undecodable_and_empty_files_are_refused_by_the_decoder(archive):
    planted = demo_archive.planted(SMALL)
    assert len(planted.undecodable) == 2
    assert len(planted.empty) == 1
    for name in planted.undecodable + planted.empty:
        with pytest.raises(decode.UndecodableImage):
            decode.decode(archive[name])
    assert archive[planted.empty[0]] == b""


def test_planted_blank_images_decode_to_one_grey_each_and_differ(archive):
    blanks = [decode.decode(archive[name]) for name in demo_archive.planted(SMALL).blank]
    assert [len(np.unique(blank)) for blank in blanks] == [1, 1]
    assert blanks[0][0, 0] != blanks[1][0, 0]


def test_planted_dark_and_bright_faces_are_so_and_still_show_something(archive):
    planted = demo_archive.planted(SMALL)
    dark, bright = measured(archive, planted.dark), measured(archive, planted.bright)
    assert len(dark) == len(bright) == 2
    assert max(measures.p99 for measures in dark) <= 50 < min(measures.p99 for measures in sound(archive))
    assert min(measures.p05 for measures in bright) >= 210 > max(measures.p05 for measures in sound(archive))
    assert min(measures.entropy for measures in dark + bright) > 4.4


def test_planted_blurry_faces_are_far_less_sharp_than_the_sound_ones(archive):
    blurry = measured(archive, demo_archive.planted(SMALL).blurry)
    assert len(blurry) == 2
    assert (
        max(measures.sharpness for measures in blurry)
        < 0.05
        < 0.1
        < min(measures.sharpness for measures in sound(archive))
    )


def test_planted_pictures_of_low_information_have_at_most_five_greys(archive):
    (path,) = demo_archive.planted(SMALL).low_information
    assert properties.measure(decode.decode(archive[path])).entropy < 2.5
    assert len(np.unique(decode.decode(archive[path]))) == 5


def test_planted_outliers_resemble_no_face_and_are_neither_dark_nor_bright_nor_poor(archive):
    outliers = demo_archive.planted(SMALL).outliers
    assert len({archive[path] for path in outliers}) == 4
    faces = [decode.decode(archive[path]) for path in archive.keys() - defective(SMALL)]
    for path in outliers:
        assert max(correlation(decode.decode(archive[path]), face) for face in faces) < 0.4
    for measures in measured(archive, outliers):
        assert measures.p99 > 95
        assert measures.p05 < 156
        assert measures.entropy > 5


def test_the_planted_odd_size_is_a_face_of_300_by_60(archive):
    (path,) = demo_archive.planted(SMALL).odd_size
    pixels = decode.decode(archive[path])
    assert pixels.shape == (60, 300)
    assert pixels.std() > 8


def test_more_faces_of_one_class_leave_those_of_the_others_as_they_were(tmp_path, archive):
    more = SMALL.model_copy(update={"images_per_class": {"angry": 7, "happy": 8, "neutral": 6}})
    demo_archive.write_archive(tmp_path / "more.zip", more)
    after = members(tmp_path / "more.zip")
    kept = archive.keys() - defective(SMALL)
    assert all(after[name] == archive[name] for name in kept)


def test_more_of_one_defect_leave_the_sound_faces_and_the_duplicates_as_they_were():
    more = SMALL.model_copy(update={"near_duplicates": 9, "dark": 4})
    assert demo_archive.planted(more).duplicates == demo_archive.planted(SMALL).duplicates


@pytest.mark.parametrize(("asked", "planted"), [(0, 0), (1, 1), (50, 19)])
def test_there_are_at_most_as_many_duplicates_as_faces(asked, planted):
    config = SMALL.model_copy(update={"duplicates": asked})
    assert len(demo_archive.planted(config).duplicates) == planted


def test_a_single_class_has_no_wrong_folder():
    planted = demo_archive.planted(demo_archive.DemoConfig(images_per_class={"sad": 30}))
    assert planted.conflicts == planted.mislabelled == {}
    assert len(planted.near_duplicates) == 16


def test_nothing_but_the_broken_and_blank_files_is_planted_at_counts_of_zero(tmp_path):
    counts = ("duplicates", "near_duplicates", "conflicts", "mislabelled", "dark", "bright", "blurry")
    none = dict.fromkeys((*counts, "odd_size", "low_information", "outliers"), 0)
    config = demo_archive.DemoConfig(images_per_class={"happy": 3, "sad": 2}, **none)
    assert sum(demo_archive.write_archive(tmp_path / "a.zip", config).values()) == 5 + 2 + 1 + 2


@pytest.mark.parametrize("wrong", [{}, {"bored": 10}, {"happy": 0}])
def test_a_config_with_unknown_or_no_faces_is_refused(wrong):
    with pytest.raises(ValueError, match="at least 1"):
        demo_archive.DemoConfig(images_per_class=wrong)


def test_a_config_written_by_the_version_before_is_read():
    assert demo_archive.DemoConfig.model_validate({"near_twins": 3}).near_duplicates == 3


def test_a_negative_count_of_defects_is_refused():
    with pytest.raises(ValueError, match="near_duplicates"):
        demo_archive.DemoConfig(near_duplicates=-1)


def test_by_default_all_seven_classes_are_drawn_and_disgust_is_the_rarest():
    counts = demo_archive.DemoConfig().images_per_class
    assert set(counts) == {"angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"}
    assert 2_400 <= sum(counts.values()) <= 3_000
    assert min(counts, key=counts.__getitem__) == "disgust"


def test_by_default_some_of_every_kind_are_planted():
    planted = demo_archive.planted(demo_archive.DemoConfig()).model_dump()
    assert {kind: len(paths) for kind, paths in planted.items()} == {
        "duplicates": 12,
        "near_duplicates": 16,
        "conflicts": 5,
        "mislabelled": 15,
        "undecodable": 2,
        "empty": 1,
        "blank": 2,
        "dark": 2,
        "bright": 2,
        "blurry": 2,
        "odd_size": 1,
        "low_information": 1,
        "outliers": 2,
        "no_images": 1,
    }


def test_progress_ends_at_the_number_of_faces(tmp_path):
    seen: list[tuple[int, int]] = []
    demo_archive.write_archive(tmp_path / "a.zip", SMALL, lambda done, total, text="": seen.append((done, total)))
    assert seen == [(5, 19), (13, 19), (19, 19)]
