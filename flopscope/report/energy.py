"""How much energy a model takes on a device, and the carbon of that, ready to be printed."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

from flopscope.graph import Graph
from flopscope.latency.energy import Energy, EnergySource

_PREFIXES = (("MJ", 1e6), ("kJ", 1e3), ("J", 1.0), ("mJ", 1e-3), ("µJ", 1e-6), ("nJ", 1e-9))
_GRAMS = (("t", 1e6), ("kg", 1e3), ("g", 1.0), ("mg", 1e-3), ("µg", 1e-6), ("ng", 1e-9))


class EnergyReport:
    """The energy of one call of a model on a device."""

    def __init__(self, graph: Graph, source: EnergySource) -> None:
        """Ask a source about a graph."""
        self.graph, self.source = graph, source

    @cached_property
    def total(self) -> Energy:
        """The energy of the call."""
        return self.source.total(self.graph)

    @property
    def joules(self) -> float:
        """What arithmetic and movement take: a lower bound."""
        return self.total.joules

    @property
    def notes(self) -> list[str]:
        """What a reader of the numbers must know."""
        found, device = self.total, self.source.roofline.device
        notes = ["at least: arithmetic and movement alone, without instructions, registers and leakage"]
        if found.most_joules is not None:
            notes.append(f"at most: {device.power_watts:g} W for as long as it may take ({self.source.roofline.ceilings.why})")
        if found.unknown:
            notes.append(f"no upper bound: {found.unknown} calls of ops have no rule")
        return [*notes, *self.graph.notes]

    def __str__(self) -> str:
        return self.to_text()

    def to_text(self, grams_per_kwh: float | None = None) -> str:
        """The bounds and their parts, and their carbon where the grams of CO2 equivalent per kilowatt-hour of the grid are given.

        Raises:
            OptionError: the intensity is negative.
        """
        found = self.total
        most = "" if found.most_joules is None else f", at most {quantity(found.most_joules, _PREFIXES)}"
        parts = {"arithmetic": found.arithmetic_joules, "memory": found.memory_joules, "cache": found.cache_joules}
        lines = [f"{self.graph.name}, {self.source.name}: at least {quantity(found.joules, _PREFIXES)}{most}"]
        lines += [f"  {name:<10} {quantity(joules, _PREFIXES):>8}" for name, joules in parts.items()]
        if grams_per_kwh is not None:
            least, top = found.carbon(grams_per_kwh)
            end = "" if top is None else f", at most {quantity(top, _GRAMS)}"
            lines.append(f"CO2e at {grams_per_kwh:g} g/kWh: at least {quantity(least, _GRAMS)}{end}")
        return "\n".join([*lines, *self.notes]) + "\n"

    def to_dict(self, grams_per_kwh: float | None = None) -> dict[str, Any]:
        """Everything as plain data.

        Raises:
            OptionError: the intensity is negative.
        """
        facts = {"model": self.graph.name, "source": self.source.name, **self.total.to_dict(), "notes": self.notes}
        if grams_per_kwh is not None:
            least, most = self.total.carbon(grams_per_kwh)
            facts["carbon"] = {"grams_per_kwh": grams_per_kwh, "grams": least, "most_grams": most}
        return facts

    def to_json(self, grams_per_kwh: float | None = None) -> str:
        """Everything as JSON."""
        return json.dumps(self.to_dict(grams_per_kwh), indent=2) + "\n"


def quantity(value: float, units: tuple[tuple[str, float], ...]) -> str:
    """A number with three digits in the largest unit in which it is one or more."""
    name, size = next(((name, size) for name, size in units if value >= 0.9995 * size), units[-1])
    scaled = value / size
    digits = 0 if scaled >= 99.95 or value == 0 else 1 if scaled >= 9.995 else 2
    return f"{scaled:,.{digits}f} {name}"
