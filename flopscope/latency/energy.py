"""Energy: what arithmetic and movement take at least, and what the device may draw meanwhile at most; and the carbon of that.

The lower bound is picojoules for each multiply-accumulate and each byte (Horowitz 2014, "Computing's energy problem", ISSCC, figure 1.1.9,
and successors). It leaves out instructions, registers, leakage and idle parts, which on a general processor take most of the energy. The
upper bound is the power that the device may draw for long, times the longest time of the latency estimate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from flopscope.cost import FLOPS_PER_MAC
from flopscope.errors import OptionError
from flopscope.graph import Graph, Op
from flopscope.latency.device import Device
from flopscope.latency.kernels import Kernel
from flopscope.latency.roofline import Roofline
from flopscope.rules import price

_PICO: Final = 1e-12
JOULES_PER_KWH: Final = 3.6e6


@dataclass(frozen=True, slots=True)
class Energy:
    """Joules."""

    arithmetic_joules: float
    memory_joules: float
    cache_joules: float
    most_joules: float | None
    """An upper bound; ``None`` where the power of the device is not known, or an op has no rule."""
    unknown: int = 0
    """Runs of ops whose cost is not known: the other numbers leave them out."""

    @property
    def joules(self) -> float:
        """What arithmetic and movement take: a lower bound of what the device takes."""
        return self.arithmetic_joules + self.memory_joules + self.cache_joules

    def carbon(self, grams_per_kwh: float) -> tuple[float, float | None]:
        """Grams of CO2 equivalent for both bounds, where a kilowatt-hour of the grid stands for so many.

        Raises:
            OptionError: the intensity is negative or no number.
        """
        if not 0 <= grams_per_kwh < math.inf:
            raise OptionError(f"the carbon intensity of a grid is a number of grams per kWh, 0 or more, but {grams_per_kwh!r} was given")
        per_joule = grams_per_kwh / JOULES_PER_KWH
        return self.joules * per_joule, None if self.most_joules is None else self.most_joules * per_joule

    def to_dict(self) -> dict[str, Any]:
        """The energy as plain data."""
        parts = {"arithmetic": self.arithmetic_joules, "memory": self.memory_joules, "cache": self.cache_joules}
        return {"joules": self.joules, "most_joules": self.most_joules, "parts": parts, "unknown": self.unknown}


class EnergySource:
    """The counterpart of a `flopscope.latency.source.LatencySource` for energy."""

    def __init__(self, roofline: Roofline) -> None:
        """Use the kernels and times of a roofline.

        Raises:
            OptionError: its device lists no energies.
        """
        found = roofline.device
        missing = [name for name in ("picojoules_per_mac", "picojoules_per_byte") if not getattr(found, name)]
        missing += ["picojoules_per_byte.memory"] if not missing and "memory" not in found.picojoules_per_byte else []
        if missing:
            raise OptionError(
                f"the device {found.name!r} has no {missing[0]}, so its energy cannot be told; add it to a TOML file of its own"
            )
        self.roofline = roofline

    @property
    def name(self) -> str:
        """What a report calls it."""
        return f"energy on {self.roofline.device.title}"

    def estimate(self, op: Op) -> Energy | None:
        """The energy of an op by itself, all its runs together; ``None`` where no rule prices it."""
        return (
            None
            if price(op.signature) is None
            else self.total(Graph(name="", ops=[Op(0, op.signature, op.inputs, op.outputs, op.scope, op.times)]))
        )

    def total(self, graph: Graph) -> Energy:
        """The energy of a whole graph."""
        time = self.roofline.total(graph)
        watts = self.roofline.device.power_watts
        most = watts * time.high if watts and not time.partial else None
        return energy_of(self.roofline.device, self.roofline.kernels(graph), most, time.unknown)


def energy_of(device: Device, kernels: Sequence[Kernel], most_joules: float | None = None, unknown: int = 0) -> Energy:
    """The energy of kernels: a multiply-accumulate as the device lists it, any other operation as half of one."""
    per_byte = device.picojoules_per_byte
    arithmetic = math.fsum(_macs(kernel) * device.energy_per_mac(kernel.dtype) for kernel in kernels) * _PICO
    memory = sum(kernel.memory_bytes for kernel in kernels) * per_byte["memory"] * _PICO
    cache = sum(kernel.cache_bytes for kernel in kernels) * per_byte.get("cache", per_byte["memory"]) * _PICO
    least = arithmetic + memory + cache
    return Energy(arithmetic, memory, cache, None if most_joules is None else max(most_joules, least), unknown)


def _macs(kernel: Kernel) -> float:
    return (kernel.matrix_flops + kernel.vector_flops) / FLOPS_PER_MAC
