"""``report.latency`` and the commands on it."""

import csv
import io
import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from torch import nn

import flopscope
from flopscope.cli.main import main
from flopscope.errors import OptionError
from flopscope.latency.estimate import Estimate
from flopscope.latency.source import summed
from flopscope.report.latency import time_text
from tests.latency.devices import FULL, PLAIN


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x):
        return self.head(self.body(x) + x)


@pytest.fixture(scope="module")
def latency():
    return flopscope.analyze(Block(), "4x8x16x16").latency(PLAIN, ceilings=FULL)


def test_ops_modules_and_kinds_add_up_to_the_total(latency):
    total = latency.total.seconds
    assert sum(row.estimate.seconds for row in latency.ops) == pytest.approx(total)
    assert sum(row.estimate.seconds for row in latency.by_kind()) == pytest.approx(total)
    modules = {row.what: row for row in latency.by_module()}
    assert modules[""].estimate.seconds == pytest.approx(total)
    inner = [row for row in latency.ops if row.where.startswith("body")]
    assert modules["body"].estimate.seconds == pytest.approx(sum(row.estimate.seconds for row in inner))
    assert modules["body"].part == pytest.approx(modules["body.0"].part + modules["body.1"].part)
    assert [row.what for row in latency.by_module(depth=0)] == [""]
    assert {row.kind for row in latency.ops} == {"conv", "conv1x1", "elementwise"}


def test_bars_narrow_from_ops_to_the_whole(latency):
    total, (root, *_) = latency.total, latency.by_module()
    assert root.estimate.high == pytest.approx(total.high)
    body = next(row for row in latency.by_module() if row.what == "body").estimate
    op = latency.ops[0].estimate
    assert total.high / total.seconds < body.high / body.seconds < op.high / op.seconds == pytest.approx(FULL.op_factor)


def test_all_formats_tell_the_same(latency):
    facts = json.loads(latency.to_json())
    assert facts["total"]["seconds"] == latency.seconds
    assert [row["seconds"] for row in facts["ops"]] == [row.estimate.seconds for row in latency.ops]
    rows = list(csv.DictReader(io.StringIO(latency.to_csv())))
    assert [float(row["seconds"]) for row in rows] == [row.estimate.seconds for row in latency.ops]
    assert time_text(latency.seconds) in latency.to_text()
    assert "made up" in str(latency)
    assert "| body.0 " in latency.to_markdown().replace("|   ", "| ")
    assert "\\begin{tabular}" in latency.to_table("kind", "latex")


def test_bad_questions(latency):
    with pytest.raises(OptionError, match="by 'colour'"):
        latency.rows("colour")
    with pytest.raises(OptionError, match="depth"):
        latency.by_module(-1)


def test_any_source_of_times_will_do():
    class Table:
        name = "a table"

        def estimate(self, op):
            return Estimate.within(2.0, 1.5) if op.kind == "conv" else None if op.kind == "relu" else Estimate(1.0, 1.0, 1.0)

        def total(self, graph):
            return summed(self, graph)

    report = flopscope.analyze(Block(), "4x8x16x16")
    found = report.latency(Table())
    assert found.total.seconds == 5.0
    assert found.total.unknown == 1
    assert found.by_module()[0].estimate.unknown == 1
    assert "≥ 5.00 s" in found.to_text()
    with pytest.raises(OptionError, match="belong to a device"):
        report.latency(Table(), runtime="compile")
    with pytest.raises(OptionError, match="roofline"):
        _ = found.timed


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (1.234e-9, "1.23 ns"),
        (9.996e-7, "1.00 µs"),
        (0.0123, "12.3 ms"),
        (0.1234, "123 ms"),
        (2.0, "2.00 s"),
        (12345, "12,345 s"),
    ],
)
def test_times_as_text(seconds, text):
    assert time_text(seconds) == text


def run(*arguments):
    return CliRunner().invoke(main, list(arguments))


MODEL = "torchvision:squeezenet1_1"


def test_the_command(tmp_path):
    result = run("latency", MODEL, "--device", "rtx4090", "--amp", "float16", "--batch", "8", "--plot", str(tmp_path / "roofline.png"))
    assert result.exit_code == 0, result.output
    assert "calibrated on" in result.output
    assert (tmp_path / "roofline.png").stat().st_size > 10_000
    one, eight = (
        json.loads(run("latency", MODEL, "--device", "h100", "--batch", size, "--format", "json").stdout)["total"] for size in ("1", "8")
    )
    assert one["seconds"] < eight["seconds"] < 8 * one["seconds"]
    assert "not calibrated" in one["why"]


def test_a_device_and_ceilings_of_ones_own(tmp_path):
    (tmp_path / "my.toml").write_text(
        'kind = "gpu"\n[bandwidth_bytes_per_second]\nvalue = 1e11\nsource = "x"\n[peak_flops.float32]\nvalue = 1e12\nsource = "x"\n'
    )
    (tmp_path / "c.json").write_text(FULL.to_json())
    result = run("latency", MODEL, "--device", str(tmp_path / "my.toml"), "--ceilings", str(tmp_path / "c.json"), "--by", "kind")
    assert result.exit_code == 0, result.output
    assert "made up" in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["latency", MODEL, "--device", "rtx"], "there is no device 'rtx'"),
        (["latency", MODEL, "--device", "none.toml"], "cannot be read"),
        (["latency", MODEL, "--device", "t4", "--plot", "x.gif"], ".png"),
        (["latency", MODEL, "--device", "t4", "--ceilings", "none.json"], "cannot be read"),
        (["energy", MODEL, "--device", "m2"], "picojoules_per_mac"),
        (["energy", MODEL, "--device", "t4", "--grid", "green"], "carbon intensity"),
    ],
)
def test_what_cannot_be_done_is_one_message(arguments, said):
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.output
    assert "Traceback" not in result.output


def test_energy_and_devices():
    result = run("energy", MODEL, "--device", "t4", "--grid", "400g/kWh")
    assert result.exit_code == 0, result.output
    assert "CO2e at 400 g/kWh" in result.output
    facts = json.loads(run("energy", MODEL, "--device", "t4", "--grid", "400", "--format", "json").stdout)
    assert facts["carbon"]["grams"] == pytest.approx(facts["joules"] / 3.6e6 * 400)
    assert facts["joules"] < facts["most_joules"]
    assert "rtx4090" in run("devices").output


def test_torch_is_not_imported():
    code = "import flopscope.latency.roofline, flopscope.latency.fitting, flopscope.latency.energy, flopscope.report, sys; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"
