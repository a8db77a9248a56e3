"""A real browser for the tests of the page, and a watch over what the page does in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_SIZE: Any = {"width": 1280, "height": 800}
_PAUSE = 20  # milliseconds between two looks
_LIMIT = 20_000  # milliseconds until a wait fails; nothing waits for as long when all is well


@contextmanager
def browser() -> Iterator[Browser]:
    """A headless Chromium: Playwright's own, or one of this machine. The test is skipped where neither can be had."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install 'flopscope[test]'")
    with sync_api.sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
        found = str(own) if own.exists() else next(filter(None, map(shutil.which, _NAMES)), None)
        if found is None:
            pytest.skip("no Chromium: run python -m playwright install chromium, or install it with the system's packages")
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses its sandbox to root
        running = playwright.chromium.launch(executable_path=found, args=arguments)
        try:
            yield running
        finally:
            running.close()


@dataclass
class Visit:
    """A page that is open, with everything that it asked for or complained about."""

    page: Page
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def texts(self, selector: str) -> list[str]:
        """The texts of all elements that match."""
        return self.page.locator(selector).all_inner_texts()

    def names(self, selector: str) -> list[str]:
        """The accessible names of all elements that match, as they are written."""
        found: list[str] = self.page.eval_on_selector_all(selector, "all => all.map(each => each.getAttribute('aria-label'))")
        return found

    def run(self, script: str, argument: Any = None) -> Any:
        """The value of an expression in the page."""
        return self.page.evaluate(script, argument)

    def until(self, script: str) -> None:
        """Wait until an expression holds in the page. Its policy lets no one evaluate a text inside it, so it is asked from outside."""
        for _ in range(_LIMIT // _PAUSE):
            if self.page.evaluate(script):
                return
            self.page.wait_for_timeout(_PAUSE)
        raise AssertionError(f"the page never came to {script}")

    def start_again(self) -> None:
        """The page as it was at first: what is chosen on it is all in its address."""
        self.page.set_viewport_size(_SIZE)
        self.page.goto(self.page.url.partition("#")[0] + "#")
        self.page.evaluate("scrollTo(0, 0); document.activeElement.blur(); document.querySelector('.grid').scrollTop = 0")


@contextmanager
def visit(running: Browser, file: Path, hash: str = "", *, ready: str = "html[data-ready] .chart > *", **options: Any) -> Iterator[Visit]:
    """Open a file; afterwards fail if it asked the network for anything, or wrote an error."""
    context: BrowserContext = running.new_context(viewport=_SIZE, **options)
    context.set_default_timeout(_LIMIT)
    page = context.new_page()
    found = Visit(page)
    own = file.as_uri()

    def decide(route: Any) -> None:
        url = route.request.url
        if url.partition("#")[0] == own:
            route.continue_()
        else:
            found.asked.append(url)
            route.abort()

    context.route("**/*", decide)
    page.on("console", lambda message: found.complaints.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: found.complaints.append(str(error)))
    page.goto(own + hash)
    page.wait_for_selector(ready, state="attached")
    try:
        yield found
        assert found.asked == []
        assert found.complaints == []
    finally:
        context.close()
