"""Measuring this machine: what its processor reaches in products and in movement, what an op costs beside, and how networks run on it.

A device is measured with loops of one op; its ceilings are those that explain small whole networks best (`flopscope.latency.fitting`), so
that the error bar is one of whole networks: each fifth of them is told by the others.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from flopscope.errors import OptionError
from flopscope.latency.calibration_models import NETWORKS, Network
from flopscope.latency.ceilings import Ceilings, file_name
from flopscope.latency.device import HERE, Device, parse_device
from flopscope.latency.fitting import Work, calibrated
from flopscope.latency.kernels import Kernel, kernels
from flopscope.latency.table.eager import running
from flopscope.latency.table.rounds import LEAST_ROUNDS, MOST_ROUNDS, STEADY, WARM_UP, Clock, is_steady
from flopscope.latency.table.setting import Setting

_PRODUCT_SIZES: Final = (256, 512, 1024)
_SHORT, _LONG = 2**14, 2**25
"""Elements of a vector that lies in the first cache, and of one that lies in memory alone."""
_LAYERS: Final = 10
_FORM: Final = '{{ value = {:.6g}, source = "{}" }}'
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Calibration:
    """A machine as it was measured.

    Attributes:
        device: what it does at best, in loops of one op.
        toml: the same as text.
        ceilings: what it reaches in networks.
        seconds: what the networks took, by name.
        noisy: those whose median is not known within 5 %.
    """

    device: Device
    toml: str
    ceilings: Ceilings
    seconds: Mapping[str, float]
    noisy: Sequence[str]

    def save(self, folder: Path) -> tuple[Path, Path]:
        """Write the device and its ceilings; returns where.

        Raises:
            OptionError: they cannot be written.
        """
        paths = folder / f"{HERE}.toml", folder / file_name(HERE, "eager", None)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            paths[0].write_text(self.toml, encoding="utf-8")
            paths[1].write_text(self.ceilings.to_json(), encoding="utf-8")
        except OSError as error:
            raise OptionError(f"the calibration cannot be written into {folder}: {error.strerror or error}") from error
        return paths


def calibrate(
    threads: int = 1, networks: Sequence[Network] = NETWORKS, progress: Progress | None = None, clock: Clock = time.perf_counter
) -> Calibration:
    """Measure this machine's processor, as PyTorch uses it in float32. Takes a minute or so.

    Args:
        threads: how many PyTorch may use.
        networks: what the ceilings are fitted to.
        progress: told what is measured, and how far it is.
        clock: seconds.

    Raises:
        OptionError: the machine has not so many cores, or there are fewer than ten networks.
    """
    setting = Setting.here("eager", threads)
    tell = progress or (lambda *_: None)
    tell(0, len(networks), "products and bandwidth")
    with running(threads):
        toml = device_text(setting, peaks(clock))
    device = parse_device(toml, HERE, "what was measured")
    found: list[Sequence[Kernel]] = []
    seconds: dict[str, float] = {}
    noisy = []
    for number, network in enumerate(networks, 1):
        tell(number, len(networks), network.name)
        model, example = network.build()
        found.append(_kernels(model, example, device))
        with running(threads):
            runs = network_runs(partial(model, example), clock)
        seconds[network.name] = statistics.median(runs)
        if not is_steady(runs, STEADY):
            noisy.append(network.name)
    why = f"calibrated on this machine: {len(networks)} small networks in {setting}"
    families = [network.family for network in networks]
    ceilings = calibrated(device, Work.of(device, found), list(seconds.values()), why, families)
    return Calibration(device, toml, ceilings, seconds, noisy)


def _kernels(model: Any, example: Any, device: Device) -> list[Kernel]:
    import flopscope

    return kernels(flopscope.analyze(model, example).graph, cache_bytes=device.cache_bytes)


def network_runs(run: Callable[[], object], clock: Clock) -> list[float]:
    """The seconds of runs that count, until their median is steady, or there are enough."""
    runs: list[float] = []
    for number in range(WARM_UP + MOST_ROUNDS):
        start = clock()
        run()
        if number >= WARM_UP:
            runs.append(clock() - start)
        if len(runs) >= LEAST_ROUNDS and is_steady(runs):
            break
    return runs


# -- the device ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Peaks:
    """What loops of one op reach. Rates are per second."""

    product_flops: float
    vector_flops: float
    bandwidth_bytes: float
    cache_bandwidth_bytes: float
    launch_seconds: float
    cache_bytes: int


def peaks(clock: Clock) -> Peaks:
    """Measure them."""
    import torch

    best = 0.0
    for size in _PRODUCT_SIZES:
        a, b, c = (torch.full((size, size), 0.5) for _ in range(3))
        best = max(best, 2 * size**3 / _fastest(partial(torch.mm, a, b, out=c), clock))
    short, long = (torch.full((size,), 0.5) for size in (_SHORT, _LONG))
    short_out, long_out, tiny = torch.empty_like(short), torch.empty_like(long), torch.zeros(1)
    launch = _fastest(lambda: torch.neg(tiny, out=tiny), clock)
    vector = _fastest(lambda: torch.addcmul(short, short, short, out=short_out), clock)
    cached = _fastest(lambda: torch.neg(short, out=short_out), clock)
    moved = _fastest(lambda: torch.neg(long, out=long_out), clock)
    return Peaks(
        product_flops=best,
        vector_flops=2 * _SHORT / max(1e-9, vector - launch),
        bandwidth_bytes=2 * 4 * _LONG / moved,
        cache_bandwidth_bytes=2 * 4 * _SHORT / max(1e-9, cached - launch),
        launch_seconds=_op_seconds(clock),
        cache_bytes=last_cache_bytes(),
    )


def _op_seconds(clock: Clock) -> float:
    """What an op takes that has next to nothing to do, with the module that calls it: a convolution, a norm and an activation."""
    from torch import nn, zeros

    layers = [layer for _ in range(_LAYERS) for layer in (nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.ReLU())]
    return _fastest(partial(nn.Sequential(*layers).eval(), zeros(1, 8, 2, 2)), clock) / len(layers)


def _fastest(run: Callable[[], object], clock: Clock) -> float:
    """The seconds of a run in the best of several loops: a ceiling is what is reached when nothing else runs."""
    times = 1
    while True:  # a loop must be much longer than the clock takes
        start = clock()
        for _ in range(times):
            run()
        if clock() - start > 2e-3 or times > 10**6:
            break
        times *= 4
    found = []
    for _ in range(LEAST_ROUNDS):
        start = clock()
        for _ in range(times):
            run()
        found.append((clock() - start) / times)
    return min(found)


def last_cache_bytes(root: Path = Path("/sys/devices/system/cpu/cpu0/cache")) -> int:
    """The size of the last cache before memory, as Linux tells it; 0 where it does not."""
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    found = []
    for path in root.glob("index*/size"):
        try:
            text = path.read_text(encoding="utf-8").strip()
            found.append(int(text[:-1]) * units[text[-1]])
        except (OSError, ValueError, KeyError, IndexError):  # a system may hide what it has
            continue
    return max(found, default=0)


def device_text(setting: Setting, found: Peaks) -> str:
    """A device as TOML, each number with how it was measured."""
    how = f"with {setting.threads} thread{'s' if setting.threads > 1 else ''} of PyTorch {setting.version}"
    product = f"measured {how}: the fastest product of square matrices of {', '.join(map(str, _PRODUCT_SIZES))} rows"
    vector = f"measured {how}: a + b * c on vectors of {_SHORT} numbers, without the launch"
    moved = f"measured {how}: the negative of {_LONG} numbers, read and written"
    near = f"measured {how}: the negative of {_SHORT} numbers, without the launch"
    launch = f"measured {how}: a convolution, a norm and an activation of 8 channels of 4 pixels, the mean"
    lines = [
        f"title = {json.dumps(setting.machine)}",
        'kind = "cpu"',
        f"peak_flops.float32 = {_FORM.format(found.product_flops, product)}",
        f"vector_flops.float32 = {_FORM.format(found.vector_flops, vector)}",
        f"bandwidth_bytes_per_second = {_FORM.format(found.bandwidth_bytes, moved)}",
        f"cache_bandwidth_bytes_per_second = {_FORM.format(found.cache_bandwidth_bytes, near)}",
        f"launch_seconds = {_FORM.format(found.launch_seconds, launch)}",
    ]
    if found.cache_bytes:
        lines.append(f'cache_bytes = {{ value = {found.cache_bytes}, source = "the operating system" }}')
    return "\n".join(lines) + "\n"


def lines_of(found: Calibration) -> Iterator[str]:
    """What to tell of a calibration."""
    device, ceilings = found.device, found.ceilings
    peak, bandwidth = device.peak_flops["float32"] / 1e9, device.bandwidth_bytes_per_second / 1e9
    yield f"{device.title}: {peak:.0f} GFLOPs/s in products, {bandwidth:.1f} GB/s"
    yield f"an op takes {1e6 * ceilings.launch_seconds:.1f} µs beside its work"
    yield f"nine networks in ten are within a factor of {ceilings.factor:.2f} ({len(found.seconds)} small ones, families told by others)"
    if found.noisy:
        yield f"noisy: {', '.join(found.noisy)}; calibrate again when nothing else runs"
