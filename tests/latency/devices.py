"""A device whose times can be worked out by hand."""

from dataclasses import replace

from flopscope.latency.ceilings import Ceilings
from flopscope.latency.device import Device
from flopscope.latency.families import CONTRACTIONS, FAMILIES

PLAIN = Device(
    name="plain",
    title="Plain",
    kind="gpu",
    peak_flops={"float32": 1e12, "float16": 4e12},
    vector_flops={"float32": 1e15},
    bandwidth_bytes_per_second=1e11,
    launch_seconds=1e-5,
    power_watts=100,
    picojoules_per_mac={"float32": 4.0, "float16": 1.0},
    picojoules_per_byte={"memory": 50.0, "cache": 2.0},
)
FULL = Ceilings(
    compute=dict.fromkeys(CONTRACTIONS, 1.0),
    bandwidth=dict.fromkeys(FAMILIES, 1.0),
    launch_seconds=1e-5,
    cache_speedup=10.0,
    factor=2.0,
    launch_factor=2.0,
    why="made up",
    calibrated=True,
)
"""Every peak is reached."""


def with_cache(size: float) -> Device:
    return replace(PLAIN, cache_bytes=size)
