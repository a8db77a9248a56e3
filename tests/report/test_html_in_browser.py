"""The page of a report in a real browser: every view draws, what is chosen in one is seen in all, and nothing leaves the page."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

import flopscope
from flopscope.report import Report
from flopscope.report.text import binary, si
from tests.report.browser import Visit, browser, visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def report() -> Report:
    loaded = flopscope.load("torchvision:resnet18")
    return flopscope.analyze(loaded.model, *loaded.args)


@pytest.fixture(scope="module")
def file(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report.save_html(tmp_path_factory.mktemp("page") / "report.html")


@pytest.fixture(scope="module")
def opened(chromium: Browser, file: Path) -> Iterator[Visit]:
    with visit(chromium, file) as found:
        yield found


@pytest.fixture
def page(opened: Visit) -> Iterator[Visit]:
    opened.start_again()
    yield opened
    assert (opened.asked, opened.complaints) == ([], [])


def share(count: int, total: int) -> str:
    """A share as the page writes it, for those that are neither tiny nor all."""
    return f"{100 * count / total:.1f} %"


def row_of(report: Report, path: str) -> Any:
    return next(row for row in report.by_module() if row.path == path)


# -- every view draws -----------------------------------------------------------------------------------------


def test_the_cards_show_the_totals(page: Visit, report: Report) -> None:
    total = report.total
    values = [si(total.macs), si(total.flops), si(total.params), si(total.access_bytes, "B"), binary(report.memory.peak_bytes)]
    assert page.texts(".card .value") == [*values, "✓ Complete"]
    assert page.texts(".card .exact")[:3] == [f"{count:,}" for count in (total.macs, total.flops, total.params)]


def test_the_modules_are_drawn_as_high_as_their_share(page: Visit, report: Report) -> None:
    heights = page.run(
        "Object.fromEntries([...document.querySelectorAll('.cell')].map(e => [e.dataset.key, parseFloat(e.style.getPropertyValue('--h'))]))"
    )
    whole = heights["module:"]
    for name in ("conv1", "layer1", "layer2", "layer3", "layer4"):
        expected = whole * row_of(report, name).cost.macs / report.total.macs
        assert heights[f"module:{name}"] == pytest.approx(expected, abs=0.01), name


def test_what_repeats_is_drawn_once_with_its_count(page: Visit, report: Report) -> None:
    both = sum(row_of(report, f"layer1.{place}").cost.macs for place in (0, 1))
    (cell,) = page.names('.cell[data-key="block:module:layer1.0"]')
    assert cell == f"2 × 0 – 1, BasicBlock: {si(both)} MACs, {share(both, report.total.macs)}"
    assert page.texts('.cell[data-key="block:module:layer1.0"] .badge') == ["2×"]
    (box,) = page.names('.box[data-key="block:module:layer1.0"]')
    assert box.startswith("2 times 0 – 1, BasicBlock")


def test_the_graph_shows_what_flows(page: Visit) -> None:
    page.page.get_by_role("button", name="Collapse all").click()
    names = [name.split(",")[0] for name in page.names(".box")]
    assert names == ["conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "flatten", "fc"]
    tops = page.run("[...document.querySelectorAll('.box')].map(e => parseFloat(e.style.getPropertyValue('--y')))")
    assert tops == sorted(tops)  # each reads what the one above it made
    assert page.page.locator(".edges path.head").count() == 12  # between eleven boxes, and from and to outside


def test_the_roofline_has_a_point_for_each_signature_with_flops(page: Visit, report: Report) -> None:
    priced = {id(op.signature) for op, row in zip(report.graph.ops, report.ops, strict=True) if row.cost.flops and row.cost.access_bytes}
    assert page.page.locator(".dot").count() == len(priced)
    before = page.texts(".roofline .caption")
    page.page.select_option("[aria-label=Device]", "t4")
    assert page.texts(".roofline .caption") != before
    assert "NVIDIA T4" in page.names(".roofline svg")[0]
    # 320 GB/s and 8.1 TFLOP/s, each op alone
    bound = sum(max(row.cost.flops / 8.1e12, row.cost.access_bytes / 320e9) for row in report.ops)
    assert f"no less than {bound * 1e6:.0f} µs at these rates (peak, dense, float32 without TF32)" in page.texts(".roofline .caption")[0]


def test_the_memory_under_the_pointer_is_what_is_alive_there(page: Visit, report: Report) -> None:
    picture = page.page.locator(".memory svg")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    assert box is not None
    for part in (0.3, 0.6, 0.95):
        page.page.mouse.move(box["x"] + 58 + part * (box["width"] - 66), box["y"] + 60)
        op = int(picture.get_attribute("aria-valuenow") or "")
        assert op == pytest.approx(part * len(report.ops), abs=1)
        alive = report.memory.alive_at(op)
        assert f"{binary(report.memory.timeline.live_bytes[op])} alive" in page.texts(".memory .reading")[0]
        assert page.texts(".alive td:first-child") == [binary(piece.bytes) for piece in alive[:6]]


def test_the_table_holds_all_ops_and_draws_a_few(page: Visit, report: Report) -> None:
    grid = page.page.locator(".grid")
    assert grid.get_attribute("aria-rowcount") == str(len(report.ops) + 1)
    assert 16 <= page.page.locator(".rows .row").count() < 40 < len(report.ops)
    grid.evaluate("each => each.scrollTop = each.scrollHeight")
    page.until(f"document.getElementById('op-{len(report.ops) - 1}')")
    last = report.ops[-1]
    cells = page.texts(f"#op-{last.index} [role=gridcell]")
    assert cells[:3] == [str(last.index), "fc", "aten::linear"]
    assert cells[5:8] == [si(last.cost.params), si(last.cost.macs), si(last.cost.flops)]


# -- what is chosen is seen everywhere ------------------------------------------------------------------------


def test_the_metric_switch_changes_every_share(page: Visit, report: Report) -> None:
    key = '[data-key="module:layer4"]'
    cost = row_of(report, "layer4").cost
    assert share(cost.macs, report.total.macs) in page.names(f".cell{key}")[0]
    page.page.get_by_role("radio", name="Params").click()
    expected = share(cost.params, report.total.params)
    assert page.names(f".cell{key}")[0] == f"layer4, Sequential: {si(cost.params)} Params, {expected}"
    assert expected in page.names(f".box{key}")[0]
    assert page.texts(f".cell{key} .number") == [expected]
    assert "parameters" in page.texts(".icicle .caption")[0]
    page.page.get_by_role("radio", name="Access").click()
    assert share(cost.access_bytes, report.total.access_bytes) in page.names(f".cell{key}")[0]


def selected(page: Visit) -> dict[str, Any]:
    """What each view shows as selected."""
    found: dict[str, Any] = page.run(
        """(() => {
            const keys = (selector) => [...document.querySelectorAll(selector)].map((each) => each.dataset.key);
            return {
                cell: keys('.cell[aria-selected=true], .cell.holds-selection'),
                box: keys('.box.selected'),
                around: keys('.box.holds-selection'),
                dots: document.querySelectorAll('.dot.selected').length,
                rows: [...document.querySelectorAll('.rows .row[aria-selected=true]')].map((each) => Number(each.dataset.op)),
                bands: document.querySelectorAll('.memory .band').length,
                chip: document.querySelector('.chip bdi')?.textContent ?? '',
            };
        })()"""
    )
    return found


def test_a_module_that_is_selected_in_the_picture_is_seen_in_all_views(page: Visit, report: Report) -> None:
    page.page.locator('.cell[data-key="module:layer3"]').click()
    ops = [row.index for row in report.ops if row.scope == "layer3" or row.scope.startswith("layer3.")]
    found = selected(page)
    assert found["cell"] == ["module:layer3"]
    assert found["box"] == ["module:layer3"]
    assert found["chip"] == "layer3"
    assert found["rows"] == ops[: len(found["rows"])]
    assert found["rows"]
    assert found["bands"] == 1  # its ops run one after the other
    signatures = {id(report.graph.ops[op].signature) for op in ops}
    assert 0 < found["dots"] <= len(signatures)
    page.page.get_by_label("Only the selection").check()
    assert page.page.locator(".grid").get_attribute("aria-rowcount") == str(len(ops) + 1)
    page.page.keyboard.press("Escape")
    assert page.page.locator(".chip").count() == 0


def test_a_row_a_point_a_box_and_a_place_in_memory_select_too(page: Visit, report: Report) -> None:
    page.page.locator("#op-3").click()
    found = selected(page)
    assert (found["rows"], found["chip"]) == ([3], "op 3, aten::max_pool2d")
    assert found["box"] == []
    assert found["around"] == ["module:maxpool"]
    assert found["cell"] == ["module:"]  # it has no MACs, so that only the model's own cell is around it
    page.page.locator('.box[data-key="module:conv1"]').click()
    assert selected(page)["rows"] == [0]
    page.page.locator('.dot[data-op="0"]').dispatch_event("click")
    assert selected(page)["chip"] == "op 0, aten::conv2d"
    box = page.page.locator(".memory svg").bounding_box()
    assert box is not None
    page.page.locator(".memory svg").click(position={"x": box["width"] - 10, "y": 60})
    assert selected(page)["chip"] == f"op {len(report.ops) - 1}, aten::linear"
    assert selected(page)["rows"] == [len(report.ops) - 1]  # the table has moved there
    assert "1x512, 1000x512, 1000" in page.texts(".details dd")


def test_double_click_zooms_and_the_way_back_is_there(page: Visit) -> None:
    page.page.locator('.cell[data-key="module:layer2"]').dblclick()
    assert page.run("document.querySelector('.cell').dataset.key") == "module:layer2"
    assert page.page.locator('.cell[data-key="module:layer3"]').count() == 0
    assert page.texts(".crumb")[1:] == ["layer2"]
    page.page.locator(".crumb").first.click()
    assert page.page.locator('.cell[data-key="module:layer3"]').count() == 1


def test_modules_open_and_close_in_the_graph(page: Visit) -> None:
    page.page.get_by_role("button", name="Collapse all").click()
    page.page.get_by_role("button", name="Open layer2").click()
    assert page.page.locator('.box[data-key="module:layer2"]').get_attribute("aria-expanded") == "true"
    assert page.page.locator('.box[data-key="module:layer2.1"]').count() == 1
    page.page.get_by_role("button", name="Close layer2").click()
    assert page.page.locator('.box[data-key="module:layer2.1"]').count() == 0


def test_the_table_filters_and_sorts(page: Visit, report: Report) -> None:
    page.page.fill("#filter", "layer2 CONV2D")
    convolutions = [row for row in report.ops if row.scope.startswith("layer2") and row.op == "aten::conv2d"]
    assert [int(text) for text in page.texts(".rows .index")] == [row.index for row in convolutions]
    page.page.locator("[data-column=macs] button").click()
    ranked = sorted(convolutions, key=lambda row: (-row.cost.macs, row.index))
    assert [int(text) for text in page.texts(".rows .index")] == [row.index for row in ranked]
    assert page.page.locator("[data-column=macs]").get_attribute("aria-sort") == "descending"
    page.page.locator("[data-column=macs] button").click()
    assert page.page.locator("[data-column=macs]").get_attribute("aria-sort") == "ascending"
    page.page.fill("#filter", "no such op")
    assert page.texts(".rows") == ["No op matches."]
    assert page.page.locator(".grid").get_attribute("aria-rowcount") == "1"


# -- the address, the keyboard, the theme ---------------------------------------------------------------------


def test_the_address_brings_everything_back(chromium: Browser, file: Path, page: Visit) -> None:
    page.page.get_by_role("radio", name="FLOPs").click()
    page.page.locator('.cell[data-key="module:layer2"]').dblclick()
    page.page.get_by_role("button", name="Collapse all").click()
    page.page.select_option("[aria-label=Device]", "h100")
    page.page.select_option("#theme", "dark")
    page.page.fill("#filter", "conv")
    page.page.locator("[data-column=flops] button").click()
    page.page.locator(".rows .row").nth(1).click()
    page.page.get_by_label("Only the selection").check()
    hash = page.run("location.hash")
    with visit(chromium, file, hash) as again:
        script = """[document.querySelector('[role=radio][aria-checked=true]').dataset.metric, document.querySelector('.cell').dataset.key,
            document.querySelectorAll('.box.open').length, document.querySelector('[aria-label=Device]').value,
            document.documentElement.dataset.theme, document.querySelector('#filter').value,
            document.querySelector('[data-column=flops]').ariaSort, document.querySelector('.chip').textContent,
            document.querySelector('#only').checked, document.querySelector('.rows').textContent]"""
        assert again.run(script) == page.run(script)
        assert again.run("location.hash") == hash
        assert again.run("document.documentElement.dataset.theme") == "dark"


def test_an_address_that_makes_no_sense_is_no_error(chromium: Browser, file: Path) -> None:
    hash = "#metric=beauty&select=op:99999&zoom=module:nowhere&device=abacus&sort=mood-down&open=block:x&theme=%00&%ZZ"
    with visit(chromium, file, hash) as page:
        assert page.page.locator(".cell").count() > 5
        assert page.page.locator(".rows .row").count() > 5
        assert page.page.locator(".chip").count() == 0


def test_a_changed_address_changes_the_page(page: Visit) -> None:
    page.run("location.hash = '#select=module:layer1.0&metric=params'")
    page.until("document.querySelector('.chip bdi')?.textContent === 'layer1.0'")
    assert page.page.locator("[data-metric=params]").get_attribute("aria-checked") == "true"


def test_the_module_tree_is_walked_with_the_keyboard(page: Visit) -> None:
    focused = "document.activeElement.dataset.key"
    page.page.locator('.cell[data-key="module:"]').focus()
    for key, expected in (("ArrowRight", "module:conv1"), ("End", "module:layer4"), ("ArrowUp", "module:layer3"), ("ArrowLeft", "module:")):
        page.page.keyboard.press(key)
        assert page.run(focused) == expected
    page.page.keyboard.press("ArrowRight")
    page.page.keyboard.press("ArrowDown")
    page.page.keyboard.press("Space")
    assert selected(page)["chip"] == "layer1"
    assert page.run(focused) == "module:layer1"
    page.page.keyboard.press("Enter")
    assert page.texts(".crumb")[1:] == ["layer1"]
    page.page.keyboard.press("Backspace")
    assert len(page.texts(".crumb")) == 1
    assert page.page.locator(".cell[tabindex='0']").count() == 1


def test_the_other_views_answer_the_keyboard(page: Visit, report: Report) -> None:
    last = len(report.ops) - 1
    page.page.locator(".grid").focus()
    page.page.keyboard.press("End")
    assert page.page.locator(".grid").get_attribute("aria-activedescendant") == f"op-{last}"
    page.page.keyboard.press("ArrowUp")
    page.page.keyboard.press("Enter")
    assert selected(page)["rows"] == [last - 1]
    slider = page.page.locator(".memory [role=slider]")
    slider.focus()
    page.page.keyboard.press("Home")
    page.page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuenow") == "1"
    assert (slider.get_attribute("aria-valuetext") or "").startswith("op 1, aten::batch_norm: ")
    page.page.keyboard.press("Enter")
    assert selected(page)["rows"] == [1]
    page.page.locator("[data-metric=macs]").focus()
    page.page.keyboard.press("ArrowRight")
    assert page.run("document.activeElement.dataset.metric") == "flops"
    assert page.page.locator("[data-metric=flops]").get_attribute("aria-checked") == "true"
    page.page.locator('.box[data-key="module:conv1"]').focus()
    page.page.keyboard.press("ArrowDown")
    assert page.run("document.activeElement.dataset.key") == "module:bn1"
    page.page.keyboard.press("Space")
    assert selected(page)["box"] == ["module:bn1"]


def test_everything_that_can_be_used_has_a_name_and_a_place_in_the_order(page: Visit) -> None:
    page.page.reload()
    page.page.wait_for_selector("html[data-ready] .chart > *", state="attached")
    nameless = page.run(
        """[...document.querySelectorAll('button, select, input, [role=treeitem], [role=slider], [role=grid], [role=tree], svg[role]')]
            .filter((each) => !(each.getAttribute('aria-label') || each.textContent.trim() || each.labels?.length)).map((each) => each.outerHTML)"""
    )
    assert nameless == []
    for selector in (".cell[tabindex='0']", ".box[tabindex='0']", ".grid[tabindex='0']", ".memory [tabindex='0']"):
        assert page.page.locator(selector).count() == 1, selector
    for view in ("icicle", "graph", "roofline", "memory", "table"):
        assert len(page.texts(f".{view} .caption")[0]) > 40, f"{view} has no words"
    page.page.keyboard.press("Tab")
    assert page.run("document.activeElement.textContent") == "Skip to the views"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_follows_the_system_and_the_switch(chromium: Browser, file: Path, scheme: Any) -> None:
    def is_dark(page: Visit) -> bool:
        return sum(map(int, re.findall(r"\d+", page.run("getComputedStyle(document.body).backgroundColor"))[:3])) < 3 * 128

    with visit(chromium, file, color_scheme=scheme) as page:
        assert is_dark(page) == (scheme == "dark")
        other = "light" if scheme == "dark" else "dark"
        page.page.select_option("#theme", other)
        assert is_dark(page) == (other == "dark")
        assert contrast(page) >= 4.5


def contrast(page: Visit) -> float:
    """The least contrast of small grey text on the page, as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    text, back = page.run(
        "[getComputedStyle(document.querySelector('.caption')).color, getComputedStyle(document.querySelector('.panel')).backgroundColor]"
    )
    dark, light = sorted((luminance(text), luminance(back)))
    return (light + 0.05) / (dark + 0.05)


def test_the_report_is_copied_as_markdown(chromium: Browser, file: Path, report: Report) -> None:
    with visit(chromium, file, "#zoom=module:layer1", permissions=["clipboard-read", "clipboard-write"]) as page:
        page.page.locator("#copy").click()
        page.until("document.getElementById('copy').textContent === 'Copied' || document.querySelector('dialog textarea')")
        text = page.run("document.querySelector('dialog textarea')?.value ?? navigator.clipboard.readText()")
        assert f"- MACs {report.total.macs:,}\n" in text
        both = sum(row_of(report, f"layer1.{place}").cost.macs for place in (0, 1))
        assert re.search(rf"^\| 0 – 1 \| BasicBlock \| 2 \|.*\| {si(both)} \|", text, re.MULTILINE)


def test_where_no_clipboard_is_the_text_is_shown(page: Visit, report: Report) -> None:
    page.run("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.page.locator("#copy").click()
    assert f"{report.total.macs:,}" in page.page.locator("dialog textarea").input_value()
    page.page.keyboard.press("Escape")
    page.until("!document.querySelector('dialog')")


def test_a_narrow_window_hides_nothing(page: Visit) -> None:
    page.page.set_viewport_size({"width": 420, "height": 800})
    page.until("document.querySelector('.memory svg').clientWidth < 420")
    assert page.run("document.documentElement.scrollWidth") <= 420


# -- models that are not as expected --------------------------------------------------------------------------

HOSTILE = (
    "</script><script>window.harmed = 1</script>",
    '"><img src=x onerror="window.harmed = 2">',
    "\u202egnp.exe",
    "`|*_[x](javascript:y)",
)


def test_hostile_names_stay_text(chromium: Browser, tmp_path: Path) -> None:
    model = nn.Sequential()
    for place, name in enumerate(HOSTILE):
        model.add_module(name.replace(".", "·"), type(name, (nn.Linear,), {})(4 + place, 5 + place))
    report = flopscope.analyze(model, "2x4")
    with visit(chromium, report.save_html(tmp_path / "hostile.html")) as page:
        page.page.get_by_role("button", name="Fit").click()
        for row in page.page.locator(".rows .row").all():
            row.click()
        assert page.run("window.harmed") is None
        assert page.run("document.querySelectorAll('script').length") == 2
        assert page.run("document.querySelectorAll('img').length") == 0
        scopes = page.texts(".rows .scope")
        assert scopes[:2] == [name.replace(".", "·") for name in HOSTILE[:2]]
        assert scopes[2] == "‹U+202E›gnp·exe"
        assert "\u202e" not in page.run("document.getElementById('page').textContent")
        names = " ".join(page.names(".cell"))
        assert HOSTILE[0] in names
        page.run("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
        page.page.locator("#copy").click()
        text = page.page.locator("dialog textarea").input_value()
        assert "\\`\\|\\*\\_\\[x\\](javascript:y)" in text
        assert "<script" not in text.replace("\\<script", "")


def test_what_is_not_counted_is_said(chromium: Browser, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Secret", ["x"], ["y"], domain="my.ops", name="/head/secret"), helper.make_node("MatMul", ["x", "w"], ["z"])], "partial",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3]), helper.make_tensor_value_info("w", TensorProto.FLOAT, [3, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3]), helper.make_tensor_value_info("z", TensorProto.FLOAT, [2, 4])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("my.ops", 1)])
    onnx.save(model, tmp_path / "partial.onnx")
    report = flopscope.analyze(str(tmp_path / "partial.onnx"))
    assert not report.complete
    with visit(chromium, report.save_html(tmp_path / "partial.html")) as page:
        assert page.texts(".card .value")[0] == "≥ 24"  # 2 x 3 x 4
        assert page.texts(".card .value")[-1] == "! 1 call"
        page.page.locator(".card summary").click()
        assert "my.ops::Secret" in page.texts(".card details li")[0]
        row = next(row for row in report.ops if row.cost.uncounted)
        assert "?" in page.texts(f"#op-{row.index} [role=gridcell]")


def test_a_model_that_does_nothing_has_a_page_too(chromium: Browser, tmp_path: Path) -> None:
    report = flopscope.analyze(nn.Identity(), "2x4")
    with visit(chromium, report.save_html(tmp_path / "nothing.html")) as page:
        assert page.texts(".card .value")[:3] == ["0", "0", "0"]
        assert "The model runs no op." in page.texts(".memory .empty")
        assert page.texts(".rows") == ["No op matches."]


def test_blocks_that_take_turns_are_folded_together(chromium: Browser, tmp_path: Path) -> None:
    model = nn.Sequential(*[layer for _ in range(6) for layer in (nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))])
    report = flopscope.analyze(model, "1x4")
    with visit(chromium, report.save_html(tmp_path / "turns.html")) as page:
        (name,) = [name for name in page.names(".cell") if name.startswith("6 × ")]
        assert name == "6 × 0 – 17, 3 parts: 384 MACs, 100 %"  # 6 x (4 x 8 + 8 x 4)
        page.page.locator(".cell .badge").first.click()
        assert len(selected(page)["rows"]) == 18


def test_a_long_model_stays_small_in_the_document(chromium: Browser, tmp_path: Path) -> None:
    def forward(x: torch.Tensor) -> torch.Tensor:
        for length in range(1500):
            x = torch.nn.functional.pad(x, (0, 1 + length % 3)).exp()
        return x

    report = flopscope.analyze(forward, "8")
    assert len(report.ops) == 3000
    with visit(chromium, report.save_html(tmp_path / "long.html"), "#metric=access&open=") as page:
        assert page.run("document.querySelectorAll('*').length") < 3000
        page.run("document.querySelector('.grid').scrollTop = 1e9")
        page.until("document.getElementById('op-2999')")
        assert page.page.locator(".rows .row").count() < 40


def test_the_page_works_inside_a_notebook(chromium: Browser, report: Report, tmp_path: Path) -> None:
    notebook = tmp_path / "notebook.html"
    notebook.write_text(f"<!doctype html><meta charset=utf-8>{report._repr_html_()}", encoding="utf-8")
    with visit(chromium, notebook, ready="iframe") as page:
        inner = page.page.frame_locator("iframe")
        inner.locator('.cell[data-key="module:layer2"]').click()
        assert inner.locator(".chip bdi").inner_text() == "layer2"
        assert html.unescape(page.texts("td")[0]) == report.by_module(0)[0].class_name


def test_the_data_can_be_read_out_again(page: Visit, report: Report) -> None:
    facts = json.loads(page.run("document.getElementById('facts').textContent"))
    assert facts["total"]["macs"] == report.total.macs
