"""Scratch memory of convolutions on the CPU.

Which library runs one: ``use_mkldnn`` and ``_select_conv_backend`` in aten/src/ATen/native/Convolution.cpp. In which formats oneDNN wants
the operands: src/cpu/x64/jit_avx512_common_conv_kernel.cpp, jit_avx512_common_1x1_conv_kernel.cpp and jit_uni_dw_conv_kernel_utils.hpp,
as aten/src/ATen/native/mkldnn/Conv.cpp calls them through ideep. The sequences of events were measured with torch's profiler.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from flopscope.analyses.memory.kernels.host import Host
from flopscope.analyses.memory.kernels.registry import bytes_of, is_channels_last, is_contiguous, kernel, lies_channels_last, peak
from flopscope.graph import Signature, TensorType, bits_of

SMALL_ELEMENTS = 20480
"""Below so many elements of one image, torch has a convolution of its own."""
LEAST_BATCH = 16
"""From this batch on, oneDNN is used for 1x1 filters on one thread."""
PAGE = 128
"""What oneDNN adds to a buffer so that it starts where a cache line does."""
COLUMN_BLOCKS, MOST_COLUMNS = 2, 700_000
"""In how many parts a dilated input is unfolded at least, and the most bytes of one: it must fit into the cache of a core (1 MiB here)."""


def batched(host: Host) -> int:
    """The bytes that batched matrix products, which run channels-last convolutions, keep: a page, and one per thread (measured)."""
    return 4096 + 4120 * host.threads


def padded(size: int, block: int) -> int:
    """The next multiple of a block."""
    return -(-size // block) * block


def _all(signature: Signature, name: str, rank: int, default: int) -> tuple[int, ...]:
    """A size per spatial dimension."""
    value = signature.get(name, (default,))
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if not values or isinstance(values[0], str):
        return (default,) * rank
    return values * rank if len(values) == 1 else values


@dataclass(frozen=True, slots=True)
class Convolution:
    """What the choice of a kernel depends on."""

    batch: int
    channels: int
    filters: int
    groups: int
    source: tuple[int, ...]
    """Sizes of the input's space."""
    result: tuple[int, ...]
    """Sizes of the output's space."""
    window: tuple[int, ...]
    is_strided: bool
    is_dilated: bool
    is_float: bool
    is_brain: bool
    item: int
    """Bytes per element."""
    strides: tuple[int, ...]
    in_order: bool
    """Whether the input lies in the order of its dimensions."""
    lies_last: bool
    """Whether the input lies channels last."""
    last: bool
    """Whether torch takes the channels-last path."""
    weight_lies_last: bool
    has_bias: bool
    reach: int
    """How many elements of a row lie under the window, its gaps included."""
    pad: int
    """Rows of zeros before each row of the input."""

    @staticmethod
    def of(signature: Signature, source: TensorType, result: TensorType, weight: TensorType) -> Convolution:
        """The convolution that makes a result from a source: those of the forward pass, whatever the signature computes."""
        rank = len(weight.shape) - 2
        is_batched = len(source.shape) == rank + 2
        groups = signature.get("groups", 1)
        strides = _all(signature, "stride", rank, 1)
        return Convolution(
            batch=source.shape[0] if is_batched else 1,
            channels=source.shape[-rank - 1],
            filters=result.shape[-rank - 1],
            groups=groups,
            source=source.shape[-rank:],
            result=result.shape[-rank:],
            window=weight.shape[2:],
            is_strided=any(size != 1 for size in strides),
            is_dilated=any(size != 1 for size in _all(signature, "dilation", rank, 1)),
            is_float=source.dtype == "float32",
            is_brain=source.dtype in ("bfloat16", "float16"),
            item=bits_of(source.dtype) // 8,
            strides=strides,
            in_order=is_contiguous(source),
            lies_last=lies_channels_last(source),
            last=is_channels_last(source) or is_channels_last(weight),
            weight_lies_last=lies_channels_last(weight),
            has_bias=signature.get("bias") is not None,
            reach=_all(signature, "dilation", rank, 1)[-1] * (weight.shape[-1] - 1) + 1,
            pad=_all(signature, "padding", rank, 0)[-1],
        )

    @property
    def is_pointwise(self) -> bool:
        """Whether the window is one element."""
        return all(size == 1 for size in self.window)

    @property
    def is_depthwise(self) -> bool:
        """Whether every channel is a group of its own, and makes one channel."""
        return self.groups > 1 and self.groups == self.channels == self.filters

    def uses_onednn(self, host: Host) -> bool:
        """Whether torch gives it to oneDNN."""
        if self.is_brain:
            return True
        if not self.is_float:
            return False
        window = self.window if len(self.window) > 1 else (1, *self.window)
        is_worth_it = (
            self.is_strided or self.is_dilated or self.batch >= LEAST_BATCH or window[-1] != 1 or window[-2] != 1 or host.threads > 1
        )
        image = self.channels * math.prod(((1, *self.source) if len(self.source) == 1 else self.source)[:2])
        is_large = self.groups > 1 or (window[-1] > 3 and window[-2] > 3) or self.batch > 1 or self.batch * image > SMALL_ELEMENTS
        return is_worth_it and is_large

    def space(self, channels: int, sizes: tuple[int, ...]) -> int:
        """The bytes of a batch of so many channels over a space."""
        return self.batch * channels * math.prod(sizes) * self.item

    def weight_bytes(self, filters: int, channels: int) -> int:
        """The bytes of a weight with so many channels in a group."""
        return filters * channels * math.prod(self.window) * self.item


@dataclass(frozen=True, slots=True)
class Blocked:
    """What oneDNN makes of the operands: bytes of each copy, 0 where it takes the operand as it lies."""

    source: int
    weight: int
    result: int
    scratch: int = 0
    """What the kernel takes beside the copies."""
    lies_last: bool = False
    """Whether the result lies channels last, which torch copies once more."""
    by_gemm: bool = False


def _window_of_groups(conv: Convolution, host: Host) -> bool:
    """Whether a grouped convolution has a kernel of its own: the channels of a group must fill a vector, or divide one evenly."""
    inside, made = conv.channels // conv.groups, conv.filters // conv.groups
    return all(size % host.lanes == 0 or size % (host.lanes // 2) == 0 or size == 4 for size in (inside, made))


def blocked(conv: Convolution, host: Host) -> Blocked:
    """The copies that oneDNN makes of contiguous operands for the forward pass."""
    lanes = host.lanes
    channels, filters = conv.channels, conv.filters
    if conv.is_depthwise:
        channels = filters = padded(channels, lanes)
        copies = conv.space(channels, conv.source), conv.weight_bytes(filters, 1), conv.space(filters, conv.result)
        return Blocked(*copies, _wide_bias(conv, host), lies_last=len(conv.window) == 3)
    if conv.groups > 1:
        weight = conv.weight_bytes(filters, channels // conv.groups)
        if _window_of_groups(conv, host):
            return Blocked(conv.space(channels, conv.source), weight, conv.space(filters, conv.result))
        columns = channels // conv.groups * math.prod(conv.window) * math.prod(conv.result) * conv.item
        return Blocked(0, 0, conv.space(filters, conv.result), columns * host.threads + PAGE, by_gemm=True)
    if reaches_far(conv, host):
        unfolded = channels * math.prod(conv.window) * math.prod(conv.result) * conv.item
        columns = min(unfolded // COLUMN_BLOCKS, MOST_COLUMNS)
        return Blocked(0, 0, conv.space(filters, conv.result), columns * host.threads + PAGE, by_gemm=True)
    takes_plain = channels < lanes and not conv.is_pointwise
    filters = padded(filters, lanes)
    channels = padded(channels, lanes if not takes_plain else 2 if conv.is_brain else 1)
    source = 0 if takes_plain else conv.space(channels, conv.source)
    scratch = _gathered(conv, channels, host) if conv.is_pointwise and conv.is_strided else 0
    scratch += _wide_bias(conv, host)
    if conv.is_pointwise and conv.is_brain:
        scratch += conv.space(filters, conv.result) + PAGE
    return Blocked(source, conv.weight_bytes(filters, channels), conv.space(filters, conv.result), scratch)


def _wide_bias(conv: Convolution, host: Host) -> int:
    """A copy of a bias that does not fill its last block."""
    return padded(conv.filters, host.lanes) * 4 + PAGE if conv.has_bias and conv.filters % host.lanes else 0


def reaches_far(conv: Convolution, host: Host) -> bool:
    """Whether the padding is wider than the row of results that the kernel holds in registers, so that another kernel takes over."""
    return conv.is_dilated and conv.pad > min(conv.result[-1], 2 * host.lanes - 4)


def _gathered(conv: Convolution, channels: int, host: Host) -> int:
    """The space in which a strided 1x1 convolution gathers the elements that it needs, if these divide the input evenly."""
    fits = all(made * step == size for made, step, size in zip(conv.result, conv.strides, conv.source, strict=True))
    return host.threads * channels * math.prod(conv.result) * conv.item + PAGE if fits else 0


@kernel("conv")
def conv(op: Signature, host: Host) -> int | None:
    """The growth of a forward convolution."""
    source, weight, result = op["input"], op["weight"], op.output
    if not all(isinstance(type, TensorType) for type in (source, weight)) or 0 in (*source.shape, *result.shape):
        return None
    facts = Convolution.of(op, source, result, weight)
    if not facts.uses_onednn(host):
        return _own(facts, bytes_of(result), host)
    return _onednn(facts, bytes_of(result), host)


def _onednn(conv: Convolution, result: int, host: Host) -> int:
    copies = blocked(conv, host)
    if conv.last:
        source = 0 if conv.lies_last else conv.space(conv.channels, conv.source)
        weight = 0 if conv.weight_lies_last else conv.weight_bytes(conv.filters, conv.channels // conv.groups)
        block = host.lanes if conv.filters % (3 * host.lanes) == 0 else 2 * host.lanes
        blocks = copies.weight if conv.groups > 1 else conv.weight_bytes(padded(conv.filters, block), conv.channels)
        return source + weight + result + blocks + (0 if conv.groups > 1 or conv.is_pointwise else batched(host))
    source = 0 if conv.in_order else conv.space(conv.channels, conv.source)
    if copies.by_gemm:
        return source + peak(copies.scratch, copies.result, -copies.scratch, result)
    taken = copies.scratch + copies.source + copies.weight
    again = result if copies.lies_last else 0
    return source + peak(taken, copies.result, -taken, result, again)


def _own(conv: Convolution, result: int, _: Host) -> int:
    """Torch's own convolutions unfold the input into columns, unless the window is one element. Groups run one by one and are joined."""
    copied = 0 if (conv.lies_last if conv.last else conv.in_order) else conv.space(conv.channels, conv.source)
    if conv.groups > 1:
        part = conv.space(conv.channels // conv.groups, conv.source) if conv.batch > 1 else 0
        columns = 0 if conv.is_pointwise else conv.space(conv.channels // conv.groups * math.prod(conv.window), conv.result)
        last = result - result // conv.groups
        return copied + max(last + part + columns + result // conv.groups, 2 * result)
    if conv.is_pointwise and not conv.is_strided:
        return copied + result
    return copied + conv.space(conv.channels * math.prod(conv.window), conv.result) + result


@kernel("conv_transpose")
def conv_transpose(op: Signature, host: Host) -> int | None:
    """The growth of a transposed convolution."""
    source, weight, result = op["input"], op["weight"], op.output
    if not all(isinstance(type, TensorType) for type in (source, weight)) or 0 in (*source.shape, *result.shape):
        return None
    conv = Convolution.of(op, source, result, weight)
    out = bytes_of(result)
    if not conv.uses_onednn(host):
        is_plain = conv.is_pointwise and not conv.is_strided
        columns = 0 if is_plain and conv.groups == 1 else conv.space(conv.filters // conv.groups * math.prod(conv.window), conv.source)
        return 2 * out if conv.groups > 1 else columns + out
    lanes = host.lanes
    if conv.is_depthwise:
        width = padded(conv.channels, lanes)
        taken = conv.space(width, conv.source) + conv.weight_bytes(width, 1)
        return peak(taken, conv.space(width, conv.result), -taken, out)
    blocks = conv.weight_bytes(padded(conv.filters, lanes), padded(conv.channels // conv.groups, lanes))
    scratch = conv.space(conv.channels, conv.source) // conv.batch
    if conv.last:
        return blocks + out + scratch
    taken = scratch + conv.space(conv.channels, conv.source) + blocks
    return peak(taken, out, -taken, out, out)
