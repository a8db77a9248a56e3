"""What changed between two models: rows that add up, renames that are said, and formats that stay text."""

from __future__ import annotations

import csv
import io
import re
from collections import OrderedDict
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torchvision
from torch import nn

import flopscope
from flopscope.report.diff import OF_ROWS, Diff, diff
from flopscope.report.snapshot import LIMITED, Snapshot, snapshot
from tests.report.test_schema import REPORTS
from tests.report.test_schema import check as keeps_to_schema


def of(model: nn.Module, inputs: str = "1x3x32x32") -> Snapshot:
    return snapshot(flopscope.analyze(model.eval(), inputs))


def named(**modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(modules))


def body(blocks: int = 2, width: int = 3) -> nn.Sequential:
    def block() -> nn.Sequential:
        return named(conv=nn.Conv2d(3, width, 3, padding=1), norm=nn.BatchNorm2d(width), act=nn.ReLU(), back=nn.Conv2d(width, 3, 1))

    return named(**{f"block{i}": block() for i in range(blocks)})


@pytest.fixture(scope="module")
def resnets() -> Diff:
    return diff(of(torchvision.models.resnet18(weights=None)), of(torchvision.models.resnet34(weights=None)))


def test_totals_are_those_of_the_reports(resnets: Diff) -> None:
    for metric in LIMITED:
        delta = resnets.totals[metric]
        assert (delta.before, delta.after) == (resnets.before.count(metric), resnets.after.count(metric))
        assert delta.change == resnets.after.count(metric) - resnets.before.count(metric)


def test_kinds_and_modules_add_up_to_the_totals(resnets: Diff) -> None:
    for metric in OF_ROWS:
        assert sum(row.deltas[metric].change for row in resnets.kinds) == resnets.totals[metric].change
        top = [row for row in resnets.scopes if row.name and "." not in row.name]
        assert sum(row.deltas[metric].change for row in top) <= resnets.totals[metric].change
        assert resnets.scopes[0].deltas[metric].change == resnets.totals[metric].change
    assert sum(row.deltas["macs"].change for row in top) == resnets.totals["macs"].change


def test_modules_are_added_changed_and_the_same(resnets: Diff) -> None:
    changes = {row.name: row.change for row in resnets.scopes}
    assert changes["layer3.5.conv1"] == changes["layer1.2"] == "added"
    assert changes["layer3"] == changes[""] == "changed"
    assert changes["layer1.0"] == changes["conv1"] == changes["fc"] == "same"
    assert [row.name for row in resnets.scopes] == list(resnets.after.scopes)


def test_the_other_way_round_is_the_opposite(resnets: Diff) -> None:
    back = diff(resnets.after, resnets.before)
    assert {row.name: row.change for row in back.scopes}["layer3.5"] == "removed"
    assert sorted(row.name for row in back.scopes) == sorted(row.name for row in resnets.scopes)
    for metric in LIMITED:
        assert back.totals[metric].change == -resnets.totals[metric].change


def test_a_model_does_not_differ_from_itself() -> None:
    same = diff(of(body()), of(body()))
    assert not same.changed
    assert all(row.change == "same" for row in (*same.scopes, *same.kinds))
    assert "no total, module or kind of op differs" in same.to_text()
    assert "nothing changed" in same.to_markdown()


@pytest.mark.parametrize(
    ("before", "after", "prefixes"),
    [
        (named(backbone=body()), named(encoder=body()), ("backbone", "encoder")),
        (body(), named(model=body()), ("", "model")),
        (named(model=body()), body(), ("model", "")),
        (named(a=named(b=body())), named(c=body()), ("a.b", "c")),
    ],
)
def test_a_renamed_prefix_is_found_and_said(before: nn.Module, after: nn.Module, prefixes: tuple[str, str]) -> None:
    found = diff(of(before), of(after))
    rename = found.renames[0]
    assert (rename.before, rename.after) == prefixes
    assert rename.modules >= 10
    inner = [row for row in found.scopes if row.name.endswith("block1.conv")]
    assert [row.change for row in inner] == ["same"]
    assert f"{prefixes[0] or '(no prefix)'} → {prefixes[1] or '(no prefix)'}" in found.to_text()
    assert found.totals["macs"].change == 0


def test_a_rename_with_a_change_shows_both() -> None:
    found = diff(of(named(backbone=body(width=3))), of(named(encoder=body(width=5))))
    (row,) = [row for row in found.scopes if row.name == "encoder.block0.conv"]
    assert (row.name_before, row.change) == ("backbone.block0.conv", "changed")
    assert row.deltas["macs"].change == 32 * 32 * 3 * 9 * 2
    assert "encoder.block0.conv (was backbone.block0.conv)" in found.to_text()


def test_a_single_renamed_layer_is_found_where_it_is_the_only_one() -> None:
    before = named(first=nn.Conv2d(3, 4, 3), second=nn.Conv2d(4, 4, 3))
    found = diff(of(before), of(named(stem=nn.Conv2d(3, 4, 3), second=nn.Conv2d(4, 4, 3))))
    assert [(row.name, row.name_before, row.change) for row in found.scopes][1:] == [
        ("stem", "first", "same"),
        ("second", "second", "same"),
    ]
    twins = named(a=nn.Conv2d(3, 3, 1), b=nn.Conv2d(3, 3, 1))
    unclear = diff(of(twins), of(named(c=nn.Conv2d(3, 3, 1), d=nn.Conv2d(3, 3, 1))))
    assert sorted(row.change for row in unclear.scopes) == ["added", "added", "removed", "removed", "same"]
    assert not unclear.renames


def test_another_class_in_the_same_place_is_no_rename() -> None:
    found = diff(of(named(a=nn.Conv2d(3, 4, 3))), of(named(b=nn.ConvTranspose2d(3, 4, 3))))
    assert {row.name: row.change for row in found.scopes} == {"": "changed", "a": "removed", "b": "added"}


def test_what_is_gone_stands_where_it_was() -> None:
    found = diff(of(named(a=body(), z=nn.ReLU())), of(named(a=body(1), z=nn.ReLU())))
    names = [row.name for row in found.scopes]
    assert names.index("a.block0") < names.index("a.block1") < names.index("a.block1.conv") < names.index("z")
    listed = [line for line in found.to_text().splitlines() if line.startswith("a.block1")]
    assert len(listed) == 1
    assert listed[0].startswith("a.block1 (and 4 inside)  removed")


def test_lower_bounds_give_no_bound_of_the_change() -> None:
    before = snapshot(flopscope.analyze(nn.Linear(4, 4), "4x4"))
    found = diff(before, snapshot(REPORTS["partial"]()))
    assert found.totals["macs"].partial
    assert not found.totals["params"].partial
    text = found.to_text()
    assert "≥ 64" in text
    assert "their change (~) is that of what was counted" in text
    assert "not counted: schema_test::f" in text


def test_limits_are_marked() -> None:
    found = diff(of(body(1)), of(body(2)), {"macs": 1000, "params": 10**6})
    assert re.search(r"\| MACs .*❌ over, 1000 allowed", found.to_markdown())
    assert re.search(r"\| params .*✅ kept, 1.000 M allowed", found.to_markdown())
    assert "limits not kept" in found.to_markdown().splitlines()[0]
    assert [limit["status"] for limit in keeps_to_schema("diff", found.to_json())["budget"]] == ["over", "ok"]


def test_formats_say_the_same(resnets: Diff) -> None:
    data = keeps_to_schema("diff", resnets.to_json())
    assert data["total"]["macs"]["change"] == resnets.totals["macs"].change
    rows = list(csv.DictReader(io.StringIO(resnets.to_csv())))
    assert rows[0]["level"] == "total"
    assert int(rows[0]["macs_change"]) == resnets.totals["macs"].change
    assert int(rows[0]["peak_bytes_after"]) == resnets.after.peak_bytes
    assert {row["level"] for row in rows} == {"total", "kind", "module"}
    assert sum(row["level"] == "module" for row in rows) == len(resnets.scopes)
    assert f"{resnets.totals['macs'].change:,}" in resnets.to_text(exact=True)
    assert "layer1.2" not in resnets.to_text(depth=1)
    assert "\\begin{tabular}" in resnets.to_table("latex")


def test_pairs_of_front_ends_keep_to_the_schema() -> None:
    torch_side, onnx_side = snapshot(REPORTS["torchvision"]()), snapshot(REPORTS["onnx, partial"]())
    keeps_to_schema("diff", diff(torch_side, onnx_side).to_json())
    keeps_to_schema("diff", diff(onnx_side, snapshot(REPORTS["nothing"]())).to_json())


def test_a_long_comment_fits(resnets: Diff) -> None:
    before = of(body(1), "1x3x8x8")
    many = {f"block{i}": replace(before.scopes["block0"], path=f"block{i}") for i in range(1, 3000)}
    found = diff(before, replace(before, scopes={**before.scopes, **many}))
    text = found.to_markdown()
    assert len(text) < 65_536
    assert "and 2599 more: the formats csv, json and html have them all" in text
    assert "<details><summary>2999 modules changed" in text


class Tags(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


HOSTILE = [
    '<script>alert("x")</script>',
    "<img src=x onerror=alert(1)>",
    "a|b`c",
    "' onload='x",
    "\u202eltr",
    "</style><script>",
    "@everyone #1",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(name: str) -> None:
    before = of(named(a=nn.ReLU()))
    scope = replace(before.scopes["a"], path=name, class_name=name)
    side = replace(before, name=name, scopes={"": before.scopes[""], name: scope}, notes=(name,), kinds={name: before.total}, peak=name)
    found = diff(before, side)
    page = Tags(found.to_html())
    tags = {tag for tag, _ in page.found}
    assert not tags & {"script", "img", "link", "iframe", "object", "svg"}
    assert not [value for _, values in page.found for value in values if value.startswith("on")]
    assert name in page.text
    markdown = found.to_markdown()
    assert "<script" not in markdown
    assert "<img" not in markdown
    assert "@everyone" not in markdown
    assert all(line.count("|") - line.count("\\|") in (0, 6, 7) for line in markdown.splitlines() if line.startswith("|"))


def test_the_page_is_one_file_that_asks_for_nothing(resnets: Diff) -> None:
    html = resnets.to_html()
    page = Tags(html)
    (policy,) = [values["content"] for tag, values in page.found if values.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert not [values for _, values in page.found if "src" in values or "href" in values or "style" in values]
    assert not re.search(r"url\(|@import|https?://", html)
    assert len(html) < 1_000_000
    assert {"before", "after"} <= set(re.findall(r'<th scope="colgroup"[^>]*>(\w+)', html))


def test_from_python(tmp_path: Path) -> None:
    small, large = flopscope.analyze(nn.Linear(8, 4), "2x8"), flopscope.analyze(nn.Linear(8, 6), "2x8")
    saved = tmp_path / "report.json"
    saved.write_text(small.to_json())
    for found in (small.diff(large), flopscope.diff(small, large), flopscope.diff(saved, large), flopscope.diff(str(saved), large)):
        assert found.totals["macs"].change == 2 * 8 * 2
        assert "Linear" in str(found)
    with pytest.raises(flopscope.FlopscopeError, match="cannot be compared"):
        flopscope.diff(3, small)
