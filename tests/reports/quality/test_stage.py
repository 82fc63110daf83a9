import base64
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from quality_data import CLASSES, INSPECTED, SOURCE, UNREADABLE, Data, digest, pixels
from recommit import recommit, rewrite

from data_contracts import curation as curation_contract
from data_contracts import files
from data_contracts import manifest as contract
from fer.curation import curate, split
from fer.images import decode
from fer.reports.quality import figures
from fer.reports.quality import stage as quality
from fer.reports.refs import DataRefs


@pytest.fixture
def data(tmp_path):
    return Data(tmp_path)


def test_the_report_bears_the_names_of_the_sources_as_they_were_given(data):
    data.named = ("folder:/data/faces", "kaggle:msambare/fer2013")
    report = data.report()
    head, _, rest = report.tree.text.partition("Data quality report ")
    assert head == "Data quality: folder:/data/faces, kaggle:msambare/fer2013 "
    assert rest.startswith("folder:/data/faces , kaggle:msambare/fer2013 ✓ Fit for training")
    assert report.json["given_sources"] == list(data.named)
    assert "folder:/data/faces, kaggle:msambare/fer2013: 28 = 26" in quality.markdown(report.folder)
    assert report.json["source"] == SOURCE
    assert report.tree.text.count(SOURCE) == 1  # in the table of sources
    assert f"{SOURCE[:23]}… 28" in report.tree.text  # in the key to the bar


def test_data_that_could_not_be_split_has_a_report_that_says_why(data):
    refs = [*data.stage_refs()[:4], None, None]
    problem = "Every image of a source with splits must have one. Received: 2 without."
    report = data.report(refs=refs, problem=problem)
    assert report.ref.verdict == "stop"
    assert report.ref.failures == (problem,)
    assert report.json["problem"] == problem
    assert f"stop: {problem}" in report.tree.text
    assert "could not be split" in report.tree.text
    assert "broke its contract" not in report.tree.text
    assert "quarantined by curation blank 1" in report.tree.text
    assert report.json["labels"]["looked_for_errors"] is False
    assert report.json["issues"]
    assert report.tree.of("svg")
    assert problem in quality.markdown(report.folder)


def test_settings_of_the_stages_that_looked_are_told(data):
    report = data.report()
    assert report.json["provenance"]["settings"]["inspect"] == {"config": INSPECTED}
    assert "Settings of inspect" in report.tree.text
    assert '"max_label_share": 0.125' in report.tree.text


def test_layouts_and_files_ignored_are_those_that_the_index_tells(data):
    refs = data.stage_refs()
    index_record = {"config": {}, "layouts": ["table of labels"], "ignored": {}}
    refs[0] = refs[0].model_copy(update={"ignored": {".csv": 7}})
    rewrite(data.workspace, refs[0], "index.json", json.dumps(index_record).encode())
    report = data.report(refs=refs)
    assert "Layout: table of labels." in report.tree.text
    assert "Files ignored: 7 .csv ." in report.tree.text


def test_of_many_kinds_of_files_ignored_the_commonest_are_told_and_the_others_summed_up(data):
    data.ignored = {f".x{number}": number for number in range(1, 1001)}
    ignored = data.report().tree.text.partition("Files ignored: ")[2].partition("What was refused")[0]
    assert ignored.startswith("1,000 .x1000 , 999 .x999 ,")
    assert ignored.endswith(f"981 .x981 , and {980 * 981 // 2:,} of 980 other kinds. ")


def test_every_file_found_is_accounted_for(data):
    report = data.report()
    reconciliation = report.json["reconciliation"]
    assert reconciliation["found"] == 28
    assert reconciliation["accepted"] == 26
    assert reconciliation["refused"] == {"the file is empty": 2}
    assert reconciliation["quarantined"] == {"blank": 1}
    assert sum(reconciliation["splits"].values()) + sum(reconciliation["excluded"].values()) == 25
    assert reconciliation["adds_up"]
    assert "adds up: 28 = 26 accepted + 2 refused by contract" in report.tree.text
    assert report.ref.verdict == report.json["verdict"] == "pass"


def test_an_image_that_is_lost_on_the_way_stops_the_run(data):
    refs = data.stage_refs()
    path = data.workspace.folder(refs[4]) / files.SPLIT
    pq.write_table(pq.read_table(path).slice(1), path)
    recommit(data.workspace, refs[4])
    report = data.report(refs=refs)
    assert report.ref.verdict == "stop"
    assert "does not add up" in report.ref.failures[0]
    assert "✗ does not add up: 26 ≠" in report.tree.text


def test_data_that_broke_its_contract_has_a_report_of_what_is_known(data):
    data.failures = ("image_id occurs more than once: 2 of 28, e.g. a.png",)
    report = data.report()
    assert report.ref.verdict == "stop"
    assert report.ref.failures == data.failures
    assert "Not fit for training" in report.tree.text
    assert "No later stage ran" in report.tree.text
    assert "✗ broken image id unique" in report.tree.text
    assert report.json["balance"] == {"accepted": {"happy": 14, "sad": 12}}
    assert [entry["images"] for entry in report.json["properties"]] == [26] * len(figures.PROPERTIES)


def test_warnings_of_all_stages_and_leaks_that_are_left_make_a_warning(data):
    refs = data.stage_refs()
    refs[1] = refs[1].model_copy(update={"warnings": ("few images",)})
    refs[4] = refs[4].model_copy(
        update={"n_leaked": 2, "n_leaked_subjects": 3, "digest": "other", "warnings": ("few test images",)}
    )
    recommit(data.workspace, refs[4])
    refs[5] = refs[5].model_copy(update={"warnings": ("mean drifted",)})
    report = data.report(refs=refs)
    assert report.ref.verdict == "warn"
    assert report.ref.warnings == (
        "few images",
        "few test images",
        "mean drifted",
        "2 images of validation and test have a near-duplicate closer to training",
        "3 images of validation and test have their subject closer to training",
    )
    assert "nothing leaks" not in report.tree.text
    assert "with warnings" in report.tree.text


def test_what_leaks_is_told_once_where_it_stops_the_run(data):
    data.rows[4]["subject"] = data.rows[6]["subject"] = "S1"  # in test and train
    data.splits = split.SplitConfig(leakage="stop")
    report = data.report()
    assert report.ref.verdict == "stop"
    assert [failure for failure in report.ref.failures if "their subject" in failure]
    assert report.ref.warnings == ()


def test_failures_of_every_stage_stop(data):
    refs = data.stage_refs()
    for at, line in ((3, "3 blank images: policy stop"), (4, "2 leak: policy stop"), (5, "drift")):
        refs[at] = refs[at].model_copy(update={"failures": (line,), "digest": line})
        recommit(data.workspace, refs[at])
    report = data.report(refs=refs)
    assert report.ref.failures == ("3 blank images: policy stop", "2 leak: policy stop", "drift")
    assert report.ref.verdict == "stop"


def test_a_warning_of_what_comes_after_the_data_is_one_of_the_reports(data):
    report = data.report(further=("too few to release a model",))
    assert report.ref.verdict == "warn"
    assert report.ref.warnings[-1] == report.json["warnings"][-1] == "too few to release a model"
    assert "too few to release a model" in report.tree.text


def test_what_was_refused_is_told_with_five_paths_in_order(data):
    data.refused = [
        data.row(26 + number, status=contract.QUARANTINED, reason=reason, path=f"{number:02d}.png", **UNREADABLE)
        for number, reason in enumerate(["not an image"] * 2 + ["the file is empty"] * 7 + [None])
    ][::-1]
    refused = data.report().json["refused"]
    assert [(entry["reason"], entry["count"]) for entry in refused] == [
        ("the file is empty", 7),
        ("not an image", 2),
        (figures.NO_REASON, 1),
    ]
    assert refused[0]["examples"] == [f"{number:02d}.png" for number in range(2, 7)]


def test_classes_are_counted_by_split_and_in_the_de_duplicated_ones(data):
    refs = data.stage_refs()
    balance = data.report(refs=refs).json["balance"]
    table = pq.read_table(data.workspace.folder(refs[4]) / files.SPLIT).to_pylist()
    for name in files.SPLITS:
        for label in CLASSES:
            assert balance[name][label] == sum((row["split"], row["label"]) == (name, label) for row in table)
    clean = [row for row in table if row["split"] == "test" and row["is_clean"]]
    assert sum(balance["test_clean"].values()) == len(clean) < sum(balance["test"].values())


def test_duplicates_and_leaks_are_those_that_the_stages_counted(data):
    report = data.report()
    assert report.json["duplicates"] == {
        "redundant_copies": 2,
        "pairs": 3,
        "pairs_by_kind": {"identical": 2, "near": 1},
        "groups": 3,
        "groups_not_identical": 1,
        "images_in_groups": 6,
        "groups_by_size": {"2": 3},
    }
    kinds = {"duplicates": 1, "identical": 1, "near": 0, "shifted": 0, "mirrored": 0}
    assert {"split": "test"} | kinds in report.json["leaks"]["before"]
    assert report.json["leaks"]["left"] == 0
    assert "2 redundant exact copies" in report.tree.text
    assert "a correlation of 0.93 or more as they are, or of 0.96 once one is moved" in report.tree.text
    assert "3 pairs: 2 identical, 1 near." in report.tree.text


def test_where_no_image_has_a_subject_none_is_spoken_of(data):
    report = data.report()
    assert report.json["leaks"]["left_subjects"] is None
    assert "subject" not in report.tree.text.partition("Duplicates and leaks")[2].partition("Groups by size")[0]
    assert "by their subject" not in quality.markdown(report.folder)


def test_subjects_in_two_splits_are_counted_beside_the_duplicates(data):
    for number in (4, 10, 6, 0):  # test, test, train, train
        data.rows[number]["subject"] = "S1" if number else "S2"
    data.splits = split.SplitConfig(leakage="keep")
    report = data.report()
    (test,) = [leak for leak in report.json["leaks"]["before"] if leak["split"] == "test"]
    assert test["subject"] == 2
    assert report.json["leaks"]["left_subjects"] == 2
    assert report.ref.verdict == "warn"
    assert "2 images of validation and test have their subject closer to training" in report.ref.warnings
    text = report.tree.text
    counts = " ".join(str(test[kind]) for kind in (*curation_contract.KINDS, "duplicates", "subject"))
    assert f"test {counts} " in text
    assert "2 left by subject" in text.partition("What came in")[0]
    assert "and 2 by their subject" in quality.markdown(report.folder)


@pytest.mark.parametrize(("n_leaked_subjects", "state"), [(0, "pass"), (2, "warn")])
def test_the_number_at_the_top_is_not_green_where_subjects_alone_leak(data, n_leaked_subjects, state):
    data.rows[4]["subject"] = "S1"
    refs = data.stage_refs()
    path = data.workspace.folder(refs[4]) / "split.json"
    changed = json.loads(path.read_text()) | {"n_leaked_subjects": n_leaked_subjects}
    rewrite(data.workspace, refs[4], path.name, json.dumps(changed).encode())
    tiles = [tile for tile in data.report(refs=refs).tree.of("div") if tile.get("class", "").startswith("tile ")]
    assert [tile["class"] for tile in tiles if tile["class"] != "tile "] == [f"tile {state}"]


def test_leaks_before_and_after_the_repair_are_counted_alike(data):
    data.rows[4] |= {"pixel_sha256": digest("copy")}
    data.rows[2] |= {"pixel_sha256": digest("copy"), "std": 50.0, "label": "happy"}  # test and validation
    refs = data.stage_refs()
    report = data.report(refs=refs)
    leaks = report.json["leaks"]
    assert leaks["n_before"] == data.read_json(refs[4], "split.json")["n_leaked_before"]
    assert leaks["n_before"] > sum(leak["near"] for leak in leaks["before"])
    tile = f"leaked after repair 0 {leaks['n_before']} before"
    assert tile in report.tree.text
    assert f"before the repair, in any split {leaks['n_before']} left after the repair 0" in report.tree.text
    assert f"leaked: {leaks['n_before']} before the repair, 0 after it" in quality.markdown(report.folder)


def test_splits_of_the_source_that_were_not_used_are_not_denied(data):
    data.splits = split.SplitConfig(use_official=False)
    text = data.report().tree.text
    assert "the source's splits were not used" in text
    assert "has no splits" not in text


def test_a_source_without_splits_is_said_to_have_none(data):
    for row in data.rows:
        row["raw_split"] = None
    assert "the source has no splits" in data.report().tree.text


def test_a_source_with_train_alone_is_said_to_have_no_other_split(data):
    for row in data.rows:
        row["raw_split"] = "train"
    assert "the source has no split beside train" in data.report().tree.text


def test_issues_have_their_policy_threshold_and_what_became_of_the_images(data):
    data.rows[6]["p99"] = 60.0
    issues = {issue["issue"]: issue for issue in data.report().json["issues"]}
    assert list(issues) == [*curation_contract.ISSUES, curation_contract.LABEL_ERROR]
    assert issues["label_error"]["actions"] == {"keep": 1, "drop": 0, "quarantine": 0}
    assert issues["dark"]["images"] == 1
    assert issues["dark"]["policy"] == "keep"
    assert issues["dark"]["threshold"] == curate.CurateConfig().dark_p99
    assert issues["dark"]["actions"] == {"keep": 1, "drop": 0, "quarantine": 0}
    assert issues["blank"]["actions"] == {"keep": 0, "drop": 0, "quarantine": 1}
    assert issues["conflicting_labels"]["images"] == 2


def test_an_issue_that_was_not_looked_for_is_said_to_be_so(data, monkeypatch):
    monkeypatch.setitem(INSPECTED, "face_scores", False)
    report = data.report()
    assert {row["issue"] for row in report.json["issues"] if not row["looked_for"]} == {"no_face"}
    assert "not looked for" in report.tree.text
    assert "| no face | not looked for | keep |" in quality.markdown(report.folder)


def test_pictures_without_a_face_are_shown_on_request_the_least_like_one_first(data):
    for number, score in ((8, 0.2), (9, 0.05), (10, 0.29), (11, 0.31)):
        data.rows[number]["face_score"] = score
    text = data.report(show_faces=True).tree.text
    shown = text.partition("3 of 3: the least like a face first")[2]
    places = [shown.index(data.rows[number]["path"]) for number in (9, 8, 10)]
    assert places == sorted(places)
    assert data.rows[11]["path"] not in text
    assert "face score below 0.3" in text


def test_labels_in_doubt_are_a_matrix_of_given_by_suggested(data):
    labels = data.report().json["labels"]
    assert labels["matrix"] == [[0, 0], [1, 0]]
    assert labels["commonest"] == [{"given": "sad", "suggested": "happy", "images": 1}]
    assert labels["conflicting_groups"] == 1
    assert (labels["in_doubt"], labels["in_doubt_by_split"]) == (1, {"train": 0, "validation": 1, "test": 0})


def test_labels_that_nobody_doubted_are_not_told_as_sound(data):
    data.label_errors = 0
    report = data.report()
    assert "were not looked for" in report.tree.text
    assert "labels in doubt – not reached" in report.tree.text


def test_histograms_hold_every_image_and_the_threshold_of_their_issue(data):
    report = data.report()
    by_name = {entry["property"]: entry for entry in report.json["properties"]}
    for entry in by_name.values():
        assert sum(entry["now"]) == entry["images"] == 26
        assert len(entry["edges"]) == len(entry["now"]) + 1
    assert by_name["p99"]["thresholds"] == [{"issue": "dark", "value": curate.CurateConfig().dark_p99, "side": "below"}]
    assert by_name["mean"]["quantiles"]["median"] == 112.5
    histograms = [svg for svg in report.tree.of("svg") if svg["class"] == "histogram"]
    assert len(histograms) == 3  # mean, std and width differ


def test_the_first_time_there_is_nothing_to_compare_with(data):
    report = data.report()
    assert "Nothing was accepted before this data. Once it is accepted" in report.tree.text
    assert "Compared with" not in report.tree.text
    assert "last time" not in report.tree.text


def test_what_changed_is_told_by_class_and_test_and_drawn_as_an_outline(data):
    before = Data(data.workspace.root)
    before.rows = [row | {"mean": row["mean"] + 60} for row in before.rows[:20]]
    before.rows[3] = before.rows[3] | {"label": "happy"}
    report = data.report(before=before)
    changes = report.json["changes"]
    assert (changes["n_new"], changes["n_gone"], changes["n_relabelled"]) == (4, 0, 2)
    assert changes["classes"]["sad"] == {"then": 9, "now": 12, "new": 2, "gone": 0}
    assert changes["tests"][0]["what"] == "mean"
    assert changes["tests"][0]["drifted"]
    assert report.ref.verdict == "warn"
    assert "✗ drift brightness" in report.tree.text
    assert (
        "Compared with the data accepted before this: 4 new, 0 gone, 2 relabelled; 20 images then" in report.tree.text
    )
    assert "last time" not in report.tree.text
    assert "compared with the data accepted before this: 4 new, 0 gone" in quality.markdown(report.folder)
    outlines = [line for line in report.tree.of("polyline") if line["class"] == "outline then"]
    assert len(outlines) == 3  # of mean, std and width


def test_no_face_and_no_path_is_shown_unless_asked_for(data):
    report = data.report()
    assert not report.tree.of("img")
    assert "data:image" not in report.page
    assert "--show-faces" in report.tree.text
    text = report.page + json.dumps(report.json)
    assert not any(row["path"] in text for row in data.rows)
    assert all(row["path"] in text for row in data.refused)  # the examples


def test_faces_are_shown_by_issue_as_they_are(data):
    report = data.report(show_faces=True)
    pictures = [picture["src"] for picture in report.tree.of("img")]
    assert all(picture.startswith("data:image/png;base64,") for picture in pictures)
    shown = [decode.decode(base64.b64decode(picture.partition(",")[2])) for picture in pictures]
    for number in (1, 25, 3, 0, 24, 4, 5, 2):  # conflict, label error, near-duplicates, blank
        assert any(np.array_equal(pixels(number), image) for image in shown), number
    assert not any(np.array_equal(pixels(7), image) for image in shown)
    for line in ("happy or sad?", "sad (5%) → happy", "correlation 0.930", "1 of 1"):
        assert line in report.tree.text
    assert "data:image" not in json.dumps(report.json)


def test_the_clearest_examples_of_an_issue_are_shown_and_no_more_than_fit(data):
    for number in range(6, 24):
        data.rows[number]["p99"] = 10.0 + number
    report = data.report(show_faces=True)
    dark = report.tree.text.partition("16 of 18: the darkest first")[2].partition("Blank")[0]
    shown = [row["path"] for row in data.rows if row["path"] in dark]
    assert shown == [row["path"] for row in data.rows[6:22]]
    assert dark.index(data.rows[6]["path"]) < dark.index(data.rows[21]["path"])


def test_the_page_is_whole_without_a_network_and_runs_nothing(data):
    page = data.report(show_faces=True).tree
    assert not page.of("script")
    assert not page.of("link")
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,")), (tag, attributes)
    assert "@import" not in data.report().page
    assert "url(" not in data.report().page


def test_every_link_leads_to_a_section(data):
    page = data.report().tree
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert {link["href"].removeprefix("#") for link in page.of("a")} <= ids


def test_every_chart_says_in_words_what_it_shows(data):
    page = data.report().tree
    assert page.of("svg")
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in page.of("svg"))


HOSTILE = [
    "<script>alert(1)</script>.png",
    "\"'><img src=x onerror=alert(1)>.png",
    "</td></table><h1>all is well</h1>",
    "{{ 7 * 7 }}{% raw %}",
    "photo\u202egnp.exe",
    "line\nbreak\x00\x1b[31m\u2028.png",
    "&lt;b&gt;",
    "z" * 500 + ".png",
]


def test_hostile_names_are_shown_and_not_obeyed(data):
    data.refused = [
        data.row(26 + number, status=contract.QUARANTINED, reason=name, path=name, source=name, **UNREADABLE)
        for number, name in enumerate(HOSTILE)
    ]
    data.source = " + ".join(HOSTILE)
    data.named = tuple(HOSTILE)
    data.ignored = dict.fromkeys(HOSTILE, 1)
    for row, name in zip(data.rows, HOSTILE, strict=False):
        row |= {"path": name, "raw_label": name}
    calm, hostile = Data(data.workspace.root).report(show_faces=True), data.report(show_faces=True)
    assert {tag for tag, _ in hostile.tree.tags} == {tag for tag, _ in calm.tree.tags}
    assert not any(name.startswith("on") for _, attributes in hostile.tree.tags for name in attributes)
    assert len(hostile.tree.of("h1")) == 1
    assert "{{ 7 * 7 }}" in hostile.tree.text
    assert "&amp;lt;b&amp;gt;" in hostile.page
    for character in "\u202e\x00\x1b\u2028":
        assert character not in hostile.page
        assert f"\\u{ord(character):04x}" in hostile.page
    assert hostile.json["refused"]


def test_the_middle_of_a_long_path_is_left_out_and_its_ends_are_told(data):
    path = f"first/{'z' * 500}/last.png"
    data.refused = [data.row(26, status=contract.QUARANTINED, reason="empty", path=path, **UNREADABLE)]
    report = data.report()
    assert "z" * 100 not in report.tree.text
    assert "first/zzz" in report.tree.text
    assert "zzz/last.png" in report.tree.text
    assert report.json["refused"][0]["examples"] == [path]


def test_the_same_data_makes_the_same_bytes(data, tmp_path):
    first = data.report(show_faces=True)
    other = Data(tmp_path / "other")
    second = other.report(show_faces=True)
    for name in (quality.HTML, quality.JSON):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()
    assert first.ref.digest == second.ref.digest


def test_where_nothing_was_refused_the_report_says_so(data):
    data.refused, data.ignored = [], {}
    report = data.report()
    assert "By the contract nothing" in report.tree.text
    assert "Files ignored: none" in report.tree.text
    assert "adds up: 26 = 26 accepted + 0 refused by contract" in report.tree.text


def test_the_short_version_fits_a_screen_and_says_the_same(data):
    data.named = ("folder:/data/![x](http://127.0.0.1/x.png)",)
    refs = data.stage_refs()
    refs[5] = refs[5].model_copy(update={"warnings": tuple(f"drift of <b>{n}</b> | *x*" for n in range(30))})
    report = data.report(refs=refs)
    markdown = quality.markdown(report.folder)
    assert len(markdown.splitlines()) <= 40
    assert markdown.startswith("# Data quality: warn\n")
    assert "28 = 26 accepted + 2 refused by contract" in markdown
    assert r"drift of \<b\>0\</b\> \| \*x\*" in markdown
    assert "27 more warnings" in markdown
    assert "| blank | 1 | quarantine |" in markdown
    assert "leaked: 1 before the repair, 0 after it" in markdown
    assert r"folder:/data/\!\[x\](http\://127.0.0.1/x.png): 28 = 26" in markdown


def test_progress_ends_where_it_says(data):
    steps = []

    def progress(done, total, text=""):
        steps.append((done, total))

    refs = DataRefs(*data.stage_refs())
    quality.quality(refs, data.named, None, (), False, workspace=data.workspace, progress=progress)
    assert steps[-1] == (3, 3)
