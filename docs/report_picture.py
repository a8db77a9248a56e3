"""Draws the picture of the page in the README: ``python docs/report_picture.py``. Needs Playwright and a Chromium."""

from __future__ import annotations

import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

import flopscope

MODEL = "torchvision:swin_t"
STATE = "#metric=access&select=block:module:features.5.0%2B2"
WIDTH, HEIGHT, MARGIN = 1280, 800, 14


def main() -> None:
    """Write ``docs/images/report.png``."""
    loaded = flopscope.load(MODEL)
    report = loaded.noted(flopscope.analyze(loaded.model, *loaded.args))
    picture = Image.open(io.BytesIO(_photographed(report.to_html())))
    target = Path(__file__).with_name("images") / "report.png"
    target.parent.mkdir(exist_ok=True)
    picture.convert("RGB").quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(target, optimize=True)


def _photographed(page_html: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "report.html"
        file.write_text(page_html, encoding="utf-8")
        own = Path(playwright.chromium.executable_path)
        browser = playwright.chromium.launch(executable_path=own if own.exists() else shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(file.as_uri() + STATE)
        page.wait_for_selector("html[data-ready] .chart > *", state="attached")
        page.wait_for_timeout(300)
        last = page.locator(".graph").bounding_box()
        bottom = HEIGHT if last is None else last["y"] + last["height"] + MARGIN
        return page.screenshot(clip={"x": 0, "y": 0, "width": WIDTH, "height": bottom}, full_page=True)


if __name__ == "__main__":
    main()
