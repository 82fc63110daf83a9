import operator

import numpy as np
import pytest

from fer import errors
from fer.evaluation import metrics
from fer.recipes import catalog
from fer.training import search


@pytest.mark.parametrize("name", catalog.NAMES)
def test_every_recipe_is_named_as_its_module_and_says_how_to_run_it_and_what_to_expect(name):
    assert catalog.load(name).name == name
    about = catalog.about(name)
    assert f"--recipe {name}" in about
    assert "Expected:" in about


@pytest.mark.parametrize("name", catalog.NAMES)
def test_every_recipe_brings_a_space_that_its_sweep_can_search(name):
    from tasks import sweeps

    recipe = catalog.load(name)
    assert sweeps.checked_space(recipe, recipe.search).keys() == recipe.search.keys()


@pytest.mark.parametrize("name", catalog.NAMES)
def test_a_recipes_own_settings_are_within_the_space_that_it_brings(name):
    recipe = catalog.load(name)
    for path, text in recipe.search.items():
        own, dimension = operator.attrgetter(path)(recipe), search.parse(text)
        if isinstance(dimension, search.Choice):
            assert own in dimension.values, path
        else:
            assert dimension.low <= own <= dimension.high, path


def test_an_unknown_recipe_is_refused_with_those_that_are_known():
    with pytest.raises(errors.ConfigError, match=r"'nope'.*demo, fer2013-cnn, .*report-2024-se-resnet"):
        catalog.load("nope")


PRIVATE_TEST = (491, 55, 528, 879, 626, 594, 416)
REPORT = (105, 299, 322, 315, 99)  # 8 % of the data's images by class
DEMO = (149, 81, 143, 223, 187, 163, 126)
SIMULATED = {  # recipe -> test images by class, accuracy, share of images on which as good a model answers otherwise
    "demo": (DEMO, 0.87, 0.10),
    "fer2013-cnn": (PRIVATE_TEST, 0.65, 0.20),
    "fer2013-mini-xception": (PRIVATE_TEST, 0.66, 0.20),
    "fer2013-se-resnet": (PRIVATE_TEST, 0.68, 0.20),
    "report-2024": (REPORT, 0.65, 0.25),
    "report-2024-mobilenet": (REPORT, 0.72, 0.25),
    "report-2024-se-resnet": (REPORT, 0.72, 0.25),
}


@pytest.mark.parametrize(
    "name",
    ["demo", *(pytest.param(name, marks=pytest.mark.slow) for name in catalog.NAMES if name != "demo")],
)
def test_the_gate_lets_most_equals_pass_and_stops_a_worse_one(name):
    images_per_class, accuracy, disagreement = SIMULATED[name]
    margin, n_classes = catalog.load(name).gate.margin, len(images_per_class)
    truth = np.repeat(np.arange(n_classes), images_per_class)
    rng = np.random.default_rng(0)

    def passes(accuracy_lost: float) -> bool:
        """Whether a candidate passes that differs on `disagreement` of the images, right on half of them or fewer."""
        wrong = (truth + rng.integers(1, n_classes, len(truth))) % n_classes
        draw = rng.random(len(truth))
        alike = draw >= disagreement
        both_right = draw >= 1 - (accuracy - disagreement / 2)
        candidate_right = draw < (disagreement - accuracy_lost) / 2
        champion = np.where(both_right | ~(alike | candidate_right), truth, wrong)
        candidate = np.where(both_right | candidate_right, truth, wrong)
        difference = metrics.paired_difference(truth, champion, candidate, n_classes, samples=300)
        return min(difference.accuracy_bound(), difference.macro_f1_bound()) >= -margin

    # Here each class is known alike; benchmarks/gates.py has them as they are.
    assert np.mean([passes(0.0) for _ in range(80)]) >= 0.75
    assert np.mean([passes(1.5 * margin) for _ in range(20)]) <= 0.05


def test_the_demo_has_a_thousand_faces_to_test_on():
    recipe = catalog.load("demo")
    assert sum(recipe.demo.images_per_class.values()) * recipe.split.test_share > 1_000
