"""The cost of one op: one file per family, and the registry that they share."""

from flopscope.rules import (
    activation,
    activation_backward,
    attention,
    attention_kernels,
    communication,
    contraction_backward,
    convolution,
    costless,
    draw,
    einsum,
    elementwise,
    foreach,
    fourier,
    layouts,
    linalg,
    linear_attention,
    loss,
    loss_backward,
    matmul,
    movement,
    movement_backward,
    normalisation,
    normalisation_backward,
    packed_weights,
    pooling,
    quantization,
    quantized,
    recurrent,
    recurrent_kernels,
    reduction,
    regions,
    resampling,
    softmax,
    sorting,
    sparse,
    statistics,
)
from flopscope.rules.registry import Rule as Rule
from flopscope.rules.registry import count as count
from flopscope.rules.registry import forget_rule as forget_rule
from flopscope.rules.registry import module_classes as module_classes
from flopscope.rules.registry import price as price
from flopscope.rules.registry import registered as registered
from flopscope.rules.registry import rule as rule
from flopscope.rules.registry import rule_for as rule_for
from flopscope.rules.uncounted import why_uncounted as why_uncounted

FAMILIES = (
    activation, activation_backward, attention, attention_kernels, communication, contraction_backward, convolution, costless, draw,
    einsum, elementwise, foreach, fourier, layouts, linalg, linear_attention, loss, loss_backward, matmul, movement, movement_backward, normalisation,
    normalisation_backward, packed_weights, pooling, quantization, quantized, recurrent, recurrent_kernels, reduction, regions,
    resampling, softmax, sorting, sparse, statistics,
)  # fmt: skip
