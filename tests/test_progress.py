from fer.progress import Reporter, silent


def test_a_reporter_passes_counts_and_notes_on():
    counts, notes = [], []
    reporter = Reporter(lambda *count: counts.append(count), notes.append)
    reporter(1, 2, "images")
    reporter(2, 2)
    reporter.note("about 1.2 GB of memory")
    assert counts == [(1, 2, "images"), (2, 2, "")]
    assert notes == ["about 1.2 GB of memory"]


def test_without_a_place_for_notes_they_are_dropped():
    Reporter(lambda *_: None).note("kept nowhere")
    silent.note("kept nowhere")
    silent(1, 2)
