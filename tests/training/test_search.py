import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer import errors
from fer.training import search

SPACE = {"train.learning_rate": "1e-4..1e-2 log", "train.batch_size": "32|64|128", "train.patience": "1..4"}


def study(path, seed=0, epochs=8) -> search.Study:
    return search.Study(path / "search.journal", SPACE, seed=seed, epochs=epochs)


def ended(trial: search.Trial, value: float | None, state="complete", **about) -> search.Trial:
    return trial.model_copy(update={"value": value, "state": state, **about})


@pytest.mark.parametrize(
    ("text", "dimension"),
    [
        ("1e-4..1e-2 log", search.Range(1e-4, 1e-2, log=True)),
        ("0.1..0.5", search.Range(0.1, 0.5, log=False)),
        ("2..6", search.Range(2, 6, log=False)),
        ("adam|sgd", search.Choice(("adam", "sgd"))),
        ("[8,16]|[16,32]|null|1", search.Choice(([8, 16], [16, 32], None, 1))),
        (" 32 | 64 |128 ", search.Choice((32, 64, 128))),
        ("[8, 16] | [16, 32]", search.Choice(([8, 16], [16, 32]))),
        ("../a.h5|../b.h5", search.Choice(("../a.h5", "../b.h5"))),
        (" 1e-4 .. 1e-2  log ", search.Range(1e-4, 1e-2, log=True)),
        (f"1..{2**31}", search.Range(1, 2**31, log=False)),
    ],
)
def test_a_dimension_is_read_as_it_is_written(text, dimension):
    assert search.parse(text) == dimension


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "1..", "..2", "3..2", "0..1 log", "-1..1 log", "a..b", "1..2 linear", "1..inf", "true..2", "1..NaN"),
        *("|", "32|", "32||64", " | 64", "1..2147483649", f"1..1{'0' * 400}", f"1..1{'0' * 5000}", "0..1e300"),
    ],
)
def test_what_is_no_dimension_is_refused(text):
    with pytest.raises(errors.ConfigError, match=r"LOW\.\.HIGH"):
        search.parse(text)


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.booleans())
def test_every_range_of_numbers_comes_back(low, high, log):
    text = f"{low!r}..{high!r}{' log' if log else ''}"
    if low < high:
        assert search.parse(text) == search.Range(low, high, log)
    else:
        with pytest.raises(errors.ConfigError):
            search.parse(text)


@given(st.integers(), st.integers())
def test_whole_numbers_come_back_or_are_refused(low, high):
    if low < high and max(-low, high) <= 2**31:
        assert search.parse(f"{low}..{high}") == search.Range(low, high, log=False)
    else:
        with pytest.raises(errors.ConfigError):
            search.parse(f"{low}..{high}")


PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text('ab .[]{},:"', max_size=5)


@given(st.lists(PLAIN | st.lists(PLAIN, max_size=3), min_size=2, max_size=4), st.sampled_from(["|", " | ", "  |"]))
def test_every_choice_of_json_values_comes_back_whatever_blanks_are_around_them(values, between):
    assert search.parse(between.join(json.dumps(value) for value in values)) == search.Choice(tuple(values))


@given(st.text(max_size=30) | st.text('0123456789.eE+-|[]{}" log', max_size=30))
def test_any_text_is_read_or_refused(text):
    try:
        dimension = search.parse(text)
    except errors.ConfigError:
        return
    assert isinstance(dimension, (search.Range, search.Choice))


def test_a_range_is_of_the_kind_of_a_value_within_and_its_text_says_which():
    whole, broken = search.parse("0..1"), search.parse("1.0..64.0 log")
    assert whole.of_kind(0.0).text() == "0.0..1.0"
    assert broken.of_kind(1).text() == "1..64 log"
    for number_range, value, is_whole in (
        (whole, 0.0, False),
        (whole, 1, True),
        (whole, False, True),
        (broken, 8, True),
    ):
        assert search.parse(number_range.of_kind(value).text()) == number_range.of_kind(value)
        assert number_range.of_kind(value).is_whole == is_whole


def test_the_largest_numbers_are_proposed_like_others(tmp_path):
    space = {"a.b": f"0..{2**31}", "a.c": f"1..{2**31} log", "a.d": f"-{2.0**31}..0.0"}
    huge = search.Study(tmp_path / "search.journal", space, seed=0, epochs=8)
    for number in range(8):
        trial = huge.propose()
        assert all(abs(value) <= 2**31 for value in trial.settings.values())
        huge.end(ended(trial, number / 10))


def test_a_space_names_each_setting_once():
    assert search.parse_space(["a.b=1..2", "c.d=x|y"]) == {"a.b": "1..2", "c.d": "x|y"}
    for wrong in (["a.b"], ["a.b=1..2", "a.b=1..3"]):
        with pytest.raises(errors.ConfigError, match="each setting once"):
            search.parse_space(wrong)


def test_the_corners_hold_every_choice_and_both_ends():
    corners = search.corners(SPACE)
    assert {corner["train.batch_size"] for corner in corners} == {32, 64, 128}
    assert {corner["train.learning_rate"] for corner in corners} == {1e-4, 1e-2}
    assert search.corners({}) == []


def test_proposals_are_within_the_space_and_the_same_for_the_same_seed(tmp_path):
    proposals = []
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        (tmp_path / name).mkdir()
        proposing = study(tmp_path / name, seed)
        trials = []
        for number in range(8):
            trial = proposing.propose()
            proposing.end(ended(trial, trial.settings["train.learning_rate"]))
            assert trial.number == number
            trials.append(trial.settings)
        proposals.append(trials)
    for proposal in proposals[0]:
        assert 1e-4 <= proposal["train.learning_rate"] <= 1e-2
        assert proposal["train.batch_size"] in (32, 64, 128)
        assert proposal["train.patience"] in (1, 2, 3, 4)
    assert proposals[0] == proposals[1] != proposals[2]
    assert len({json.dumps(proposal) for proposal in proposals[0]}) > 4


def test_another_process_goes_on_with_what_is_in_the_journal(tmp_path):
    first = study(tmp_path)
    done, left = first.propose(), first.propose()
    first.end(ended(done, 0.5, epochs=4, seconds=6.0))
    again = study(tmp_path)
    assert again.unfinished() == [left]
    assert [trial.state for trial in again.trials()] == ["complete", None]
    assert (again.trials()[0].value, again.trials()[0].epochs) == (0.5, 4)
    again.end(ended(left, 0.6))
    assert again.propose().number == 2


def test_a_trial_far_below_the_others_is_hopeless_but_not_in_its_first_epochs(tmp_path):
    watched = study(tmp_path, epochs=8)
    for _ in range(6):
        trial = watched.propose()
        for epoch in range(1, 9):
            assert not watched.is_hopeless(trial.number, epoch, 0.5 + epoch / 100)
        watched.end(ended(trial, 0.58))
    bad = watched.propose()
    hopeless = [watched.is_hopeless(bad.number, epoch, 0.2) for epoch in range(1, 6)]
    assert hopeless[0] is False
    assert hopeless[-1] is True
    watched.end(ended(bad, 0.2, "pruned"))
    assert watched.trials()[-1].value == 0.2
    assert search.best_of(watched.trials()).number == 0


@pytest.mark.parametrize("length", ["train.epochs=4..64", 'train.phases=[{"epochs": 4}] | [{"epochs": 64}]'])
def test_no_trial_is_stopped_where_some_are_longer_than_others(tmp_path, length):
    watched = search.Study(tmp_path / "search.journal", search.parse_space([length]), seed=0, epochs=8)
    for _ in range(6):
        watched.end(ended(watched.propose(), 0.6, curve=(0.6,) * 8))
    assert not watched.is_hopeless(watched.propose().number, 8, 0.2)


def test_a_trial_without_a_state_stays_unfinished_with_what_is_known_of_it(tmp_path):
    some = study(tmp_path)
    some.end(ended(some.propose(), None, None, curve=(0.2, 0.3), epochs=2, reason="It must have the memory it needs."))
    (left,) = study(tmp_path).unfinished()
    assert (left.epochs, left.curve, left.reason) == (2, (0.2, 0.3), "It must have the memory it needs.")


def test_trials_whose_curves_are_told_at_their_end_stop_a_hopeless_one_too(tmp_path):
    watched = study(tmp_path, epochs=8)
    for _ in range(5):
        watched.end(ended(watched.propose(), 0.6, curve=(0.4, 0.5, 0.6)))
    bad = watched.propose()
    assert [watched.is_hopeless(bad.number, epoch, 0.2) for epoch in (1, 2)] == [False, True]
    assert watched.trials()[0].curve == (0.4, 0.5, 0.6)


def test_no_trial_is_stopped_before_five_are_complete(tmp_path):
    watched = study(tmp_path, epochs=8)
    for state in ("complete", "pruned", "failed", "complete", "complete", "complete"):
        watched.end(ended(watched.propose(), 0.6, state, curve=(0.6,) * 8))
    assert not watched.is_hopeless(watched.propose().number, 8, 0.2)
    watched.end(ended(watched.propose(), 0.6, curve=(0.6,) * 8))
    assert watched.is_hopeless(watched.propose().number, 8, 0.2)


@given(st.integers(1, 400))
def test_a_kill_in_the_middle_of_any_write_leaves_a_search_that_goes_on(n_lost):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        first = study(path)
        first.end(ended(first.propose(), 0.5))
        first.propose()
        journal = path / "search.journal"
        journal.write_bytes(journal.read_bytes()[:-n_lost])
        again = study(path)
        assert again.trials()[0].settings.keys() == SPACE.keys()
        for left in again.unfinished():
            again.end(ended(left, 0.6))
        again.end(ended(again.propose(), 0.7))
        assert search.best_of(study(path).trials()).value == 0.7
        assert study(path).unfinished() == []


def test_a_bit_of_the_journal_that_flipped_changes_no_trial(tmp_path):
    first = study(tmp_path)
    for value in (0.5, 0.25):
        first.end(ended(first.propose(), value, epochs=4, seconds=6.0))
    path = tmp_path / "search.journal"
    whole, trials = path.read_bytes(), study(tmp_path).trials()
    refused = 0
    for at in range(0, len(whole) - 1, 23):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        try:
            assert study(tmp_path).trials() == trials
        except errors.IntegrityError as error:
            assert "must be as it was written" in str(error)  # noqa: PT017 - most of the flips are refused
            refused += 1
    assert refused > 10
    unsealed = [json.loads(line) for line in whole.splitlines()]
    path.write_text("".join(f"{json.dumps({k: v for k, v in log.items() if k != 'sha256'})}\n" for log in unsealed))
    assert study(tmp_path).trials() == trials  # one of an earlier version


def test_a_failed_trial_keeps_its_reason_and_is_never_the_best(tmp_path):
    some = study(tmp_path)
    some.end(ended(some.propose(), None, "failed", reason="The loss must stay finite."))
    assert search.best_of(some.trials()) is None
    assert some.trials()[0].reason == "The loss must stay finite."


def test_the_table_has_the_best_first_and_the_settings_as_columns(tmp_path):
    some = study(tmp_path)
    for value, state in ((0.5, "complete"), (0.9, "pruned"), (0.7, "complete"), (None, "failed")):
        trial = some.propose()
        if state == "pruned":
            some.is_hopeless(trial.number, 1, value)
        some.end(ended(trial, value, state))
    rows = search.table(some.trials())
    assert [row["trial"] for row in rows] == [2, 0, 1, 3]
    assert set(SPACE) <= set(rows[0])


def test_settings_come_out_as_the_command_takes_them():
    trial = search.Trial(number=0, settings={"train.learning_rate": 0.003, "train.model.name": "vgg", "a.b": [1, 2]})
    assert trial.assignments() == ["train.learning_rate=0.003", 'train.model.name="vgg"', "a.b=[1, 2]"]
    assert search.Trial(number=0, settings={"train.weights": None}).assignments() == []  # the recipe's own
