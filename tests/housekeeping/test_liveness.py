import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer.housekeeping import liveness
from fer.housekeeping.liveness import DAY_S, Item, Policy, Root

NOW = 1_000 * DAY_S


def item(name, days=100.0, kind="stage", refers_to=(), compared_with=(), blobs=None, stays_s=None):
    blobs = {name: 1} if blobs is None else blobs
    return Item(
        name,
        kind,
        NOW - days * DAY_S,
        blobs,
        frozenset({name}),
        frozenset(refers_to),
        frozenset(compared_with),
        stays_s,
    )


def named(roots, alone=()):
    return {name: Root(why, name in alone) for name, why in roots.items()}


def gone(items, roots=None, busy_since=float("inf"), alone=(), **policy):
    fates = liveness.judge(items, named(roots or {}, alone), Policy(**{"keep_last": 0} | policy), NOW, busy_since)
    assert [fate.item for fate in fates] == list(items)
    return {fate.item.name for fate in fates if fate.goes}


def test_what_is_old_and_needed_by_nothing_goes():
    assert gone([item("old"), item("young", days=3)]) == {"old"}


def test_what_a_root_names_stays_with_all_that_it_refers_to():
    items = [item("a", refers_to=["b"]), item("b", refers_to=["c"]), item("c"), item("d", refers_to=["a"])]
    assert gone(items, {"a": "champion"}) == {"d"}


def test_of_earlier_data_only_what_it_is_compared_with_stays():
    items = [item("split", compared_with=["before"]), item("before", refers_to=["its data"]), item("its data")]
    assert gone(items, {"split": "accepted"}) == {"its data"}
    assert gone(items, {"before": "accepted"}, alone={"before"}) == {"split", "its data"}
    assert gone(items, {"split": "accepted", "before": "of a release"}) == set()


def test_things_that_refer_to_each_other_go_together():
    assert gone([item("a", refers_to=["b"]), item("b", refers_to=["a"])]) == {"a", "b"}


def test_the_last_of_each_kind_stay_by_their_use():
    items = [item("a", 50), item("b", 40), item("c", 60), item("d", 90, kind="other")]
    assert gone(items, keep_last=1) == {"a", "c"}


def test_what_was_used_since_the_oldest_run_at_work_began_stays_whatever_the_policy():
    items = [item("used", days=2.0), item("not used", days=4.0)]
    nothing = {"older_than_days": 0, "grace_hours": 0, "max_bytes": 0}
    assert gone(items, busy_since=NOW - 3 * DAY_S, **nothing) == {"not used"}


def test_nothing_goes_within_the_grace_period():
    items = [item("used", days=0.5), item("not used", days=1.5)]
    assert gone(items, older_than_days=0, grace_hours=24) == {"not used"}


def test_where_there_is_no_room_what_was_used_longest_ago_goes_but_nothing_live():
    items = [item("a", 20), item("b", 15), item("root", 99), item("c", 10)]
    assert gone(items, {"root": "pinned"}, max_bytes=2) == {"a", "b"}
    assert gone(items, {"root": "pinned"}, max_bytes=0) == {"a", "b", "c"}


def test_a_file_that_two_share_gives_back_room_only_with_the_second():
    items = [item("a", 20, blobs={"shared": 10}), item("b", 15, blobs={"shared": 10, "own": 1}), item("c", 10)]
    assert liveness.total_bytes(items) == 12
    assert gone(items, max_bytes=5) == {"a", "b"}


def test_nothing_goes_for_room_that_another_which_stays_refers_to():
    items = [item("base", 25), item("model", 20, refers_to=["base"]), item("c", 10)]
    assert gone(items, max_bytes=2) == {"model"}


def test_a_leftover_stays_for_its_own_time():
    items = [item("a", days=2, stays_s=DAY_S), item("b", days=0.5, stays_s=DAY_S), item("c", days=0, stays_s=0.0)]
    assert gone(items, keep_last=5, older_than_days=900) == {"a", "c"}


NAMES = "abcdefgh"
worlds = st.lists(
    st.tuples(
        st.floats(0, 200), st.sampled_from("xy"), st.sets(st.sampled_from(NAMES)), st.sets(st.sampled_from("1234"))
    ),
    min_size=len(NAMES),
    max_size=len(NAMES),
)


@given(
    worlds,
    st.sets(st.sampled_from(NAMES), max_size=3),
    st.floats(0, 200),
    st.integers(0, 3),
    st.none() | st.integers(0, 40),
    st.none() | st.floats(0, 200),
)
def test_whatever_the_policy_no_root_no_thing_in_use_and_nothing_that_these_refer_to_goes(
    world, roots, older_than_days, keep_last, max_bytes, busy_days
):
    items = [
        item(name, days, kind, refers_to, dict.fromkeys(blobs, 5))
        for name, (days, kind, refers_to, blobs) in zip(NAMES, world, strict=True)
    ]
    busy_since = float("inf") if busy_days is None else NOW - busy_days * DAY_S
    went = gone(
        items,
        dict.fromkeys(roots, "root"),
        busy_since,
        older_than_days=older_than_days,
        keep_last=keep_last,
        max_bytes=max_bytes,
    )
    in_use = {one.name for one in items if one.last_used >= min(busy_since, NOW - DAY_S)}
    live = {one.name for one in liveness.closure(items, named(dict.fromkeys(roots | in_use, "live")))}
    assert not live & went
    kept = [one for one in items if one.name not in went]
    if max_bytes is not None:
        spare = [one for one in kept if one.name not in live]
        referred = {name for one in kept for name in one.refers_to}
        assert liveness.total_bytes(kept) <= max_bytes or all(one.name in referred for one in spare)


@pytest.mark.parametrize("field", ["older_than_days", "keep_last", "max_bytes", "grace_hours"])
def test_a_policy_takes_no_negative_number(field):
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        Policy(**{field: -1})
