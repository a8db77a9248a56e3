"""Published tables of blocks. What they say is compared with sums made here of the files as text, and with published counts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from flopscope.errors import InputError, OptionError
from flopscope.frontends.torch.trace import trace
from flopscope.latency.block import Block
from flopscope.latency.blocks import BlockTable, fbnet_key, fbnet_tables
from flopscope.latency.configs import blocks_of_config, image_size_of
from flopscope.latency.matching import blocks_of
from flopscope.latency.source import LatencySource

pytest.importorskip("yaml")

KEY = "expanded_conv-input:28x28x40-output:28x28x40-expand:3-kernel:5-stride:1-idskip:1"
TEXT = f"{KEY}:\n  count: 10\n  mean: 3.0\n  var: 0.25\nConv-input:8x8x3-output:4x4x2:\n  count: 5\n  mean: 2\n  std: 0.1\n"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "table.yaml"
    path.write_text(text)
    return path


def test_a_key_names_a_block_and_back() -> None:
    for key in (KEY, "Conv-input:224x224x3-output:112x112x32", "Logits-input:1x1x1536-output:1000",
                "expanded_conv-input:7x7x192-output:7x7x192-expand:576-kernel:3-stride:1-idskip:1-se:1-hs:1"):  # fmt: skip
        assert Block.parse(key).key == Block.parse(f"{key}:").key == key
    block = Block.parse(KEY)
    assert (block.input, block.expand, block.kernel, block.middle) == ((28, 28, 40), 3, 5, 120)
    assert Block.parse("expanded_conv-input:7x7x4-output:7x7x4-expand:9-kernel:3-stride:1-idskip:1-se:0-hs:0").middle == 9


def test_the_work_of_a_block_is_that_of_its_convolutions() -> None:
    positions = 28 * 28
    assert Block.parse(KEY).cost.macs == positions * (40 * 120 + 120 * 25 + 120 * 40)
    strided = Block.parse("expanded_conv-input:9x9x4-output:5x5x6-expand:1-kernel:3-stride:2-idskip:0")
    assert strided.cost.macs == 25 * (4 * 9 + 4 * 6)  # without an expansion there is no first convolution
    squeezing = Block.parse("expanded_conv-input:7x7x32-output:7x7x32-expand:96-kernel:3-stride:1-idskip:1-se:1-hs:1")
    assert squeezing.cost.macs == 49 * (32 * 96 + 96 * 9 + 96 * 32) + 2 * 96 * 24
    assert Block.parse("Conv-input:8x8x3-output:4x4x5").cost.macs == 16 * 3 * 5 * 9
    assert Block.parse("Logits-input:7x7x10-output:4").cost.macs == 40


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("expanded_conv", "needs an input and an output"),
        ("dance-input:1x1x1-output:1x1x1", "no kind of block 'dance'"),
        (KEY.replace("kernel:5", "kernel:-5"), "is not understood"),
        (KEY.replace("28x28x40", "28x40"), "is not understood"),
        (KEY.replace("-kernel:5", ""), "needs an expansion, a kernel"),
        (KEY.replace("stride:1", "stride:2"), "cannot go from 28x28x40 to 28x28x40 with a stride of 2"),
        (KEY.replace("output:28x28x40", "output:28x28x48"), "cannot add its input"),
        (KEY + "-idskip:1", "is not understood"),
    ],
)
def test_what_is_no_block(key: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        Block.parse(key)


def test_a_table_answers_by_key(tmp_path: Path) -> None:
    table = BlockTable.load(written(tmp_path, TEXT))
    assert isinstance(table, LatencySource)
    found = table.of(KEY)
    assert found.seconds == 0.003
    assert found.high == pytest.approx(0.003 + 1.6449 * 0.0005, rel=1e-5)  # nine in ten of a normal distribution, from its variance
    assert table.of(Block.parse(KEY)) == found
    both = table.total_of([KEY, KEY, "Conv-input:8x8x3-output:4x4x2"])
    assert (both.seconds, both.unknown) == (pytest.approx(0.008), 0)
    lacking = table.total_of([KEY, "Conv-input:8x8x3-output:4x4x3"])
    assert (lacking.seconds, lacking.unknown) == (0.003, 1)
    assert "without Conv-input:8x8x3-output:4x4x3" in lacking.why
    with pytest.raises(OptionError, match=r"no time for the block .*the nearest that it has is 'Conv-input:8x8x3-output:4x4x2'"):
        table.of("Conv-input:8x8x3-output:4x4x3")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no table of blocks"),
        ("- 1\n- 2\n", "is no table of blocks"),
        ("a: [1, 2\n", "read safely"),
        ("Conv-input:8x8x3-output:4x4x2: !!python/object/apply:os.system ['touch ran']\n", "read safely"),
        (TEXT + f"{KEY}:\n  count: 1\n  mean: 9\n  var: 1\n", "is there twice"),
        ("a: &a [1, 1]\nb: &b [*a, *a]\n", "aliases are not allowed"),
        ("[" * 5000, "read safely"),
        ("7: {mean: 1, count: 1, std: 1}\n", "no table of blocks"),
        ("dance: {mean: 1, count: 1, std: 1}\n", "needs an input and an output"),
        (TEXT.replace("mean: 3.0", "mean: soon"), "'soon' is no number"),
        (TEXT.replace("mean: 3.0", "mean: .nan"), "nan is no number"),
        (TEXT.replace("mean: 3.0", "mean: -3.0"), "-3.0 is no number"),
        (TEXT.replace("mean: 3.0", "mean: true"), "True is no number"),
        (TEXT.replace("var: 0.25", "var: -1"), "-1 is no variance"),
        (TEXT.replace("  var: 0.25\n", ""), "'var' is missing"),
    ],
)
def test_damaged_tables_are_refused(tmp_path: Path, text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError, match=re.escape(message)):
        BlockTable.load(written(tmp_path, text))
    assert not Path("ran").exists()


def test_files_that_are_not_there(tmp_path: Path) -> None:
    for load in (BlockTable.load, fbnet_tables, blocks_of_config, image_size_of):
        with pytest.raises(OptionError, match=re.escape(str(tmp_path / "none"))):
            load(tmp_path / "none")  # type: ignore[operator]


class Bottleneck(nn.Module):
    def __init__(self, c: int, out: int, ratio: int, kernel: int, stride: int, skip: bool) -> None:
        super().__init__()
        wide = c * ratio
        first = [nn.Conv2d(c, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.ReLU6()] if ratio > 1 else []
        depthwise = nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False)
        self.layers = nn.Sequential(
            *first, depthwise, nn.BatchNorm2d(wide), nn.ReLU6(), nn.Conv2d(wide, out, 1, bias=False), nn.BatchNorm2d(out)
        )
        self.skip = skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x) if self.skip else self.layers(x)


def test_blocks_are_found_in_a_graph(tmp_path: Path) -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU6(),
        Bottleneck(8, 4, 1, 3, 1, False), Bottleneck(4, 4, 6, 5, 1, True), Bottleneck(4, 4, 6, 5, 1, False), Bottleneck(4, 6, 3, 7, 2, False),
        nn.Conv2d(6, 20, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(20, 10),
    ).eval()  # fmt: skip
    graph = trace(net, (torch.empty(1, 3, 18, 18),), {})
    wanted = [
        "Conv-input:18x18x3-output:9x9x8",
        "expanded_conv-input:9x9x8-output:9x9x4-expand:1-kernel:3-stride:1-idskip:0",
        "expanded_conv-input:9x9x4-output:9x9x4-expand:6-kernel:5-stride:1-idskip:1",
        "expanded_conv-input:9x9x4-output:9x9x4-expand:6-kernel:5-stride:1-idskip:0",
        "expanded_conv-input:9x9x4-output:5x5x6-expand:3-kernel:7-stride:2-idskip:0",
        "Conv_1-input:5x5x6-output:5x5x20",
        "Logits-input:5x5x20-output:10",
    ]
    blocks, others = blocks_of(graph)
    assert ([block.key for block in blocks], others) == (wanted, [])
    macs = sum(block.cost.macs for block in blocks)
    assert macs == 81 * 27 * 8 + 81 * (72 + 32) + 2 * 81 * 24 * (4 + 25 + 4) + 81 * 48 + 25 * 12 * (49 + 6) + 25 * 120 + 200
    entries = [f"{key}:\n  count: 1\n  mean: {2**position}\n  std: 0\n" for position, key in enumerate(wanted)]
    table = BlockTable.load(written(tmp_path, "".join(entries)))
    assert table.total(graph).seconds == pytest.approx((2**7 - 1) / 1000)
    assert table.total(graph).unknown == 0
    shorter = BlockTable.load(written(tmp_path, "".join(entries[:-1])))
    assert (shorter.total(graph).unknown, shorter.total(graph).seconds) == (1, pytest.approx((2**6 - 1) / 1000))


def test_what_belongs_to_no_block_is_unknown(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 5), nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 2, (1, 3)))
    table = BlockTable.load(written(tmp_path, TEXT))
    found = table.total(trace(net, (torch.empty(1, 3, 12, 12),), {}))
    assert (found.seconds, found.unknown) == (0, 3)
    assert "3 ops belong to no block" in found.why


@pytest.mark.parametrize(("network", "mmacs", "lacking"), [("mobile", 320, 3), ("cpu", 439, 23), ("gpu", 465, 17)])
def test_published_networks(data: Path, network: str, mmacs: int, lacking: int) -> None:
    """320 M, 439 M and 465 M are what the authors' repository states; blocks that the table lacks have other widths than its space."""
    folder = data / "nas" / "proxylessnas"
    blocks = blocks_of_config(folder / f"proxyless_{network}.config")
    assert round(sum(block.cost.macs for block in blocks) / 1e6) == mmacs
    means = dict(re.findall(r"^(\S+):\n(?:  .*\n)*?  mean: (\S+)", (folder / "mobile_trim.yaml").read_text(), re.MULTILINE))
    table = BlockTable.load(folder / "mobile_trim.yaml")
    assert len(table.times) == len(means) == 72
    found = table.total_of(blocks)
    assert found.unknown == lacking
    assert found.seconds * 1000 == pytest.approx(sum(float(means.get(block.key, 0)) for block in blocks), rel=1e-12)


def test_networks_of_once_for_all(data: Path) -> None:
    """The name of a network says how many multiply-accumulates it has, squeeze-and-excitation included."""
    folder = data / "nas" / "ofa"
    blocks = blocks_of_config(folder / "flops-482M_top1-79.6_finetune-75.net.config")
    assert round(sum(block.cost.macs for block in blocks) / 1e6) == 482
    table = BlockTable.load(folder / "note10_224_lookup_table.yaml")
    assert table.total_of(blocks).unknown == 0
    assert image_size_of(folder / "flops-482M_top1-79.6_finetune-75.run.config") == 224
    with pytest.raises(OptionError, match="describes 'PyramidTreeNet'"):
        blocks_of_config(data / "nas" / "proxylessnas" / "proxyless_cifar.config")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("blocks"), "'blocks' is missing"),
        (lambda content: content["first_conv"].update(out_channels="many"), "'many' is no size"),
        (lambda content: content["first_conv"].update(out_channels=33), "takes 32 channels, where the one before it makes 33"),
        (lambda content: content["blocks"][1]["mobile_inverted_conv"].update(stride=0), "0 is no size"),
        (lambda content: content.update(blocks=7), "TypeError|not iterable"),
        (lambda content: content.update(name="Net"), "describes 'Net'"),
    ],
)
def test_damaged_networks_are_refused(data: Path, tmp_path: Path, change: object, message: str) -> None:
    content = json.loads((data / "nas" / "proxylessnas" / "proxyless_mobile.config").read_text())
    change(content)  # type: ignore[operator]
    (tmp_path / "net.config").write_text(json.dumps(content))
    with pytest.raises(OptionError, match=message):
        blocks_of_config(tmp_path / "net.config")


def test_fbnet(data: Path) -> None:
    """The sums over layers are the latencies that were measured, of which the table was made."""
    import csv
    import gzip

    tables = fbnet_tables(data / "nas" / "fbnet_lut.json")
    assert sorted(tables) == ["eyeriss", "fpga", "pixel3", "raspi4"]
    ops = json.loads((data / "nas" / "fbnet_lut.json").read_text())["ops"]
    with gzip.open(data / "nas" / "fbnet.csv.gz", "rt") as file:
        rows = [row for _, row in zip(range(50), csv.DictReader(file), strict=False)]
    for device in ("eyeriss", "fpga", "raspi4"):
        assert min(estimate.seconds for estimate in tables[device].times.values()) == 0
        for row in rows:
            keys = [fbnet_key(layer, ops[int(choice)]) for layer, choice in enumerate(row["op_idx"].split())]
            assert tables[device].total_of([*keys, "rest"]).seconds * 1000 == pytest.approx(float(row[device]), abs=1e-5)


@pytest.mark.parametrize("text", ["{}", "[]", '{"ops": ["a"], "luts": {"d": {"const": 1, "table": [[1, 2]]}}}', "[" * 10**5,
                                  '{"ops": ["a"], "luts": {"d": {"const": NaN, "table": [[1]]}}}', '{"ops": ["a"], "luts": {"d": {"const": -9, "table": [[1]]}}}'])  # fmt: skip
def test_damaged_fbnet_tables_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "lut.json").write_text(text)
    with pytest.raises(OptionError, match="is no table of FBNet's blocks"):
        fbnet_tables(tmp_path / "lut.json")
