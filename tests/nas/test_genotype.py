"""Genotypes, and the networks that they make: what they cost, to the last one, and that they run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import flopscope
from nas.errors import GenotypeError
from nas.genotype import Genotype, published
from nas.spaces.darts.network import CIFAR, IMAGENET, CellNetwork, NetworkShape
from nas.spaces.darts.operations import DARTS_OPERATIONS, OPERATIONS, operation
from nas.spaces.darts.supernet import CellSuperNet

COSTS = Path("published/costs.json")


def _uniform(name: str) -> Genotype:
    edges, concat = ((name, 0), (name, 1)) * 4, (2, 3, 4, 5)
    return Genotype(edges, concat, edges, concat)


def _data(**changes: Any) -> dict[str, Any]:
    cell = [["skip_connect", 0], ["sep_conv_3x3", 1], ["max_pool_3x3", 0], ["dil_conv_3x3", 2]]
    return {"normal": cell, "normal_concat": [2, 3], "reduce": cell, "reduce_concat": [2, 3]} | changes


GOOD = Genotype.from_dict(_data())


# -- reading and writing --------------------------------------------------------------------------------------


def test_json_round_trip(tmp_path: Path) -> None:
    GOOD.save(tmp_path / "genotype.json")
    assert Genotype.load(tmp_path / "genotype.json") == GOOD


def test_plain_data_round_trip() -> None:
    assert Genotype.from_dict(GOOD.to_dict()) == GOOD


def test_count() -> None:
    assert (GOOD.count("skip_connect"), GOOD.count("none")) == (2, 0)


def test_text_names_both_cells() -> None:
    assert "normal cell, output 2 3\n  2 = skip_connect(0) + sep_conv_3x3(1)" in str(GOOD)
    assert "reduction cell" in str(GOOD)


BAD = [
    ({"more": 1}, "has the keys normal, .*'more'"),
    ({"normal": 3}, "'normal' must be a list"),
    ({"normal": "skip_connect"}, "'normal' must be a list"),
    ({"normal": [3, 4]}, "holds 3"),
    ({"normal": [["skip_connect", "0"], ["skip_connect", 1]]}, r"holds \['skip_connect', '0'\]"),
    ({"normal": [["skip_connect", True], ["skip_connect", 1]]}, "holds"),
    ({"normal": [["skip_connect", 0, 1], ["skip_connect", 1]]}, "holds"),
    ({"normal": [[0, "skip_connect"], ["skip_connect", 1]]}, "holds"),
    ({"reduce": []}, "the reduce cell .* two edges for each node, but has 0"),
    ({"reduce": [["skip_connect", 0]] * 3}, "but has 3 edges"),
    ({"normal": [["skip_connect", 0], ["skip_connect", 2]]}, "edge 1 of the normal cell .*state 2, but node 0 can only see states 0 to 1"),
    ({"normal": [["skip_connect", 0], ["skip_connect", -1]]}, "state -1"),
    ({"normal_concat": []}, "the output of the normal cell"),
    ({"normal_concat": [2, 4]}, "states among 0 to 3"),
    ({"normal_concat": [-1]}, "states among 0 to 3"),
    ({"normal_concat": "23"}, "'normal_concat' must be a list of states"),
    ({"reduce_concat": [2.0]}, "'reduce_concat' must be a list of states"),
    ({"reduce_concat": None}, "'reduce_concat' must be a list of states"),
]


@pytest.mark.parametrize(("changes", "says"), BAD)
def test_bad_genotypes(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(GenotypeError, match=says):
        Genotype.from_dict(_data(**changes))


@pytest.mark.parametrize("key", list(_data()))
def test_a_missing_key(key: str) -> None:
    with pytest.raises(GenotypeError, match="a genotype has the keys normal, normal_concat, reduce, reduce_concat, but this has"):
        Genotype.from_dict({name: value for name, value in _data().items() if name != key})


@pytest.mark.parametrize("data", [None, 3, [1, 2], "text"])
def test_no_genotype_at_all(data: Any) -> None:
    with pytest.raises(GenotypeError, match=f"but this has {type(data).__name__}"):
        Genotype.from_dict(data)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", json.dumps(_data()).encode()[:-9], b"[" * 100_000])
def test_a_truncated_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "genotype.json").write_bytes(content)
    with pytest.raises(GenotypeError, match=r"genotype\.json is no JSON file"):
        Genotype.load(tmp_path / "genotype.json")


@pytest.mark.parametrize("name", ["missing.json", "."])
def test_a_file_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    with pytest.raises(GenotypeError, match="cannot read a genotype from"):
        Genotype.load(tmp_path / name)


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(GenotypeError, match="cannot write the genotype to"):
        GOOD.save(tmp_path / "missing" / "genotype.json")


# -- published ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("data")
def test_published_genotypes_load() -> None:
    found = published()
    assert {"DARTS_V1", "DARTS_V2", "PDARTS"} <= set(found)
    assert {name for genotype in found.values() for name, _ in (*genotype.normal, *genotype.reduce)} <= set(OPERATIONS)


@pytest.mark.usefixtures("data")
def test_one_published_genotype() -> None:
    assert published("DARTS_V2") == {"DARTS_V2": published()["DARTS_V2"]}


@pytest.mark.usefixtures("data")
def test_an_unknown_published_genotype_is_told_the_known_ones() -> None:
    with pytest.raises(GenotypeError, match=r"no published genotype 'DARTS_V9'.*DARTS_V2"):
        published("DARTS_V9")


def test_published_genotypes_without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOPSCOPE_DATA", raising=False)
    with pytest.raises(GenotypeError, match="set FLOPSCOPE_DATA"):
        published()


@pytest.mark.parametrize("content", [None, "", "{", "[1]", "3"])
def test_published_genotypes_from_a_bad_file(content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOPSCOPE_DATA", str(tmp_path))
    if content is not None:
        (tmp_path / "published").mkdir()
        (tmp_path / "published" / "genotypes.json").write_text(content)
    for name in (None, "DARTS_V2"):
        with pytest.raises(GenotypeError, match=r"FLOPSCOPE_DATA names .*genotypes\.json"):
            published(name)


# -- what networks cost ---------------------------------------------------------------------------------------


def _known() -> dict[str, Genotype]:
    return {**published(), "ALL_SKIP": _uniform("skip_connect"), "ALL_SEP3": _uniform("sep_conv_3x3")}


def _rows(data: Path) -> list[dict[str, Any]]:
    return [row for row in json.loads((data / COSTS).read_text()) if row["kind"].startswith("computed")]


@pytest.mark.parametrize("dataset", ["cifar10", "imagenet"])
def test_networks_cost_exactly_what_the_official_code_costs(dataset: str, data: Path) -> None:
    known, checked = _known(), set()
    shape, classes = (IMAGENET, 1000) if dataset == "imagenet" else (CIFAR, 10)
    for row in _rows(data):
        name = row["name"].split()[0]
        if name not in known or row["dataset"] != dataset:
            continue
        network = CellNetwork(known[name], shape, classes, auxiliary="+aux" in row["name"]).eval()
        total = flopscope.analyze(network, row["input"]).total
        assert (total.macs, total.params) == (row["macs"], row["params"]), row["name"]
        checked.add(row["name"])
    assert len(checked) == 14
    assert {"ALL_SKIP no-aux", "ALL_SEP3 +aux", "DARTS_V1 +aux", "PDARTS no-aux"} <= checked


def test_the_supernet_costs_exactly_what_the_official_code_costs(data: Path) -> None:
    row = next(row for row in _rows(data) if row["name"] == "DARTS search supernet C=16 layers=8")
    supernet = CellSuperNet(DARTS_OPERATIONS, 4, NetworkShape(16, 8), 10).eval()
    supernet.plain = True
    total = flopscope.analyze(supernet, row["input"]).total
    assert (total.macs, total.params - 2 * 14 * 8) == (row["macs"], row["params"])


# -- networks run ---------------------------------------------------------------------------------------------

MIXED = Genotype.from_dict(
    _data(
        normal=[["sep_conv_3x3", 0], ["skip_connect", 1], ["avg_pool_3x3", 2], ["dil_conv_5x5", 0]],
        reduce=[["skip_connect", 0], ["max_pool_3x3", 1], ["sep_conv_5x5", 2], ["dil_conv_3x3", 1]],
    )
)


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize("channels_in", [1, 3])
@pytest.mark.parametrize("side", [8, 28, 30, 32])
def test_networks_run_on_images_of_any_size(side: int, channels_in: int, stem: str) -> None:
    torch.manual_seed(0)
    network = CellNetwork(MIXED, NetworkShape(4, 4, stem), 7, channels_in, auxiliary=True).train()
    network.drop_path = 0.2
    logits, auxiliary = network(torch.randn(3, channels_in, side, side))
    assert logits.shape == auxiliary.shape == (3, 7)
    assert logits.isfinite().all()
    assert auxiliary.isfinite().all()
    assert network.eval()(torch.randn(1, channels_in, side, side)).shape == (1, 7)


@pytest.mark.usefixtures("data")
def test_published_networks_run() -> None:
    for name, genotype in published().items():
        network = CellNetwork(genotype, NetworkShape(4, 4), 10).eval()
        with torch.no_grad():
            assert network(torch.randn(2, 3, 17, 17)).isfinite().all(), name


@pytest.mark.parametrize("size", [8, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_keeps_channels_and_rounds_resolution_up(name: str, stride: int, size: int) -> None:
    out = operation(name, 6, stride, search=False)(torch.randn(2, 6, size, size))
    assert out.shape == (2, 6, -(-size // stride), -(-size // stride))


def test_auxiliary_head_is_none_without_one() -> None:
    logits, auxiliary = CellNetwork(GOOD, NetworkShape(4, 3), 10).train()(torch.randn(2, 3, 8, 8))
    assert logits.shape == (2, 10)
    assert auxiliary is None


def test_an_unknown_operation() -> None:
    bad = Genotype.from_dict(_data(normal=[["conv_9x9", 0], ["skip_connect", 1]], normal_concat=[2]))
    with pytest.raises(GenotypeError, match=r"no operation 'conv_9x9'; there are .*sep_conv_3x3"):
        CellNetwork(bad)


@pytest.mark.parametrize("shape", [(3, 4, "cifar"), (0, 4, "cifar"), (4, 0, "cifar"), (4, 4, "mnist")])
def test_a_bad_shape(shape: tuple[int, int, str]) -> None:
    with pytest.raises(GenotypeError, match="a network of cells needs"):
        NetworkShape(*shape)
