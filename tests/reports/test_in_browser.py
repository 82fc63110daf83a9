"""The pages of `fer.reports` in a real browser: accessible, within their width, and in need of nothing else."""

import browser
import overviews
import pytest
import quality_data
import run_documents

from fer.reports.overview import page as overview_page
from fer.reports.run import page as run_page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.found() is None, reason=f"no Chromium here ({', '.join(browser.NAMES)})"),
]
LONG = " a-path/of-a-hundred-letters-that-has-no-place-to-break" + "x" * 60


@pytest.fixture(scope="module")
def chromium():
    with browser.started() as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Name -> the page's file."""
    folder = tmp_path_factory.mktemp("pages")
    data = quality_data.Data(folder / "workspace")
    made = {
        "run": run_page.render(run_documents.made(text=LONG)),
        "first run": run_page.render(run_documents.made(status="refused", with_champion=False)),
        "quality": data.report().page,
        "overview": overview_page.render(overviews.overview(runs=[overviews.run("FAILED", name=LONG, message=LONG)])),
    }
    for name, html in made.items():
        (folder / f"{name}.html").write_text(html)
    return {name: folder / f"{name}.html" for name in made}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["run", "first run", "quality", "overview"])
def test_a_page_is_accessible_fits_its_width_and_asks_for_nothing(chromium, pages, name, width, dark):
    shown = browser.Shown(chromium, pages[name], width=width, dark=dark)
    try:
        assert shown.overflow_px() == 0
        assert shown.violations() == []
        assert shown.requests == [pages[name].as_uri()]
    finally:
        shown.close()


def test_axe_finds_what_is_wrong(chromium, pages, tmp_path):
    broken = tmp_path / "broken.html"
    broken.write_text(pages["run"].read_text().replace('lang="en"', "").replace("--muted: #59636e", "--muted: #ddd"))
    shown = browser.Shown(chromium, broken, width=1280, dark=False)
    try:
        assert {line.split()[0] for line in shown.violations()} >= {"html-has-lang", "color-contrast"}
    finally:
        shown.close()
