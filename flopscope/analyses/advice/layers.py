"""The layers that guidelines speak of: what they read, write and weigh, however they are called."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt, prod

from flopscope.graph import Packed, Signature, TensorType


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution, transposed convolution or linear layer from some channels to others, perhaps in groups."""

    channels_in: int
    channels_out: int
    groups: int
    kernel: int
    """Elements of the kernel: 1 for a 1x1 convolution and a linear layer."""
    x: TensorType
    """What it reads."""
    y: TensorType
    """What it writes."""

    @property
    def weights(self) -> int:
        """Elements of the weight."""
        return self.kernel * self.channels_in * self.channels_out // self.groups

    @property
    def pointwise(self) -> bool:
        """Whether each position is computed from one position, and from more than one of its channels."""
        return self.kernel == 1 and not self.depthwise

    @property
    def depthwise(self) -> bool:
        """Whether each group has a single channel: an elementwise op to the guidelines, for it reads and writes as much as it computes."""
        return self.groups > 1 and self.groups == self.channels_in

    @property
    def read_bytes(self) -> int:
        """Bytes of the input."""
        return self.x.bytes(self.x.stored_elements)

    @property
    def written_bytes(self) -> int:
        """Bytes of the output."""
        return self.y.bytes(self.y.elements)

    @property
    def positions(self) -> str:
        """Over how many positions it goes, in and out where these differ: pixels times batch, or tokens."""
        before, after = self.x.elements // max(1, self.channels_in), self.y.elements // max(1, self.channels_out)
        return f"{after:,}" if before == after else f"{before:,} to {after:,}"


def layer_of(op: Signature) -> Layer | None:
    """The layer that an op is, or ``None``.

    A matrix product counts where its second factor is a single matrix, as weights are: one layer for all rows of the first.
    """
    if op.kind in ("matmul", "addmm"):
        a, b = op["a"], op["b"]
        if len(b.shape) != 2 or len(a.shape) < 2:
            return None
        return Layer(b.shape[0], b.shape[1], 1, 1, a, op.output)
    weight = _weight(op)
    if weight is None or len(weight.shape) < 2 or not op.read or 0 in weight.shape:
        return None
    if op.kind == "conv_transpose":
        groups = op.get("groups", 1)
        return Layer(weight.shape[0], weight.shape[1] * groups, groups, prod(weight.shape[2:]), op.read[0], op.output)
    x = op.read[0]
    channels = x.shape[-len(weight.shape) + 1] if len(weight.shape) > 2 else weight.shape[1]
    return Layer(channels, weight.shape[0], channels // weight.shape[1], prod(weight.shape[2:]), x, op.output)


def _weight(op: Signature) -> TensorType | None:
    """The weight of a convolution or linear layer, packed or not."""
    if op.kind in ("conv", "conv_transpose", "linear"):
        found = op.get("weight")
        return found if isinstance(found, TensorType) else None
    if op.kind.startswith(("quantized::conv", "quantized::linear")) and "transpose" not in op.kind and "pack" not in op.kind:
        packed = next((value for value in op.arguments.values() if isinstance(value, Packed)), None)
        return None if packed is None else packed.weight
    return None


def root_up(number: int) -> int:
    """The square root, rounded up to a whole number, exactly."""
    root = isqrt(number)
    return root + (root * root < number)
