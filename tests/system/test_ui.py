"""What people see of a run in the Prefect UI, in a real browser: its graph, its form, its artifacts with pictures."""

import browser
import pytest
from flow_artifacts import shown_in
from prefect import flow
from prefect.settings import PREFECT_API_URL, temporary_settings

from fer.engine.refs import Ref
from fer.reports import pictures, plots
from flows.retrain import retrain
from tasks.runs import events, outcomes
from tasks.shown import artifacts, graph

pytestmark = pytest.mark.system

HISTORY = {"loss": [2.0, 1.0], "accuracy": [0.4, 0.6], "validation_loss": [2.0, 1.5], "validation_accuracy": [0.4, 0.5]}
PHASES = ("data", "training")


@flow(persist_result=False)
@outcomes.as_final_state
def shown():
    """A run with phases, each kind of page and each kind of picture."""
    make = graph.task("make")(lambda path: Ref(path=path))

    def look() -> Ref:
        artifacts.table("rows", [{"class": "happy", "images": 3}], "Images")
        bars = pictures.class_bars({"train": {"happy": 3, "sad": 1}}, title="Images by class")
        artifacts.markdown("bars", f"# Images\n\n{artifacts.picture(bars, 'Images by class')}")
        return make("images")

    def learn(images: Ref) -> Ref:
        curves = "".join(artifacts.picture(svg, name) for name, svg in pictures.learning(HISTORY, 2).items())
        matrix = plots.png(plots.confusion([[3, 1], [0, 4]], ["happy", "sad"], title="t"))
        artifacts.living_page("curves")(lambda: f"{curves}\n\n{artifacts.picture(matrix, 'Confusion matrix')}")
        events.publish(events.Ended("train", cached=False, failed=False, seconds=3, summary="best epoch 2"))
        return make("model")

    graph.phase("training", learn)(graph.phase("data", look)())


@pytest.fixture(scope="module")
def run_id(installation):
    """A run on the installation's server."""
    with temporary_settings({PREFECT_API_URL: installation.url}):
        return shown(return_state=True).state_details.flow_run_id


@pytest.fixture(scope="module")
def deployment(installation):
    """A deployment of `retrain` there."""
    with temporary_settings({PREFECT_API_URL: installation.url}):
        return retrain.to_deployment("form", parameters={"sources": ["demo"]}).apply()


@pytest.fixture(scope="module")
def page(chromium, installation, run_id, deployment):  # which can't be made while the browser's loop runs
    with browser.started() as started:
        context = started.new_context(
            viewport={"width": 1300, "height": 1100}, base_url=installation.url.removesuffix("/api")
        )
        yield context.new_page()


def test_each_artifact_is_shown_with_its_pictures_whole(installation, run_id, page):
    with temporary_settings({PREFECT_API_URL: installation.url}):
        pages = shown_in(run_id)
    assert set(pages) == {"rows", "bars", "curves", "summary"}
    n_pictures = {}
    for key, artifact in pages.items():
        page.goto(f"/artifacts/artifact/{artifact.id}")
        page.get_by_text("Show raw data").wait_for()
        widths = [picture.evaluate("image => image.naturalWidth") for picture in page.locator("img").all()]
        assert all(widths), f"a picture of {key} is broken"
        n_pictures[key] = len(widths)
    assert n_pictures == {"rows": 0, "bars": 1, "curves": 3, "summary": 0}
    page.goto(f"/artifacts/artifact/{pages['summary'].id}")
    page.get_by_role("cell", name="best epoch 2").wait_for()
    page.goto(page.get_by_role("link", name="curves", exact=True).get_attribute("href"))
    page.get_by_alt_text("Confusion matrix").wait_for()


def test_the_graph_is_drawn_with_phases_one_after_the_other(installation, run_id, page):
    with page.expect_response(lambda answer: "graph-v2" in answer.url) as answered:
        page.goto(f"/runs/flow-run/{run_id}")
    nodes = dict(answered.value.json()["nodes"])
    top = [node for node in nodes.values() if not node["encapsulating"]]
    assert sorted(node["label"] for node in top) == sorted(PHASES)
    parents = {node["label"]: {nodes[one["id"]]["label"] for one in node["parents"]} for node in top}
    assert parents == {"data": set(), "training": {"data"}}
    page.locator("canvas").first.wait_for()


def test_the_form_describes_each_parameter_and_shows_the_recipes_values(deployment, page):
    page.goto(f"/deployments/deployment/{deployment}/run")
    page.get_by_text("a named recipe").wait_for()
    page.get_by_text("RecipeSettings").first.click()
    page.get_by_text("settings of train", exact=True).first.click()
    page.get_by_text("In the recipes:").first.wait_for()
    assert page.get_by_text("settings of train.model, of any kind").count() == 1
