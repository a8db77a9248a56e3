"""Calibration: the ceilings that explain measured times best.

Few numbers with a meaning are fitted, all in logarithms: the part of the peak for each family of contractions, the part of the bandwidth
for each family, the overhead of a launch, the speed of the cache, and how far arithmetic and movement overlap. The error is that of the
logarithm of the time, softened for outliers, and every number is drawn to its default as if that had been measured with the error in
`SPREAD`.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from flopscope.errors import OptionError
from flopscope.latency.ceilings import VECTOR, Ceilings, assumed
from flopscope.latency.device import Device
from flopscope.latency.families import CONTRACTIONS, FAMILIES
from flopscope.latency.kernels import Kernel

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, numpy.dtype[numpy.float64]]

SPREAD: Final = {"compute": 0.7, "bandwidth": 0.4, "launch": 0.8, "cache": 0.5, "overlap": 1.0}
"""How far, as a logarithm, a number may well be from its default. Of the overlap, the logarithm of its odds."""
_WEIGHT: Final = 0.3
"""What a default weighs, against one measured model."""
_OUTLIER: Final = 0.2
"""From this error of the logarithm on, a model counts less than by its square."""
_MOST: Final = {"conv": 1.5}
"""The largest part of a peak that is believed: 1, but for what Winograd's algorithm can do with fewer multiplications."""
_START_OVERLAP: Final = 0.5
_ALL_HIDDEN: Final = 1e12
"""The odds of an overlap of 1."""
_LEAST_LAUNCHES: Final = 0.05
"""Where launches take less of the time than this, their overhead is not told by it."""
_FOLDS: Final = 5
_CONTRACTIONS: Final = len(CONTRACTIONS)
_FAMILIES: Final = len(FAMILIES)


@dataclass(frozen=True)
class Work:
    """The kernels of several models as arrays, at the peaks of a device: seconds."""

    models: int
    model: Any
    """The number of the model that a kernel belongs to."""
    family: Any
    matrix: Array
    vector: Array
    memory: Array
    cache: Array
    launches: Array

    @staticmethod
    def of(device: Device, models: Sequence[Sequence[Kernel]]) -> Work:
        """The work of models on a device. Equal kernels of a model are put together."""
        import numpy

        order = (*CONTRACTIONS, *(family for family in FAMILIES if family not in CONTRACTIONS))
        place = {family: number for number, family in enumerate(order)}
        rows: dict[tuple[Any, ...], float] = {}
        for number, found in enumerate(models):
            for kernel in found:
                key = (number, place[kernel.family], *_at_peak(device, kernel))
                rows[key] = rows.get(key, 0) + kernel.launches
        table = numpy.array([(*key, launches) for key, launches in rows.items()], dtype=float).reshape(len(rows), 7)
        columns = [table[:, i] for i in range(7)]
        return Work(len(models), columns[0].astype(int), columns[1].astype(int), *columns[2:])

    def only(self, models: Sequence[int]) -> Work:
        """The work of some of the models, in the order given."""
        import numpy

        number = numpy.full(self.models, -1)
        number[list(models)] = range(len(models))
        new = number[self.model]
        kept = new >= 0
        names = ("family", "matrix", "vector", "memory", "cache", "launches")
        return Work(len(models), new[kept], *(getattr(self, name)[kept] for name in names))

    def seconds(self, numbers: Array) -> Array:
        """The time of each model, by the logarithms of the fitted numbers."""
        import numpy

        values = numpy.exp(numbers)
        part = numpy.concatenate([values[:_CONTRACTIONS], numpy.ones(_FAMILIES - _CONTRACTIONS)])
        compute = numpy.maximum(self.matrix / part[self.family], self.vector / VECTOR)
        launch, speedup, odds = values[_CONTRACTIONS + _FAMILIES :]
        moved = (self.memory + self.cache / speedup) / values[_CONTRACTIONS : _CONTRACTIONS + _FAMILIES][self.family]
        hidden = odds / (1 + odds)
        each = numpy.maximum(compute, moved) + (1 - hidden) * numpy.minimum(compute, moved) + launch
        return numpy.bincount(self.model, each * self.launches, self.models).astype(float)


def _at_peak(device: Device, kernel: Kernel) -> tuple[float, float, float, float]:
    """Seconds of one launch at the peaks: of matrix units, of other arithmetic, of memory, and of the cache if it were memory."""
    peak = device.vector(kernel.dtype) if kernel.family == "depthwise" else device.peak(kernel.dtype)
    times, bandwidth = kernel.launches, device.bandwidth_bytes_per_second
    flops = kernel.matrix_flops / times / peak, kernel.vector_flops / times / device.vector(kernel.dtype)
    return (*flops, kernel.memory_bytes / times / bandwidth, kernel.cache_bytes / times / bandwidth)


def calibrated(device: Device, work: Work, seconds: Sequence[float], why: str, relatives: Sequence[Hashable] | None = None) -> Ceilings:
    """The ceilings of a device from the measured times of models.

    The error bar comes from models that were left out: the fit is repeated without each fifth of them, and nine in ten of the errors on
    what was left out are within the bar (with the correction of conformal prediction for few models: Lei et al. 2018, section 2).

    Args:
        device: the device that was measured.
        work: what the models do on it, as the runtime that was measured runs them.
        seconds: the time of each.
        why: what was measured, for reports.
        relatives: of each model the family that it belongs to. Relatives are left out together, so that the bar holds for models that are
            like none of the measured ones; by default each model is its own family.

    Raises:
        OptionError: there are less than ten models, or times that are not positive.
    """
    import numpy

    measured = numpy.asarray(seconds, dtype=float)
    if len(measured) != work.models or len(measured) < 2 * _FOLDS or not bool((measured > 0).all()):
        raise OptionError(f"calibration needs ten models or more with a positive time each, but was given {len(measured)} times")
    start, spread = _defaults(device)
    errors: list[float] = []
    for out in _folds(range(work.models) if relatives is None else relatives):
        kept = sorted(set(range(work.models)) - set(out))
        numbers = _fitted(work.only(kept), measured[kept], start, spread)
        errors += numpy.abs(numpy.log(work.only(out).seconds(numbers) / measured[out])).tolist()
    rank = min(len(errors), math.ceil(0.9 * (len(errors) + 1))) - 1
    found = _ceilings(device, _fitted(work, measured, start, spread))
    factor = math.exp(sorted(errors)[rank])
    tells_launches = _part_of_launches(work, found, measured) >= _LEAST_LAUNCHES
    launch_factor = factor if tells_launches else max(factor, assumed(device).launch_factor)
    return replace(found, factor=factor, launch_factor=launch_factor, why=why, calibrated=True)


def _folds(relatives: Sequence[Hashable]) -> list[list[int]]:
    """Up to five parts of about equal size, each with whole families. Two parts are needed, so one family alone is divided."""
    families: dict[Hashable, list[int]] = {}
    for number, family in enumerate(relatives):
        families.setdefault(family, []).append(number)
    if len(families) == 1:
        return _folds(range(len(relatives)))
    parts: list[list[int]] = [[] for _ in range(min(_FOLDS, len(families)))]
    for members in sorted(families.values(), key=len, reverse=True):
        min(parts, key=len).extend(members)
    return parts


def _part_of_launches(work: Work, found: Ceilings, measured: Array) -> float:
    """The part of their time that half of the models spend on launches, or more."""
    import numpy

    launches = numpy.bincount(work.model, work.launches, work.models) * found.launch_seconds
    return float(numpy.median(launches / measured))


def predicted(work: Work, ceilings: Ceilings) -> Array:
    """The seconds that ceilings give for the work of models, in their order."""
    import numpy

    parts = [*(ceilings.compute[family] for family in CONTRACTIONS), *(ceilings.bandwidth[family] for family in _order())]
    odds = ceilings.overlap / (1 - ceilings.overlap) if ceilings.overlap < 1 else _ALL_HIDDEN
    with numpy.errstate(divide="ignore"):
        return work.seconds(numpy.log([*parts, ceilings.launch_seconds, ceilings.cache_speedup, odds]))


def _defaults(device: Device) -> tuple[Array, Array]:
    import numpy

    usual = assumed(device)
    values = [*(usual.compute[family] for family in CONTRACTIONS), *(usual.bandwidth[family] for family in _order())]
    odds = _START_OVERLAP / (1 - _START_OVERLAP)
    start = numpy.log([*values, usual.launch_seconds, usual.cache_speedup, odds])
    widths = [SPREAD["compute"]] * _CONTRACTIONS + [SPREAD["bandwidth"]] * _FAMILIES
    return start, numpy.array([*widths, SPREAD["launch"], SPREAD["cache"], SPREAD["overlap"]])


def _order() -> list[str]:
    return [*CONTRACTIONS, *(family for family in FAMILIES if family not in CONTRACTIONS)]


def _fitted(work: Work, measured: Array, start: Array, spread: Array) -> Array:
    import numpy
    from scipy.optimize import least_squares

    def errors(numbers: Array) -> Array:
        return numpy.concatenate([numpy.log(work.seconds(numbers) / measured), _WEIGHT * (numbers - start) / spread])

    parts = _CONTRACTIONS + _FAMILIES
    highest = numpy.full(len(start), numpy.inf)
    highest[:parts] = [math.log(_MOST.get(family, 1.0)) for family in CONTRACTIONS] + [0.0] * _FAMILIES
    found = least_squares(errors, start, bounds=(-numpy.inf, highest), loss="soft_l1", f_scale=_OUTLIER)
    numbers: Array = found.x
    return numbers


def _ceilings(device: Device, numbers: Array) -> Ceilings:
    values = [float(value) for value in map(math.exp, numbers)]
    launch, speedup, odds = values[_CONTRACTIONS + _FAMILIES :]
    return replace(
        assumed(device),
        compute=dict(zip(CONTRACTIONS, values, strict=False)),
        bandwidth=dict(zip(_order(), values[_CONTRACTIONS:], strict=False)),
        launch_seconds=launch,
        cache_speedup=speedup,
        overlap=odds / (1 + odds),
    )
