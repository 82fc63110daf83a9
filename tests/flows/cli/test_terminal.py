"""What a person sees of a run."""

import io
import shlex
from itertools import pairwise

import pytest
from rich.console import Console
from typer.main import get_command

from fer.curation.refs import CurationRef, DriftRef, InspectionRef, PreviousData, SplitRef, ValidationRef
from fer.evaluation.gates import power
from fer.evaluation.refs import Check, EvaluationRef, VerdictRef
from fer.ingest.refs import ManifestRef
from fer.recipes import candidates as candidate_recipes
from fer.registry.refs import ReleaseRef
from fer.reports.refs import QualityRef
from fer.training.refs import ModelRef
from flows.cli import app as cli
from flows.cli import console as console_module
from flows.cli import terminal
from tasks.runs import events
from tasks.runs.results import ComparisonResult, IngestResult, RetrainResult, RunPlan


def console(*, is_terminal: bool = False, width: int = 120) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=is_terminal, color_system=None, record=True)


def drawn(*happened: events.Event) -> str:
    screen = console()
    with terminal.Terminal(screen) as draw:
        for event in happened:
            draw(event)
    return screen.export_text()


def ended(name: str, **other: object) -> events.Ended:
    fields = {"cached": False, "failed": False, "seconds": 1.25, "summary": ""} | other
    return events.Ended(name=name, **fields)


def stage_bars(draw: terminal.Terminal):
    """What is drawn of stages at work: all but the bar of the run."""
    return [bar for bar in draw._bars.tasks if bar.description != "run"]


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when the test says so."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(terminal.time, "monotonic", lambda: Clock.now)
    return Clock


def test_a_stage_that_ran_is_a_line_with_its_duration_and_summary():
    text = drawn(events.Started("index"), ended("index", summary="1,700 images found"))
    assert text == "✓ index                   1.2 s  1,700 images found\n"


def test_something_moves_also_where_no_stage_is_at_work():
    screen = console(is_terminal=True)

    def shown(*happened: events.Event) -> list[str]:
        for event in happened:
            draw(event)
        return [bar.description for bar in draw._bars.tasks if bar.visible]

    with terminal.Terminal(screen) as draw:
        assert shown() == ["run"]
        assert shown(events.Started("index")) == ["index"]
        assert shown(ended("index")) == ["run"]


def test_a_cached_stage_says_so_instead_of_a_duration_and_from_which_run_it_is():
    text = drawn(ended("index", cached=True, summary="1,700 images found", origin="by run 609c3477, 2 h ago"))
    assert text == "= index                  cached  1,700 images found  (by run 609c3477, 2 h ago)\n"


def test_a_plan_has_a_line_for_each_stage():
    rows = (
        {"stage": "index", "plan": "cached", "why": "by run 1", "depends on": "", "key": "0a", "minutes": "", "MB": ""},
        {
            "stage": "train",
            "plan": "will run",
            "why": "a: 1 → 2",
            "depends on": "x",
            "key": "",
            "minutes": "2",
            "MB": "",
        },
        {"stage": "gate", "plan": "unknown", "why": "", "depends on": "train", "key": "", "minutes": "?", "MB": ""},
    )
    with io.StringIO() as text:
        terminal.show_plan(Console(file=text, width=200), RunPlan(rows=rows, message="all of it", end="no data"))
        lines = text.getvalue().splitlines()
    assert [line.rstrip() for line in lines] == [
        "= index                  cached  by run 1",
        "→ train                   2 min  a: 1 → 2; depends on x",
        "? gate                    ? min  unknown until train",
        "all of it",
        "! the run would end here: no data",
    ]


def test_a_failed_stage_has_its_mark():
    assert drawn(events.Started("train"), ended("train", failed=True)).startswith("✗ train ")


def test_an_attempt_that_will_be_repeated_says_why_and_when():
    text = drawn(events.Started("download"), events.Retrying("download", "Kaggle must deliver. Received: 503.", 4.0))
    assert text == "! download: Kaggle must deliver. Received: 503. Trying again in about 4 s.\n"


def test_a_plan_is_a_table_with_its_sum_below():
    rows = [
        {"class": "[red]", "has": 5, "weight": 0.5},
        {"class": ESCAPES, "has": 7_215, "weight": 1.25},
        {"class": "all", "has": 7_220, "weight": 1.0},
    ]
    text = drawn(events.Planned("balance", "by class [1]", rows))
    assert text.startswith("balance: by class [1]")
    lines = [line.split() for line in text.splitlines()]
    cells = [line for line in lines if len(line) == 3]
    assert cells[0] == ["class", "has", "weight"]
    assert cells[1] == ["[red]", "5", "0.50"]
    assert cells[2][1:] == ["7,215", "1.25"]
    assert cells[3] == ["all", "7,220", "1.00"]
    assert "\x1b" not in text


def test_texts_in_brackets_survive():
    happened = [
        events.Retrying("download", "a [red]reason[/red] [/]", 1.0),
        ended("download", summary="of [demo] [/]"),
    ]
    text = drawn(*happened)
    assert "download: a [red]reason[/red] [/] Trying" in text
    assert text.endswith("of [demo] [/]\n")


def test_without_a_terminal_progress_is_a_line_now_and_then(clock):
    screen = console()
    with terminal.Terminal(screen) as draw:
        draw(events.Started("train"))
        for second in range(1, 41):
            clock.now += 1
            draw(events.Progressed("train", second, 40, "[epochs]"))
    assert screen.export_text() == "  train               15 of 40 [epochs]\n  train               30 of 40 [epochs]\n"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_what_a_stage_notes_is_a_line_that_stays(is_terminal):
    screen = console(is_terminal=is_terminal)
    with terminal.Terminal(screen) as draw:
        draw(events.Started("train"))
        draw(events.Noted("train", f"about {ESCAPES} 1.2 GB [of memory]"))
    assert "1.2 GB [of memory]\n" in screen.export_text()


def test_in_a_terminal_a_bar_shows_the_stage_at_work_and_its_note_and_goes_when_it_ends():
    screen = console(is_terminal=True)
    with terminal.Terminal(screen) as draw:
        draw(events.Started("train"))
        draw(events.Progressed("train", 10, 40, "[epochs]"))
        draw._bars.refresh()
        shown = screen.export_text(clear=False)
        assert [bar.description for bar in stage_bars(draw)] == ["train"]
        draw(ended("train"))
        assert stage_bars(draw) == []
        draw(events.Started("resolve"))
        draw(events.Over("resolve"))
        assert stage_bars(draw) == []
    assert "25 %" in shown
    assert "[epochs]" in shown


def test_stages_at_work_at_once_have_a_bar_each():
    with terminal.Terminal(console(is_terminal=True)) as draw:
        draw(events.Started("trial 0"))
        draw(events.Started("trial 1"))
        draw(events.Progressed("trial 0", 1, 8, "first"))
        draw(events.Progressed("trial 1", 3, 8, "second"))
        assert [(bar.description, bar.completed) for bar in stage_bars(draw)] == [("trial 0", 1), ("trial 1", 3)]
        draw(events.Started("trial 0"))  # another attempt
        draw(ended("trial 1"))
        assert [bar.description for bar in stage_bars(draw)] == ["trial 0"]
        draw(events.Progressed("trial 0", 2, 8, ""))
        assert stage_bars(draw)[0].completed == 2


def test_stages_at_work_at_once_are_each_told_of_without_a_terminal(clock):
    screen = console()
    with terminal.Terminal(screen) as draw:
        for name in ("trial 0", "trial 1"):
            draw(events.Started(name))
        clock.now += 20
        for name in ("trial 0", "trial 1"):
            draw(events.Progressed(name, 3, 8, ""))
    assert [line.split()[:2] for line in screen.export_text().splitlines()] == [["trial", "0"], ["trial", "1"]]


def retrain_result(*, passed: bool) -> RetrainResult:
    return RetrainResult(
        sources=("demo",),
        recipe="demo",
        quality=QualityRef(verdict="pass", failures=(), warnings=()),
        model=ModelRef(
            model="sequential-cnn",
            classes=("happy", "sad"),
            n_parameters=1234,
            epochs_run=3,
            best_epoch=2,
            validation_accuracy=0.75,
            train_seconds=61.0,
        ),
        evaluation=EvaluationRef(
            split="test",
            n_images=10,
            accuracy=0.7,
            accuracy_interval=(0.4, 0.9),
            macro_f1=0.6,
            macro_f1_interval=(0.3, 0.8),
        ),
        verdict=VerdictRef(
            passed=passed,
            checks=(Check(name="floor", passed=passed, detail="accuracy [0.7] against a floor"),),
            champion_version=1,
        ),
        release=ReleaseRef(
            name="demo",
            version=2,
            status="released" if passed else "refused",
            uri="s3://models/[demo]/2",
            champion_version=2 if passed else 1,
        ),
        reports={"metrics": "/data/[fer]/report.md"},
    )


@pytest.mark.parametrize(
    ("passed", "title", "mark"),
    [
        (True, "demo version 2: released; demo@champion is version 2", "✓"),
        (False, "demo version 2: refused by the gates; demo@champion is version 1", "✗"),
    ],
)
def test_an_outcome_says_what_was_decided_why_and_where_things_are(passed, title, mark):
    screen = console()
    terminal.show_retrain(screen, retrain_result(passed=passed))
    text = screen.export_text()
    assert title in text
    assert f"{mark} accuracy [0.7] against a floor" in text
    assert "sequential-cnn, 1,234 parameters, best epoch 2 of 3, validation 0.750 (61 s)" in text
    assert "accuracy 0.700 [0.400, 0.900]" in text
    assert "s3://models/[demo]/2" in text
    assert "/data/[fer]/report.md" in text
    assert ("fer models list" in text) == passed


def test_after_a_refusal_the_terminal_proposes_what_helps_it_and_not_to_predict():
    screen = console(width=200)
    named = {"sources": ("folder:my faces",), "reports": {"report": "/r.html"}}
    result = retrain_result(passed=False).model_copy(update=named)
    terminal.show_retrain(screen, result, ["gate.margin=0.1", "train.seed=2"])
    text = screen.export_text()
    after = [line.strip() for line in text[text.index("next:") :].splitlines()]
    assert "fer predict" not in text
    assert "/r.html" in after
    assert "fer models show demo@2" in after
    commands = [shlex.split(line)[1:] for line in after if line.startswith("fer ")]
    for command in commands:
        assert get_command(cli.app).commands[command[0]]
    (compare,) = (command for command in commands if command[0] == "compare")
    assert compare[1:9] == [
        *("--recipe", "demo", "--source", "folder:my faces"),
        *("--set", "gate.margin=0.1", "--set", "train.seed=2"),
    ]
    candidates = [value for option, value in pairwise(compare) if option == "--candidate"]
    assert candidate_recipes.parse(candidates)["now"] == []
    (anew,) = (command for command in commands if command[0] == "retrain")
    assert anew[-2:] == ["--name", "NEW-NAME"]


def test_a_refusal_without_a_champion_does_not_propose_another_name():
    screen = console(width=200)
    result = retrain_result(passed=False)
    result = result.model_copy(update={"verdict": result.verdict.model_copy(update={"champion_version": None})})
    terminal.show_retrain(screen, result)
    assert "--name" not in screen.export_text()


def test_an_outcome_that_is_kept_says_why_and_how_it_is_promoted():
    result = retrain_result(passed=True)
    release = {"status": "kept", "champion_version": 1, "kept_because": "version 2 was rolled back by [ann]: too sad"}
    screen = console()
    terminal.show_retrain(screen, result.model_copy(update={"release": result.release.model_copy(update=release)}))
    text = screen.export_text()
    assert "demo version 2: kept, not promoted; demo@champion is version 1" in text
    assert "version 2 was rolled back by [ann]: too sad" in text


def test_an_outcome_says_what_its_comparison_can_tell():
    screen = console(width=400)
    result = retrain_result(passed=True)
    power_ref = power.of_comparison(400, 60, macro_f1_se=0.02, correlation=0.8, margin=0.05, confidence=0.95)
    verdict = result.verdict.model_copy(update={"power": power_ref})
    terminal.show_retrain(screen, result.model_copy(update={"verdict": verdict}))
    assert f"power    {power_ref.short()}" in screen.export_text()
    assert "15.0% of 400 images" in power_ref.short()


def ingest_result(verdict: str, *, warnings: tuple[str, ...] = (), path: str = "/data/quality.html") -> IngestResult:
    return IngestResult(
        manifest=ManifestRef(
            source=f"folder:sha256:{'0f' * 32}", layouts=("folders",), classes=("happy",), n_found=9, n_quarantined=0
        ),
        validation=ValidationRef(classes=("happy",), n_found=9, n_accepted=9, quarantined={}, failures=(), warnings=()),
        inspection=InspectionRef(n_images=9, n_pairs=0, n_groups=0),
        curation=CurationRef(classes=("happy",), issues={}, dropped={}, quarantined={}, failures=()),
        split=SplitRef(classes=("happy",), counts={"train": {"happy": 9}}, origin="drawn"),
        drift=DriftRef(n_baseline=None, n_new=9, n_gone=0, n_relabelled=0, failures=(), warnings=()),
        quality=QualityRef(verdict=verdict, failures=(), warnings=warnings),
        previous=PreviousData(),
        reports={"data quality": path},
    )


LONG = ("folder:/home/somebody/collections/faces/of/the/year", "kaggle:msambare/fer2013")


@pytest.mark.parametrize(("verdict", "says"), [("pass", "fit for training"), ("warn", "fit, with warnings")])
def test_the_verdict_on_the_data_is_the_first_thing_said_however_narrow_the_terminal(verdict, says):
    screen = console(width=80)
    terminal.show_ingest(screen, ingest_result(verdict, warnings=("few images",)), LONG)
    first, second, *rest = screen.export_text().splitlines()
    assert first.startswith(f"╭─ {says}: folder:/home")
    assert " ".join(second.split()) == f"│ verdict {says} │"
    assert any("few images" in line for line in rest)


def test_the_sources_are_told_as_they_were_given():
    screen = console(width=80)
    terminal.show_ingest(screen, ingest_result("pass"), LONG)
    text = screen.export_text()
    for source in LONG:
        assert any(line.split() == ["source", source] for line in text.splitlines())
    assert "sha256" not in text
    assert "/data/quality.html" in text


@pytest.mark.parametrize("width", [60, console_module.UNBOUNDED])
def test_a_path_is_one_line_outside_of_the_box_so_that_it_can_be_copied(width):
    path = f"/data/{'very-long-names-' * 8}/quality.html"
    screen = console(width=width)
    terminal.show_ingest(screen, ingest_result("pass", path=path), LONG)
    result = retrain_result(passed=True).model_copy(update={"reports": {"report": path}})
    terminal.show_retrain(screen, result)
    lines = [line.split() for line in screen.export_text().splitlines()]
    assert ["data", "quality", path] in lines
    assert ["report", path] in lines
    assert ["release", result.release.uri] in lines


def test_where_there_is_no_terminal_nothing_is_wrapped_and_a_box_is_as_wide_as_its_text():
    warning = "a warning of many words " * 30
    screen = console(width=console_module.UNBOUNDED)
    terminal.show_ingest(screen, ingest_result("warn", warnings=(warning.strip(),)), LONG)
    text = screen.export_text()
    assert warning.strip() in text
    assert max(map(len, text.splitlines())) < 2 * len(warning)


ESCAPES = "\x1b]0;title\x07\x1b[2J[bold]\u202e"


def test_no_control_character_from_outside_reaches_the_terminal():
    screen = console(is_terminal=True)
    result = ingest_result("warn", warnings=(ESCAPES,), path=f"/data/{ESCAPES}")
    terminal.show_ingest(screen, result, (f"folder:{ESCAPES}",))
    result = retrain_result(passed=False)
    check = Check(name="floor", passed=False, detail=ESCAPES)
    result = result.model_copy(
        update={
            "verdict": result.verdict.model_copy(update={"checks": (check,)}),
            "model": result.model.model_copy(update={"model": ESCAPES}),
            "release": result.release.model_copy(update={"uri": ESCAPES, "name": ESCAPES}),
            "reports": {"metrics": ESCAPES},
        }
    )
    terminal.show_retrain(screen, result)
    assert {"\x1b", "\x07", "\u202e"}.isdisjoint(screen.file.getvalue())
    assert "\\u001b[2J[bold]\\u202e" in screen.file.getvalue()


def test_no_control_character_in_an_event_reaches_the_terminal(clock):
    screen = console()
    with terminal.Terminal(screen) as draw:
        draw(events.Retrying("download", ESCAPES, 1.0))
        clock.now += 100
        draw(events.Progressed("download", 1, 2, ESCAPES))
        draw(ended("index", summary=ESCAPES))
    assert {"\x1b", "\x07", "\u202e"}.isdisjoint(screen.file.getvalue())
    assert screen.file.getvalue().count("\\u001b[2J[bold]\\u202e") == 3


def test_no_control_character_is_in_the_note_beside_a_bar():
    with terminal.Terminal(console(is_terminal=True)) as draw:
        draw(events.Started("download"))
        draw(events.Progressed("download", 1, 2, ESCAPES))
        assert "\x1b" not in stage_bars(draw)[0].fields["note"]


@pytest.mark.parametrize(
    ("ignored", "end"),
    [
        ({}, "1 can't be read"),
        ({".txt": 1}, ", 1 other file ignored"),
        ({".txt": 1, ".md": 1999}, ", 2,000 other files ignored"),
    ],
)
def test_the_index_says_how_many_files_it_left_out(ignored, end):
    manifest = ManifestRef(
        source="demo", layouts=("folders",), classes=("happy",), n_found=9, n_quarantined=1, ignored=ignored
    )
    assert manifest.summary().endswith(end)


def compared(n_candidates: int) -> ComparisonResult:
    rows = tuple(
        {
            "candidate": f"candidate-{number}",
            "parameters": 1_234_567 + number,
            "validation accuracy": "0.512",
            "test accuracy": "0.592 (0.563 to 0.621)",
            "against the first": "" if number == 0 else "+0.158 (+0.125 to +0.192)",
        }
        for number in range(n_candidates)
    )
    return ComparisonResult(recipe="demo", rows=rows, best="candidate-1", reports={})


@pytest.mark.parametrize("width", [30, 60, 80, 200])
def test_no_figure_of_a_comparison_is_broken_however_narrow_the_terminal(width):
    screen = console(width=width)
    terminal.show_comparison(screen, compared(2))
    text = screen.export_text()
    assert max(map(len, text.splitlines())) <= width
    for word in ("candidate-0", "1,234,567", "0.512", "0.592", "(0.563", "(+0.125", "+0.192)"):
        assert word in text


def test_a_comparison_is_a_table_where_there_is_room_and_paragraphs_where_there_is_not():
    wide, narrow = console(width=200), console(width=100)
    for screen in (wide, narrow):
        terminal.show_comparison(screen, compared(2))
    assert wide.export_text().count("test accuracy") == 1
    assert narrow.export_text().split().count("candidate") == 2
    assert "against" not in narrow.export_text().split("candidate-1")[0]
