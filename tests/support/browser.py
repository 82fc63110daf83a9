"""Pages in the machine's Chromium, as their readers meet them."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SEVERE = {"serious", "critical"}


def found() -> str | None:
    """The path of a Chromium of this machine."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


@contextlib.contextmanager
def started() -> Iterator[object]:
    """A Chromium without a window; Playwright's own is not downloaded."""
    from playwright.sync_api import sync_playwright

    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found(), args=as_root)
        try:
            yield browser
        finally:
            browser.close()


class Shown:
    """A page that is shown at a width, in light or dark."""

    def __init__(self, browser, page: Path, *, width: int, dark: bool):
        self._context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            bypass_csp=True,  # for axe alone; what the policy forbids is told by `complaints` of another page
        )
        self.page = self._context.new_page()
        self.requests: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(page.as_uri())

    def close(self) -> None:
        """End it."""
        self._context.close()

    def overflow_px(self) -> int:
        """How far the page itself can be scrolled sideways."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def violations(self) -> list[str]:
        """What axe-core finds that is serious or critical: its rule, its help, and where for example."""
        from axe_playwright_python.sync_playwright import Axe

        found_ones = Axe().run(self.page).response["violations"]
        return [
            f"{each['id']} ({each['impact']}): {each['help']}; {len(each['nodes'])}: {each['nodes'][0]['html'][:200]}"
            for each in found_ones
            if each["impact"] in SEVERE
        ]
