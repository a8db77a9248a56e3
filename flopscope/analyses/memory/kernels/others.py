"""Scratch memory of other kernels on the CPU."""

from __future__ import annotations

from flopscope.analyses.memory.kernels.host import Host
from flopscope.analyses.memory.kernels.registry import (
    bytes_of,
    copy_as_suggested,
    copy_bytes,
    is_channels_last,
    kernel,
    lies_channels_last,
    outputs_bytes,
)
from flopscope.graph import Signature, TensorType


@kernel("aten::roll")
def roll(op: Signature, _: Host) -> int | None:
    """A result per dimension: they are rolled one after the other (native/TensorTransformations.h)."""
    return bytes_of(op.output) * max(len(op.get("dims", ())), 1)


@kernel("aten::max_pool3d_with_indices", "aten::max_pool2d_with_indices")
def max_pool(op: Signature, _: Host) -> int | None:
    """The result, its indices, and a copy of an input that lies in no known order."""
    source = op["input"] if "input" in op.arguments else op["self"]
    return outputs_bytes(op) + copy_as_suggested(source)


SMALL_PICTURE = 128
"""Up to this sum of sides of the result, plain pictures are resampled channels last too."""


@kernel("upsample_nearest", "upsample_linear")
def upsample(op: Signature, _: Host) -> int | None:
    """The result, and either copies of both channels last, or the places and weights of a line (native/cpu/UpSampleKernel.cpp)."""
    source = op["input"] if "input" in op.arguments else op["self"]
    out = op.output
    is_last = is_channels_last(source) and source.shape[1] > 3
    if is_last or (len(out.shape) == 4 and sum(out.shape[2:]) <= SMALL_PICTURE):
        copies = 0 if lies_channels_last(source) else bytes_of(source)
        return bytes_of(out) + copies + (0 if is_channels_last(out) else bytes_of(out))
    taps = 1 if op.kind == "upsample_nearest" else 2
    return bytes_of(out) + copy_bytes(source) + sum(out.shape[2:]) * taps * 12


@kernel("aten::native_dropout")
def native_dropout(op: Signature, _: Host) -> int | None:
    """The result, the mask, and the random numbers (native/Dropout.cpp)."""
    return outputs_bytes(op) + bytes_of(op.output)


@kernel("aten::sort")
def sort(op: Signature, _: Host) -> int | None:
    """The values, their indices, and a row of both."""
    source = op["self"]
    row = source.shape[op.get("dim", -1)] if source.shape else 1
    return outputs_bytes(op) + row * 8


@kernel("aten::im2col")
def im2col(op: Signature, _: Host) -> int | None:
    """The columns, and room for them as large as the input at first (native/Im2Col.cpp); a copy of an input that does not lie in order."""
    source = op["self"]
    return bytes_of(op.output) + bytes_of(source) + copy_bytes(source)


@kernel("aten::col2im")
def col2im(op: Signature, _: Host) -> int | None:
    """The result lies in memory as large as the columns (native/Col2Im.cpp)."""
    source = op["self"]
    return max(bytes_of(op.output), bytes_of(source)) + copy_bytes(source)


@kernel("aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm")
def product(op: Signature, _: Host) -> int | None:
    """The result, and copies of operands that no BLAS can read as they lie: of one matrix at a time (native/LinearAlgebra.cpp)."""
    return bytes_of(op.output) + max(_unreadable(op["a"]), _unreadable(op["b"]))


def _unreadable(matrices: TensorType) -> int:
    if matrices.strides is None or 0 in matrices.shape:
        return 0
    (rows, columns), (down, right) = matrices.shape[-2:], matrices.strides[-2:]
    is_readable = (right == 1 and down >= columns) or (down == 1 and right >= rows)
    return 0 if is_readable else matrices.bytes(rows * columns)


@kernel(*(f"aten::upsample_{way}_backward" for way in ("nearest2d", "bilinear2d", "bicubic2d", "linear1d", "trilinear3d", "nearest1d")))
def upsample_backward(op: Signature, _: Host) -> int | None:
    """The gradient, and a copy of that of the result if it does not lie in order (native/cpu/UpSampleMoreKernel.cpp)."""
    return bytes_of(op.output) + copy_as_suggested(op["grad_output"])


@kernel("mse_loss", "smooth_l1_loss")
def loss_of_elements(op: Signature, _: Host) -> int | None:
    """The loss of each element, twice before it is summed up (native/Loss.cpp)."""
    elements = max(type.elements for type in op.inputs[:2])
    return 2 * op.output.bytes(elements) if op.output.elements < elements else bytes_of(op.output)
