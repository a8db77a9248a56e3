"""Peak rates of a few devices, as their makers publish them, for the roofline of a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Device:
    """What a device can do at best. Real programs stay below: a roofline drawn from it is a bound, and no prediction."""

    key: str
    name: str
    bytes_per_second: float
    """The peak rate of its main memory."""
    flops_per_second: Mapping[str, float]
    """The peak rate by the dtype of the operands: dense, with tensor cores below 32 bits, and without TF32, which programs may allow."""
    source: str

    def to_dict(self) -> dict[str, Any]:
        """The device as plain data."""
        return {
            "key": self.key,
            "name": self.name,
            "bytes_per_second": self.bytes_per_second,
            "flops_per_second": dict(self.flops_per_second),
            "source": self.source,
        }


def _half(rate: float) -> dict[str, float]:
    return {"float16": rate, "bfloat16": rate}


DEVICES = (
    Device(
        "a100", "NVIDIA A100 SXM 80 GB", 2039e9,
        {"float64": 9.7e12, "float32": 19.5e12, **_half(312e12), "int8": 624e12},
        "NVIDIA A100 Tensor Core GPU data sheet, 2021; float32 without TF32",
    ),
    Device(
        "h100", "NVIDIA H100 SXM", 3350e9,
        {"float64": 34e12, "float32": 67e12, **_half(989.5e12), "float8": 1979e12, "int8": 1979e12},
        "NVIDIA H100 Tensor Core GPU data sheet, 2023; tensor core rates without sparsity: half of those printed",
    ),
    Device(
        "rtx4090", "NVIDIA GeForce RTX 4090", 1008e9,
        {"float64": 1.29e12, "float32": 82.6e12, **_half(165.2e12), "float8": 330.3e12, "int8": 660.6e12},
        "NVIDIA Ada GPU architecture, 2022, appendix A; float16 and float8 with float32 accumulation, without sparsity",
    ),
    Device(
        "t4", "NVIDIA T4", 320e9,
        {"float64": 0.25e12, "float32": 8.1e12, "float16": 65e12, "int8": 130e12},
        "NVIDIA T4 Tensor Core GPU data sheet, 2019, and Turing architecture, 2018 (float64 at 1/32 of float32)",
    ),
    Device(
        "epyc7763", "AMD EPYC 7763 (one socket, 64 cores)", 204.8e9,
        {"float64": 64 * 2.45e9 * 16, "float32": 64 * 2.45e9 * 32},
        "AMD EPYC 7763 product page: 64 cores at 2.45 GHz, 8 channels of DDR4-3200; two 256-bit FMA units per core",
    ),
)  # fmt: skip
"""The devices that a page can choose from; the first one is shown at first."""
