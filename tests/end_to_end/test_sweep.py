import hashlib
import itertools
import json
import shlex
import threading
from pathlib import Path

import pytest
import quick_demo
from prefect.exceptions import ParameterTypeError
from rich.console import Console

from fer import errors
from fer.curation.refs import SplitRef
from fer.recipes import catalog, overrides, schema
from fer.training import hardware, search
from fer.training import train as train_stage
from fer.training.refs import ModelRef, WeightsRef
from flows import examining
from flows.cli import terminal
from tasks import caching, sweeps
from tasks.runs import events
from tasks.runs.results import IngestResult, SweepResult

pytestmark = pytest.mark.end_to_end

EIGHT_EPOCHS = (*quick_demo.SETTINGS, "train.epochs=8")
SPACE = {"train.learning_rate": "1e-3..1e-2 log", "train.batch_size": "16|32"}


def sweep(space=SPACE, settings=EIGHT_EPOCHS, **parameters) -> SweepResult:
    from flows.sweep import sweep as flow

    recipe_settings = overrides.parse_settings(settings)
    return flow(sources=["demo"], recipe="demo", settings=recipe_settings, search=space, **parameters)


def options(command: str, name: str) -> list[str]:
    """The values of an option in a command, as a shell reads it."""
    words = shlex.split(command)
    return [value for option, value in itertools.pairwise(words) if option == name]


def changed(*assignments: str, name: str = "demo") -> schema.Recipe:
    return overrides.apply(catalog.load(name), overrides.parse_settings(assignments))


def retrained(command: str) -> schema.Recipe:
    """The recipe that the command trains by."""
    (name,) = options(command, "--recipe")
    return overrides.apply(catalog.load(name), overrides.parse_settings(options(command, "--set")))


class Trainings:
    """In the place of the stages: a training whose accuracy is told by its settings, epoch by epoch."""

    def __init__(self, accuracy, fails=lambda number: None):
        self.accuracy, self.fails = accuracy, fails
        self.learning_rates: list[float] = []
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def __call__(self, recipe, manifest, split, weights, progress):
        with self._lock:
            number = len(self.learning_rates)
            self.learning_rates.append(recipe.train.learning_rate)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if (error := self.fails(number)) is not None:
                raise error
            history = {"validation_accuracy": []}
            for epoch in range(1, 9):
                history["validation_accuracy"].append(self.accuracy(number) + epoch / 1000)
                progress(epoch, 8, "")
                train_stage._watcher.get()(epoch, history)
            best = history["validation_accuracy"][-1]
        finally:
            with self._lock:
                self.at_once -= 1
        return ModelRef(
            model="x",
            classes=("a",),
            n_parameters=1,
            epochs_run=8,
            best_epoch=8,
            validation_accuracy=best,
            train_seconds=1.0,
        )


@pytest.fixture(scope="module")
def data(home) -> IngestResult:
    """The data of all sweeps here, examined once."""
    from flows.ingest import ingest as flow

    settings = overrides.parse_settings(EIGHT_EPOCHS)
    return flow(sources=["demo"], recipe="demo", settings=settings, accept=False)


@pytest.fixture
def trainings(data, monkeypatch):
    """Have sweeps take that data and make trials of trainings whose accuracy is given."""
    monkeypatch.setattr(examining, "examine", lambda *_: data)

    def use(accuracy, fails=lambda number: None):
        fake_training = Trainings(accuracy, fails)
        monkeypatch.setattr(sweeps, "_train", fake_training)
        return fake_training

    return use


def test_real_trainings_are_searched_and_more_trials_train_only_the_new_ones(home):
    started: list[str] = []

    def listen(event):
        if isinstance(event, events.Started) and event.name.startswith("trial"):
            started.append(event.name)

    quick = quick_demo.SETTINGS
    with events.heard_by(listen):
        first = sweep(settings=quick, trials=2, concurrency=2)
        again = sweep(settings=quick, trials=3)
    assert sorted(started) == ["trial 0", "trial 1", "trial 2"]
    assert len(first.rows) == 2
    assert len(again.rows) == 3
    assert again.best >= first.best > 0
    record = json.loads(Path(again.reports["as JSON"]).read_text())
    assert [trial["state"] for trial in record["trials"]] == ["complete"] * 3
    assert record["trials"][record["best"]]["value"] == again.best
    assert Path(again.reports["picture"]).read_bytes().startswith(b"\x89PNG")
    best = record["trials"][record["best"]]["settings"]
    recipe = retrained(again.command)
    assert recipe == overrides.apply(
        catalog.load("demo"), overrides.parse_settings([*quick, *(f"{path}={value}" for path, value in best.items())])
    )
    assert overrides.parse_settings(record["set"]) == overrides.parse_settings(options(again.command, "--set"))
    assert set(record["settings"]) == set(overrides.assignments(changed(*quick), catalog.load("demo")))


@pytest.mark.parametrize(
    "settings",
    [
        [
            "train.weights=it's $HOME.h5",
            "train.weights_origin=faces",
            "train.timeout_s=60",
            'demo.images_per_class={"sad": 5}',
        ],
        ["train.model.name=vgg", "train.model.widths=[8, 16]", 'train.phases=[{"epochs": 2, "train_from": "head"}]'],
        [],
    ],
)
def test_the_command_that_is_shown_retrains_by_the_same_recipe_when_it_is_pasted(settings, capsys):
    sources = ["kaggle:some/faces", "folder:/my faces/of $USER's", "archive:[1] :smile: a.zip"]
    command = sweeps.command(changed(*settings), catalog.load("demo"), "demo", sources, "my key")
    result = SweepResult(recipe="demo", rows=(), best=0.5, command=command, reports={})
    terminal.show_sweep(Console(width=40), result)
    pasted = capsys.readouterr().out.splitlines()[-1].removeprefix("next:  ")
    assert shlex.split(pasted)[:2] == ["fer", "retrain"]
    assert options(pasted, "--source") == sources
    assert options(pasted, "--kaggle-secret") == ["my key"]
    assert retrained(pasted) == changed(*settings)


def test_the_command_leaves_the_arithmetic_to_the_machine_that_it_is_pasted_on():
    own = catalog.load("fer2013-cnn")
    recipe = changed("train.epochs=3", name=own.name)
    command = sweeps.command(recipe.resolved(), own, own.name, ["demo"], None)
    assert options(command, "--set") == ["train.epochs=3"]
    assert retrained(command) == recipe
    other = "float32" if hardware.fastest_precision() != "float32" else "mixed-bfloat16"
    chosen = changed(f"train.precision={other}", name="fer2013-cnn")
    assert options(sweeps.command(chosen, own, own.name, ["demo"], None), "--set") == [f'train.precision="{other}"']


def test_a_sweep_that_is_cut_off_goes_on_with_the_trial_that_was_at_work(trainings):
    cut = trainings(lambda number: 0.5, lambda number: RuntimeError("power cut") if number == 2 else None)
    with pytest.raises(RuntimeError, match="power cut"):
        sweep(trials=4, seed=11)
    whole = trainings(lambda number: 0.5)
    result = sweep(trials=4, seed=11)
    assert len(cut.learning_rates) == 3
    assert len(whole.learning_rates) == 2
    assert whole.learning_rates[0] == cut.learning_rates[2]
    assert [row["trial"] for row in sorted(result.rows, key=lambda row: row["trial"])] == [0, 1, 2, 3]


def test_no_more_trials_at_once_than_allowed_and_that_many_are(trainings):
    barrier = threading.Barrier(2, timeout=60)

    def accuracy(number):
        if number < 2:
            barrier.wait()  # passes only with two at work
        return 0.5

    fake_training = trainings(accuracy)
    sweep(trials=5, concurrency=2, seed=12)
    assert fake_training.most_at_once == 2
    assert len(fake_training.learning_rates) == 5


def test_hopeless_trials_are_stopped_and_failed_ones_say_why(trainings):
    def fails(number):
        return errors.TrainingError("The loss must stay finite.") if number == 6 else None

    trainings(lambda number: 0.2 if number == 7 else 0.5, fails)
    result = sweep(trials=8, seed=13)
    by_number = {row["trial"]: row for row in result.rows}
    assert by_number[6]["state"] == "failed"
    assert "stay finite" in by_number[6]["reason"]
    assert by_number[7]["state"] == "pruned"
    assert by_number[7]["epochs"] < 8
    assert result.rows[0]["state"] == "complete"


@pytest.mark.parametrize(
    ("kind", "seed"), [(errors.WorkspaceError, 20), (errors.StoreRefused, 21), (errors.IntegrityError, 22)]
)
def test_what_fails_every_trial_ends_the_sweep_and_its_trial_is_tried_again(trainings, kind, seed):
    cut = trainings(lambda number: 0.5, lambda number: kind("It must hold.") if number == 1 else None)
    with pytest.raises(kind, match="must hold"):
        sweep(trials=3, seed=seed)
    whole = trainings(lambda number: 0.5)
    result = sweep(trials=3, seed=seed)
    assert whole.learning_rates[0] == cut.learning_rates[1]
    assert [row["state"] for row in result.rows] == ["complete"] * 3


@pytest.mark.parametrize(
    ("kind", "seed"), [(errors.OutOfMemory, 23), (errors.OutOfTime, 24), (errors.TooLittleMemory, 25)]
)
def test_a_trial_with_too_little_memory_or_time_stops_no_other_and_is_tried_again_in_the_next_run(
    trainings, kind, seed
):
    short = trainings(lambda number: 0.5, lambda number: kind("It must suffice.") if number == 1 else None)
    first = sweep(trials=3, seed=seed)
    assert [row["state"] for row in first.rows] == ["complete", "complete", "unfinished"]
    assert (first.rows[-1]["trial"], first.rows[-1]["reason"]) == (1, "It must suffice.")
    more = trainings(lambda number: 0.6)
    second = sweep(trials=3, seed=seed)
    assert more.learning_rates == [short.learning_rates[1]]
    assert [(row["trial"], row["state"]) for row in second.rows] == [(1, "complete"), (0, "complete"), (2, "complete")]


def test_a_trial_that_fails_by_its_settings_is_not_tried_again_and_a_sweep_of_such_alone_is_an_error(trainings):
    trainings(lambda number: 0.5, lambda number: errors.TrainingError("The loss must stay finite.", todo="less"))
    with pytest.raises(errors.TrainingError, match=r"none of 2; trial 0: The loss must stay finite\. Next: see .*json"):
        sweep(trials=2, seed=14)
    again = trainings(lambda number: 0.5)
    with pytest.raises(errors.TrainingError, match="none of 2"):
        sweep(trials=2, seed=14)
    assert again.learning_rates == []


@pytest.mark.parametrize(("kind", "seed"), [(errors.ConfigError, 26), (errors.Diverged, 27)])
def test_settings_that_a_training_refuses_are_a_failed_trial(trainings, kind, seed):
    trainings(lambda number: 0.5, lambda number: kind("No such layer.") if number == 0 else None)
    result = sweep(trials=2, seed=seed)
    assert [row["state"] for row in result.rows] == ["complete", "failed"]


def test_a_trial_that_is_the_worst_after_its_last_epoch_is_complete(trainings, monkeypatch):
    trainings(lambda number: 0.5)
    monkeypatch.setattr(search.Study, "is_hopeless", lambda study, number, epoch, best: epoch == 8)
    assert [row["state"] for row in sweep(trials=2, seed=28).rows] == ["complete"] * 2


def test_a_trial_that_is_given_up_leaves_no_checkpoint(trainings, monkeypatch):
    fake_training = trainings(lambda number: 0.2 if number == 5 else 0.5)
    workspace = caching.workspace()

    def train(recipe, *inputs):
        def produce(out):
            (out / "checkpoint.npz").write_bytes(b"weights")
            return fake_training(recipe, *inputs)

        return workspace.run("train", f"of-{len(fake_training.learning_rates)}", ModelRef, produce, resumable=True)

    monkeypatch.setattr(sweeps, "_train", train)
    result = sweep(trials=6, seed=15)
    assert [row["state"] for row in result.rows] == [*["complete"] * 5, "pruned"]
    assert not (workspace.root / ".partial" / "train" / "of-5").exists()


def test_a_trial_that_was_trained_before_brings_its_curve_and_what_it_took(trainings, monkeypatch):
    def train(recipe, *inputs):  # a stage whose output is there calls no watcher
        def produce(out):
            (out / "history.json").write_text('{"validation_accuracy": [0.1, 0.3, 0.2]}')
            return fake_training(recipe, *inputs).model_copy(update={"train_seconds": 600.0, "epochs_run": 3})

        return caching.workspace().run("train", "before", ModelRef, produce, resumable=True)

    fake_training = trainings(lambda number: 0.5)
    with train_stage.watching(lambda epoch, history: None):
        train(changed(), None, None, {}, lambda *args: None)
    monkeypatch.setattr(sweeps, "_train", train)
    result = sweep(trials=1, seed=16)
    (trial,) = json.loads(Path(result.reports["as JSON"]).read_text())["trials"]
    assert trial["curve"] == [0.1, 0.3, 0.3]
    assert (result.rows[0]["epochs"], result.rows[0]["minutes"]) == (3, "10.0")


def key(recipe, split, space, weights) -> str:
    with sweeps.studying(recipe, split, weights, space, 0):
        pass
    newest = max((caching.workspace().root / ".sweeps").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    return newest.stem


def test_a_sweep_whose_code_or_starting_weights_changed_is_another_one(home, monkeypatch):
    recipe, split = (
        changed("train.weights=registry:demo@champion"),
        SplitRef(classes=(), counts={}, origin="drawn"),
    )
    (source,) = sweeps.weight_sources(recipe, SPACE)
    first, second = (
        {source: WeightsRef(file="model.keras", identity=identity, origin="")} for identity in ("first", "second")
    )
    keys = [key(recipe, split, SPACE, first), key(recipe, split, SPACE, second)]
    for stage in sweeps._STAGES:
        with monkeypatch.context() as patch:
            patch.setattr(stage, "code", lambda *inputs: "edited")
            keys.append(key(recipe, split, SPACE, first))
    assert len(set(keys)) == len(keys) == 7


def test_all_trials_start_from_the_weights_that_stood_there_when_the_sweep_began(trainings, monkeypatch, tmp_path):
    file = tmp_path / "mine.weights.h5"
    file.write_bytes(b"first")
    identities = []

    def train(recipe, manifest, split, weights, progress):
        identities.append({source: ref.identity for source, ref in weights.items()})
        file.write_bytes(b"second")
        return fake_training(recipe, manifest, split, weights, progress)

    fake_training = trainings(lambda number: 0.5)
    monkeypatch.setattr(sweeps, "_train", train)
    settings = (*EIGHT_EPOCHS, f"train.weights={file}", "train.weights_origin=other faces")
    sweep(settings=settings, trials=2, seed=17)
    assert identities == [{str(file): f"sha256:{hashlib.sha256(b'first').hexdigest()}"}] * 2
    sweep(settings=settings, trials=2, seed=17)
    assert len(identities) == 4


def test_a_trial_gives_each_stage_the_inputs_that_it_takes(home, monkeypatch):
    inputs_by_stage = {}

    def stand_in(real):
        def stage(*inputs, workspace, progress):
            inputs_by_stage[real.name] = dict(zip(real.inputs, inputs, strict=True))
            return f"of {real.name}"

        return stage

    for real_stage in sweeps._STAGES:
        monkeypatch.setattr(f"{real_stage.produce.__module__}.{real_stage.produce.__name__}", stand_in(real_stage))
    settings = ["train.model.name=mobilenet-v2", "train.weights=imagenet", "train.soft_labels=true"]
    sweeps._train(changed(*settings), "images", "sides", {}, lambda *args: None)
    assert inputs_by_stage.keys() == {real_stage.name for real_stage in sweeps._STAGES}
    assert (inputs_by_stage["weights"]["split"], inputs_by_stage["train"]["weights"]) == (None, "of weights")
    recipe = changed("train.weights=a.h5", "train.weights_origin=other faces")
    sweeps._train(recipe, "images", "sides", {"a.h5": "of the sweep"}, lambda *args: None)
    assert inputs_by_stage["train"]["weights"] == "of the sweep"


def test_a_trials_precision_is_settled_too():
    trial = search.Trial(number=0, settings={"train.precision": "auto"})
    assert sweeps._with_trial(changed(), trial).train.precision == hardware.fastest_precision()


def test_the_weights_that_trials_may_start_from_are_the_recipes_and_those_of_the_space():
    space = {"train.weights": "null | imagenet | b.h5 | registry:demo@3"}
    recipe = changed("train.weights=a.h5", "train.weights_origin=other faces")
    assert sweeps.weight_sources(recipe, space) == ["a.h5", "b.h5", "registry:demo@3"]
    assert sweeps.weight_sources(changed(), SPACE) == []


@pytest.mark.parametrize("wrong", [{"trials": 0}, {"concurrency": 0}, {"concurrency": 65}, {"seed": -1}])
def test_a_number_that_the_command_refuses_is_refused_by_a_deployment_and_its_form(wrong):
    from prefect.utilities.callables import parameter_schema

    from flows.sweep import sweep as flow

    flow.validate_parameters({"sources": ["demo"]})
    (name,) = wrong
    with pytest.raises(ParameterTypeError, match=f"{name}.*(greater|less) than or equal"):
        flow.validate_parameters({"sources": ["demo"], **wrong})
    assert "minimum" in parameter_schema(flow).properties[name]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "a space to search"),
        ({"split.seed": "1..2"}, "not the data that it is measured by"),
        ({"train.batch_size": "0..8"}, r"train\.batch_size must be valid"),
        ({"train.model.depth": "1..2"}, r"one that the recipe has\. Received: train\.model\.depth=1"),
        ({"train.batch_size": "32 | many"}, r"train\.batch_size must be valid.*'many'"),
        (
            {"train.epochs": "null|5"},
            rf"null must be what the recipe has.*train\.epochs=null\|5.*has {catalog.load('demo').train.epochs}\.",
        ),
        ({"train.epochs": "1..2", "train.epochs ": "1..3"}, "each setting once"),
    ],
)
def test_a_space_that_no_trial_could_have_is_refused_before_anything_is_done(space, message):
    with pytest.raises(errors.ConfigError, match=message):
        sweeps.checked_space(catalog.load("demo"), space)


def test_ranges_are_of_the_kind_of_their_setting_however_they_are_written():
    space = {"train.mixup": "0..1", "train.epochs": "4.0..8.0", "train.micro_batch": "null | 16", "train.xla": "0..1"}
    checked = sweeps.checked_space(catalog.load("demo"), space)
    assert checked == space | {"train.mixup": "0.0..1.0", "train.epochs": "4..8"}


def test_the_best_is_of_complete_trials_alone():
    trials = [
        search.Trial(number=0, settings={}, state="complete", value=0.4),
        search.Trial(number=1, settings={}, state="pruned", value=0.9),
    ]
    assert search.best_of(trials).number == 0
