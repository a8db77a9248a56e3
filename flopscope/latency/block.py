"""Blocks of mobile networks, as published tables of latencies name them.

A key spells a block out, for ProxylessNAS::

    expanded_conv-input:28x28x40-output:28x28x40-expand:3-kernel:5-stride:1-idskip:1

where ``expand`` is the ratio by which an inverted bottleneck widens its input. Once-for-All writes the number of channels in the middle
there instead, and says whether the block has squeeze-and-excitation (``se``) and hard swish (``hs``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from flopscope.cost import ZERO, Cost
from flopscope.errors import InputError
from flopscope.graph import Signature, TensorType
from flopscope.rules import price

BOTTLENECK = "expanded_conv"
_POINTWISE = ("Conv_1", "Conv_2")
_KINDS = ("Conv", *_POINTWISE, BOTTLENECK, "AvgPool2D", "Logits")
_SIZE = re.compile(r"\d{1,9}(x\d{1,9}x\d{1,9})?")
_NUMBERS = ("expand", "kernel", "stride", "idskip", "se", "hs")


@dataclass(frozen=True)
class Block:
    """One block of a mobile network, at its size. Sizes are ``(height, width, channels)``, or ``(channels,)``; the batch is one.

    Raises:
        InputError: it is no block that can exist.
    """

    kind: str
    """``Conv`` (the 3x3 convolution of stride 2 at the start), ``expanded_conv`` (an inverted bottleneck), ``Conv_1`` and ``Conv_2``
    (1x1 convolutions at the end), ``AvgPool2D`` (to one position), ``Logits`` (the classifier, with what pooling is before it)."""
    input: tuple[int, ...]
    output: tuple[int, ...]
    expand: int | None = None
    """As the table writes it: the ratio, or the channels in the middle where ``se`` is given."""
    kernel: int | None = None
    stride: int | None = None
    idskip: int | None = None
    """1 where the input is added to the output."""
    se: int | None = None
    hs: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise InputError(f"there is no kind of block {self.kind!r}; there are {', '.join(_KINDS)}")
        if any(size < 1 for size in (*self.input, *self.output)) or len(self.input) != 3 or len(self.output) not in (1, 3):
            raise InputError(
                f"{self.kind} has the sizes {self.input} and {self.output}: height, width and channels of at least 1 are needed"
            )
        if self.kind != BOTTLENECK:
            return
        if not (self.expand and self.kernel and self.stride) or len(self.output) != 3:
            raise InputError(f"{BOTTLENECK} needs an expansion, a kernel, a stride and an output of height, width and channels")
        if self.output[:2] != tuple(-(-size // self.stride) for size in self.input[:2]):
            raise InputError(f"{BOTTLENECK} cannot go from {_text(self.input)} to {_text(self.output)} with a stride of {self.stride}")
        if self.idskip and self.input != self.output:
            raise InputError(f"{BOTTLENECK} cannot add its input {_text(self.input)} to its output {_text(self.output)}")

    @staticmethod
    def parse(key: str) -> Block:
        """The block that a key names.

        Raises:
            InputError: it is no such key.
        """
        kind, *fields = key.rstrip(":").split("-")
        sizes: dict[str, tuple[int, ...]] = {}
        numbers: dict[str, int] = {}
        for field in fields:
            name, _, value = field.partition(":")
            if name in ("input", "output") and name not in sizes and _SIZE.fullmatch(value):
                sizes[name] = tuple(int(size) for size in value.split("x"))
            elif name in _NUMBERS and name not in numbers and value.isascii() and value.isdecimal() and len(value) < 10:
                numbers[name] = int(value)
            else:
                raise InputError(f"{key!r} is no key of a block: {field!r} is not understood. {_FORM}")
        if len(sizes) != 2:
            raise InputError(f"{key!r} is no key of a block: it needs an input and an output. {_FORM}")
        return Block(kind, sizes["input"], sizes["output"], **numbers)

    @cached_property
    def key(self) -> str:
        """How a table names it."""
        numbers = [(name, getattr(self, name)) for name in _NUMBERS]
        written = [f"{name}:{value}" for name, value in numbers if value is not None]
        return "-".join((self.kind, f"input:{_text(self.input)}", f"output:{_text(self.output)}", *written))

    @property
    def middle(self) -> int:
        """The channels between the convolutions of an inverted bottleneck."""
        assert self.expand is not None
        return self.expand if self.se is not None else self.expand * self.input[-1]

    @property
    def signatures(self) -> list[Signature]:
        """The contractions and poolings in it, as ops: what its counts come from. A skip or an activation is none of them."""
        return list(_signatures(self))

    @cached_property
    def cost(self) -> Cost:
        """The sum of the counts of `signatures`."""
        return sum((priced(signature) for signature in self.signatures), ZERO)

    def __str__(self) -> str:
        return self.key


def priced(signature: Signature) -> Cost:
    """The counts of an op.

    Raises:
        InputError: no rule prices it.
    """
    cost = price(signature)
    if cost is None:
        raise InputError(f"no rule prices {signature.target}, so its work is not known. flopscope.rule registers one")
    return cost


_FORM = f"A key looks like '{BOTTLENECK}-input:28x28x40-output:28x28x40-expand:3-kernel:5-stride:1-idskip:1'"


def _text(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))


def _signatures(block: Block) -> Iterator[Signature]:
    source, target = block.input, block.output
    if block.kind == "Conv":
        yield _convolution(source, target, 3, 2)
    elif block.kind in _POINTWISE:
        yield _convolution(source, target, 1, 1)
    elif block.kind == BOTTLENECK:
        yield from _bottleneck(block)
    elif block.kind == "AvgPool2D":
        yield _pooling(source)
    else:
        if source[:2] != (1, 1):
            yield _pooling(source)
        types = {"input": TensorType.of((1, source[-1])), "weight": TensorType.of((target[-1], source[-1]))}
        yield Signature("aten::linear", "linear", types, (TensorType.of((1, target[-1])),))


def _bottleneck(block: Block) -> Iterator[Signature]:
    """A 1x1 convolution that widens, where it does; one by channel; squeeze-and-excitation, where it has one; a 1x1 that narrows."""
    assert block.kernel is not None
    assert block.stride is not None
    height, width, channels = block.input
    wide = (*block.output[:2], block.middle)
    if block.middle != channels:
        yield _convolution(block.input, (height, width, block.middle), 1, 1)
    yield _convolution((height, width, block.middle), wide, block.kernel, block.stride, groups=block.middle)
    if block.se:
        squeezed = squeezed_channels(block.middle)
        yield _pooling(wide)
        yield _convolution((1, 1, block.middle), (1, 1, squeezed), 1, 1)
        yield _convolution((1, 1, squeezed), (1, 1, block.middle), 1, 1)
    yield _convolution(wide, block.output, 1, 1)


def squeezed_channels(middle: int) -> int:
    """The channels inside squeeze-and-excitation: a quarter, to a multiple of 8: Howard et al. 2019, arXiv:1905.02244, 5.3."""
    rounded = max(8, (middle // 4 + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * (middle // 4) else rounded + 8


def _convolution(source: tuple[int, ...], target: tuple[int, ...], kernel: int, stride: int, groups: int = 1) -> Signature:
    arguments = {
        "input": TensorType.of((1, source[2], *source[:2])),
        "weight": TensorType.of((target[2], source[2] // groups, kernel, kernel)),
        "stride": (stride, stride),
        "padding": (kernel // 2, kernel // 2),
        "dilation": (1, 1),
        "groups": groups,
    }
    return Signature("aten::conv2d", "conv", arguments, (TensorType.of((1, target[2], *target[:2])),))


def _pooling(source: tuple[int, ...]) -> Signature:
    arguments = {"self": TensorType.of((1, source[2], *source[:2])), "output_size": (1, 1)}
    return Signature("aten::adaptive_avg_pool2d", "adaptive_avg_pool", arguments, (TensorType.of((1, source[2], 1, 1)),))
