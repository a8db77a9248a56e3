"""The page of ``flopscope report``: how large it is, how soon a browser shows it, and how soon it answers.

``python -m benchmarks.report [--output FILE]`` prints a Markdown table. It needs Playwright and a Chromium. Opening is measured from the
navigation to the first frame with every view drawn, the best of three; an answer is the slowest of six things that a user does.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tabulate import tabulate

import flopscope
from flopscope.report import Report

LIMIT_SECONDS, LIMIT_BYTES = 2, 3 * 10**6
LLAMA_70B = {
    "num_hidden_layers": 80, "hidden_size": 8192, "intermediate_size": 28672, "num_attention_heads": 64, "num_key_value_heads": 8,
}  # fmt: skip

_ANSWERS = """async () => {
    const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
    const filter = document.querySelector('#filter'), grid = document.querySelector('.grid');
    const write = (text) => { filter.value = text; filter.dispatchEvent(new Event('input')); };
    const actions = {
        metric: () => document.querySelector('[data-metric=access]').click(),
        'select a module': () => document.querySelectorAll('.cell')[1]?.click(),
        'select an op': () => document.querySelectorAll('.rows .row')[3]?.click(),
        sort: () => document.querySelector('[data-column=access] button').click(),
        filter: () => write('conv'),
        scroll: () => { write(''); grid.scrollTop += 4000; },
    };
    const found = {};
    for (const [name, action] of Object.entries(actions)) {
        const start = performance.now();
        action();
        await frame();
        found[name] = performance.now() - start;
    }
    return found;
}"""


def from_spec(spec: str, **settings: Any) -> Callable[[], Report]:
    """The report of a SPEC, when it is asked for."""

    def made() -> Report:
        loaded = flopscope.load(spec, settings)
        return loaded.noted(flopscope.analyze(loaded.model, *loaded.args, **loaded.kwargs))

    return made


def long_onnx() -> Report:
    """An ONNX graph of 5,000 nodes of which no two are alike, so that nothing in the page can be shared."""
    import onnx
    from onnx import TensorProto, helper

    nodes = [helper.make_node("Pad", [f"t{i}", f"by{i % 7}"], [f"t{i + 1}"], name=f"/stage{i // 100}/layer{i}/pad") for i in range(5000)]
    pads = [helper.make_tensor(f"by{i}", TensorProto.INT64, [2], [0, 1 + i]) for i in range(7)]
    ends = (helper.make_tensor_value_info("t0", TensorProto.FLOAT, [8]), helper.make_tensor_value_info("t5000", TensorProto.FLOAT, None))
    graph = helper.make_graph(nodes, "long", [ends[0]], [ends[1]], pads)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
        return flopscope.analyze(str(path))


MODELS: dict[str, Callable[[], Report]] = {
    "ResNet-50": from_spec("torchvision:resnet50"),
    "Swin-T": from_spec("torchvision:swin_t"),
    "Llama 70B": from_spec("hf:llama", **LLAMA_70B),
    "ONNX, 5,000 different nodes": long_onnx,
}


def measure(name: str, browser: Any, folder: Path) -> dict[str, Any]:
    """Make the page of one model, open it three times, and use it."""
    report = MODELS[name]()
    start = time.perf_counter()
    page_html = report.to_html()
    made = time.perf_counter() - start
    file = folder / "report.html"
    file.write_text(page_html, encoding="utf-8")
    opened = []
    for _ in range(3):
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        start = time.perf_counter()
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-ready] .chart > *", state="attached")
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)))")
        opened.append(time.perf_counter() - start)
        answers = page.evaluate(_ANSWERS)
        page.close()
    return {
        "model": name,
        "ops": len(report.ops),
        "seconds_to_make": made,
        "bytes": len(page_html.encode()),
        "seconds_to_open": min(opened),
        "answer_milliseconds": answers,
    }


def main() -> None:
    """Measure all models and print a table."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="a JSON file for the numbers")
    chosen = parser.parse_args()
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        own = Path(playwright.chromium.executable_path)
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=own if own.exists() else shutil.which("chromium"), args=arguments)
        found = [measure(name, browser, Path(folder)) for name in MODELS]
        version = browser.version
    rows = [
        [each["model"], each["ops"], f"{each['seconds_to_make']:.2f}", f"{each['bytes'] / 1e6:.2f}", f"{each['seconds_to_open']:.2f}",
         f"{max(each['answer_milliseconds'].values()):.0f}"]
        for each in found
    ]  # fmt: skip
    headers = ["model", "ops", "made in s", "MB", "open in s", "slowest answer in ms"]
    print(tabulate(rows, headers=headers, tablefmt="github"))
    within = all(each["bytes"] < LIMIT_BYTES and each["seconds_to_open"] < LIMIT_SECONDS for each in found)
    print(f"\nChromium {version}; {'all' if within else 'NOT all'} under {LIMIT_BYTES / 1e6:.0f} MB and {LIMIT_SECONDS} s")
    if chosen.output:
        chosen.output.write_text(json.dumps({"chromium": version, "pages": found}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
