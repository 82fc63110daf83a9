"""What `benchmarks/` shares with the tests and with the product."""

from pathlib import Path

import quick_demo

from benchmarks import promotions
from fer.recipes import catalog, overrides

RECIPE = Path(__file__).parents[1] / "benchmarks" / "campaigns" / "quick_demo.toml"


def test_the_campaigns_run_the_quick_demo_of_the_tests():
    in_tests = overrides.apply(catalog.load("demo"), overrides.parse_settings(quick_demo.SETTINGS))
    in_campaigns = catalog.load(str(RECIPE))
    own = {"name", "made_for"}
    assert in_campaigns.model_dump(exclude=own) == in_tests.model_dump(exclude=own)


def test_the_simulated_decisions_of_a_year_are_the_products_own():
    assert promotions.agreement([263], sample=40) >= 0.95
