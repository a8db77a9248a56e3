"""Published networks from their configurations: parameters and multiply-accumulates are the published ones, to the unit."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

import flopscope
from nas.cli.main import main
from nas.errors import GenotypeError
from nas.models.configured import load_config, network_of, save_config

DATA = Path(os.environ["FLOPSCOPE_DATA"]) if "FLOPSCOPE_DATA" in os.environ else None
needs_data = pytest.mark.skipif(DATA is None, reason="needs FLOPSCOPE_DATA")


def files() -> list[Path]:
    return [] if DATA is None else [*(DATA / "nas/proxylessnas").glob("*.config"), *(DATA / "nas/ofa").glob("*.net.config")]


def published() -> dict[str, dict[str, Any]]:
    assert DATA is not None
    rows = json.loads((DATA / "published/costs.json").read_text())
    rows = rows if isinstance(rows, list) else [row for part in rows.values() if isinstance(part, list) for row in part]
    return {row["name"].removeprefix("OFA "): row for row in rows if "macs" in row}


def arithmetic(config: dict[str, Any], side: int) -> tuple[int, int]:
    """Parameters and multiply-accumulates of a chain of bottlenecks, added up from its table alone."""
    params = macs = 0

    def conv(inputs: int, outputs: int, kernel: int, positions: int, groups: int = 1, bias: bool = False, norm: bool = True) -> None:
        nonlocal params, macs
        weights = inputs * outputs * kernel * kernel // groups
        params += weights + outputs * bias + 2 * outputs * norm
        macs += weights * positions

    first = config["first_conv"]
    side = -(-side // 2)
    conv(3, first["out_channels"], 3, side * side)
    for block in config["blocks"]:
        layer = block["mobile_inverted_conv"]
        if layer["name"] == "ZeroLayer":
            continue
        inputs, outputs = layer["in_channels"], layer["out_channels"]
        middle = layer.get("mid_channels") or round(inputs * layer["expand_ratio"])
        if layer["expand_ratio"] != 1:
            conv(inputs, middle, 1, side * side)
        side = -(-side // layer["stride"])
        conv(middle, middle, layer["kernel_size"], side * side, groups=middle)
        if layer.get("use_se"):
            quarter = max(8, (middle // 4 + 4) // 8 * 8)
            quarter += 8 if quarter < 0.9 * (middle // 4) else 0
            conv(middle, quarter, 1, 1, bias=True, norm=False)
            conv(quarter, middle, 1, 1, bias=True, norm=False)
        conv(middle, outputs, 1, side * side)
    expand, mix, classifier = config.get("final_expand_layer"), config["feature_mix_layer"], config["classifier"]
    if expand is not None:
        conv(expand["in_channels"], expand["out_channels"], 1, side * side)
    conv(mix["in_channels"], mix["out_channels"], 1, 1 if expand else side * side, norm=bool(mix["use_bn"]))
    conv(classifier["in_features"], classifier["out_features"], 1, 1, bias=True, norm=False)
    return params, macs


@needs_data
@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_a_published_network_costs_what_is_published(path: Path) -> None:
    config = load_config(path)
    network = network_of(config).eval()
    name = path.name.removesuffix(".config").removesuffix(".net")
    row = published().get(name)
    side = 224 if row is None else int(row["input"].split("x")[-1])
    total = flopscope.analyze(network, f"1x3x{side}x{side}").total
    if row is not None:
        assert (total.params, total.macs) == (row["params"], row["macs"])
    if config["name"] != "PyramidTreeNet":
        assert (total.params, total.macs) == arithmetic(config, side)
    else:
        assert row is not None


@needs_data
def test_a_configuration_is_saved_as_it_was_loaded(tmp_path: Path) -> None:
    for path in files():
        config = load_config(path)
        save_config(network_of(config).config, tmp_path / path.name)  # type: ignore[arg-type]
        assert load_config(tmp_path / path.name) == config


def small() -> dict[str, Any]:
    def conv(inputs: int, outputs: int, kernel: int, stride: int) -> dict[str, Any]:
        return {"name": "ConvLayer", "kernel_size": kernel, "stride": stride, "in_channels": inputs, "out_channels": outputs, "bias": False,
                "use_bn": True, "act_func": "relu6", "ops_order": "weight_bn_act"}  # fmt: skip

    def block(inputs: int, outputs: int, stride: int, shortcut: bool) -> dict[str, Any]:
        layer = {
            "name": "MBInvertedConvLayer",
            "in_channels": inputs,
            "out_channels": outputs,
            "kernel_size": 3,
            "stride": stride,
            "expand_ratio": 3,
        }
        return {
            "name": "MobileInvertedResidualBlock",
            "mobile_inverted_conv": layer,
            "shortcut": {"name": "IdentityLayer"} if shortcut else None,
        }

    zero = {"mobile_inverted_conv": {"name": "ZeroLayer"}, "shortcut": {"name": "IdentityLayer"}}
    return {
        "name": "ProxylessNASNets", "bn": {"momentum": 0.1, "eps": 1e-3}, "first_conv": conv(3, 8, 3, 2),
        "blocks": [block(8, 16, 2, False), block(16, 16, 1, True), zero], "feature_mix_layer": conv(16, 32, 1, 1),
        "classifier": {"name": "LinearLayer", "in_features": 32, "out_features": 10, "bias": True},
    }  # fmt: skip


def test_a_small_network_adds_its_shortcut_and_leaves_zero_blocks_out() -> None:
    network: Any = network_of(small()).eval()
    x = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        y = network.blocks[0](network.first(x))
        y = y + network.blocks[1].body(y)
        wanted = network.classifier(network.mix(y).mean((2, 3)))
        assert torch.allclose(network(x), wanted, atol=1e-6)
    total = flopscope.analyze(network, "1x3x32x32").total
    assert (total.params, total.macs) == arithmetic(small(), 32)
    assert len(network.blocks) == 2


def _set(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        place: Any = config
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("name", value="Other"), "describes 'Other'"),
        (_set("blocks", value=3), "blocks must be a list"),
        (_set("blocks", 0, value=None), "a block must be a table"),
        (_set("first_conv", value=None), "there is no layer None"),
        (_set("first_conv", "act_func", value="swoosh"), "no activation 'swoosh'"),
        (_set("first_conv", "kernel_size", value=-3), "kernel_size = -3"),
        (_set("first_conv", "ops_order", value="odd"), "but 'odd' was found"),
        (_set("blocks", 0, "mobile_inverted_conv", "expand_ratio", value="3"), "the expansion '3'"),
        (_set("blocks", 0, "shortcut", value={}), "but changes the channels"),
        (_set("blocks", 2, "shortcut", value=None), "nothing would come out"),
        (_set("bn", value={"eps": 7}), "bn must have"),
    ],
)
def test_what_is_wrong_with_a_configuration_is_said(change: Callable[[dict[str, Any]], None], message: str) -> None:
    config = copy.deepcopy(small())
    change(config)
    with pytest.raises(GenotypeError, match=message):
        network_of(config)


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "net.config"
    with pytest.raises(GenotypeError, match="cannot read a network"):
        load_config(path)
    for text in ("{", "[1]", "[" * 100_000):
        path.write_text(text)
        with pytest.raises(GenotypeError, match="is no configuration"):
            load_config(path)


def test_it_is_compared_and_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "net.config"
    save_config(small(), path)
    found = CliRunner().invoke(main, ["compare", str(path), "--data", "digits", "--format", "csv"])
    assert found.exit_code == 2
    assert "images of 3 channels, but these have 1" in found.stderr
