"""The devices that flopscope knows, as a table."""

from __future__ import annotations

import json

from flopscope.latency.device import device, device_names
from flopscope.report.text import TableFormat, render, si


def devices_table(style: TableFormat = "table") -> str:
    """One row for each device: its peaks of matrix products in float32 and 16 bits, and its bandwidth.

    Raises:
        OptionError: there is no such format.
    """
    rows = []
    for name in device_names():
        found = device(name)
        half = found.peak_flops.get("float16") or found.peak_flops.get("bfloat16")
        rates = [si(round(found.peak("float32")), "FLOP/s"), "" if half is None else si(round(half), "FLOP/s")]
        rows.append([name, found.title, found.kind, *rates, si(round(found.bandwidth_bytes_per_second), "B/s")])
    return render(["name", "device", "kind", "float32", "float16", "memory"], rows, style, 3)


def devices_json() -> str:
    """The devices as plain data: names, what they are, and peaks per second."""
    found = [device(name) for name in device_names()]
    rows = [
        {
            "name": name,
            "title": one.title,
            "kind": one.kind,
            "peak_flops": dict(one.peak_flops),
            "bandwidth_bytes_per_second": one.bandwidth_bytes_per_second,
        }
        for name, one in zip(device_names(), found, strict=True)
    ]
    return json.dumps(rows, indent=2) + "\n"
