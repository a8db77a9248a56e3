"""Energy and carbon, worked out by hand."""

from dataclasses import replace

import pytest
from torch import nn

import flopscope
from flopscope.cli.latency import parse_grid
from flopscope.errors import OptionError
from flopscope.latency.energy import Energy, EnergySource
from flopscope.latency.roofline import Roofline
from tests.latency.devices import FULL, PLAIN, with_cache


def test_multiply_accumulates_and_bytes():
    report = flopscope.analyze(nn.Linear(64, 32), "16x64")
    found = report.energy(PLAIN, ceilings=FULL).total
    macs, bias = 16 * 64 * 32, 16 * 32
    moved = 4 * (16 * 64 + 64 * 32 + 32 + 16 * 32)
    assert found.arithmetic_joules == pytest.approx((macs + bias / 2) * 4e-12)
    assert found.memory_joules == pytest.approx(moved * 50e-12)
    assert found.cache_joules == 0
    assert found.joules == pytest.approx(found.arithmetic_joules + found.memory_joules)
    # 100 W for at most four times what the roofline says of one kernel
    assert found.most_joules == pytest.approx(100 * 4 * (moved / 1e11 + 1e-5))


def test_a_byte_from_the_cache_takes_less():
    report = flopscope.analyze(nn.Linear(64, 32, bias=False), "16x64")
    found = report.energy(with_cache(1e6), ceilings=FULL).total
    assert found.cache_joules == pytest.approx(4 * 64 * 32 * 2e-12)


def test_fewer_bits_take_less():
    report = flopscope.analyze(nn.Linear(64, 32, bias=False), "16x64")
    half = report.energy(PLAIN, ceilings=FULL, amp="float16").total
    assert half.arithmetic_joules == pytest.approx(16 * 64 * 32 * 1e-12)


def test_the_carbon_of_a_kilowatt_hour():
    hour = Energy(3.6e6, 0.0, 0.0, 7.2e6)
    assert hour.carbon(400) == (pytest.approx(400), pytest.approx(800))
    with pytest.raises(OptionError, match="grams per kWh"):
        hour.carbon(-1)


def test_devices_without_energies_say_so():
    with pytest.raises(OptionError, match="picojoules_per_mac"):
        EnergySource(Roofline("pixel1"))
    with pytest.raises(OptionError, match=r"picojoules_per_byte\.memory"):
        EnergySource(Roofline(replace(PLAIN, picojoules_per_byte={"cache": 1.0})))


def test_without_power_there_is_no_upper_bound():
    report = flopscope.analyze(nn.Linear(64, 32), "16x64")
    found = report.energy(replace(PLAIN, power_watts=0))
    assert found.total.most_joules is None
    assert "at most" not in found.to_text(400)


@pytest.mark.parametrize(("text", "grams"), [("400g/kWh", 400), ("400 g / kWh", 400), ("12.5g", 12.5), ("0", 0)])
def test_grids(text, grams):
    assert parse_grid(text) == grams


@pytest.mark.parametrize("text", ["", "-1", "400kg/kWh", "much", "4" * 99])
def test_what_is_no_grid(text):
    with pytest.raises(OptionError, match="carbon intensity"):
        parse_grid(text)
