"""The cost of one op: one file per family, and the registry that they share."""

from flopscope.rules import (
    activation,
    attention,
    convolution,
    einsum,
    elementwise,
    fourier,
    loss,
    matmul,
    movement,
    normalisation,
    pooling,
    quantized,
    recurrent,
    reduction,
    resampling,
    softmax,
    sorting,
    sparse,
)
from flopscope.rules.registry import Rule as Rule
from flopscope.rules.registry import count as count
from flopscope.rules.registry import forget_rule as forget_rule
from flopscope.rules.registry import module_classes as module_classes
from flopscope.rules.registry import price as price
from flopscope.rules.registry import registered as registered
from flopscope.rules.registry import rule as rule
from flopscope.rules.registry import rule_for as rule_for

FAMILIES = (
    activation, attention, convolution, einsum, elementwise, fourier, loss, matmul, movement, normalisation, pooling, quantized, recurrent, reduction, resampling,
    softmax, sorting, sparse,
)  # fmt: skip
