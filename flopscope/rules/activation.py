"""Activation functions: operations per element, read off the formula in the documentation of each.

An addition, subtraction, multiplication, division, comparison, and a call of exp, log, tanh, erf, sqrt or a trigonometric function each
count one.
"""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules.registry import count, rule

FLOPS_PER_ELEMENT = {
    "relu": 1,  # max(x, 0)
    "relu6": 2,  # min(max(x, 0), 6)
    "hardtanh": 2,  # min(max(x, lo), hi)
    "leaky_relu": 2,  # compare, a * x
    "rrelu": 2,  # compare, a * x
    "prelu": 2,  # compare, a * x
    "_prelu_kernel": 2,
    "threshold": 1,  # compare
    "hardshrink": 1,  # compare |x|
    "softshrink": 2,  # compare, x - l
    "sigmoid": 4,  # 1 / (1 + exp(-x))
    "log_sigmoid_forward": 5,
    "log_sigmoid": 5,  # log(1 / (1 + exp(-x)))
    "hardsigmoid": 4,  # min(max(x + 3, 0), 6) / 6
    "hardswish": 5,  # x * hardsigmoid(x)
    "silu": 5,  # x * sigmoid(x)
    "tanh": 1,
    "softplus": 5,  # log(1 + exp(b * x)) / b, compare with the threshold
    "softsign": 3,  # x / (1 + |x|)
    "mish": 5,  # x * tanh(log(1 + exp(x)))
    "elu": 4,  # compare, a * (exp(x) - 1)
    "celu": 5,  # compare, a * (exp(x / a) - 1)
    "selu": 5,  # s * elu(x)
    "gelu": 5,  # 0.5 * x * (1 + erf(x / sqrt(2)))
}

_GELU_TANH_FLOPS = 9  # 0.5 * x * (1 + tanh(c * (x + a * x^3))): x^3 is two products


@rule(
    *FLOPS_PER_ELEMENT, flops="per element, as listed in FLOPS_PER_ELEMENT", source="the formulas in the PyTorch documentation of torch.nn"
)
def activation(op: Signature) -> Cost:
    """``x = activation(x)``."""
    per_element = _GELU_TANH_FLOPS if op.kind == "gelu" and op.get("approximate") == "tanh" else FLOPS_PER_ELEMENT[op.kind]
    return count(op, other=per_element * op.output.elements)


@rule("glu", flops="5 per output element: sigmoid and a product", source="Dauphin et al. 2017, arXiv:1612.08083, eq. 1")
def glu(op: Signature) -> Cost:
    """``[*, d] = a * sigmoid(b)`` with ``[a, b] = [*, 2d]``."""
    return count(op, other=5 * op.output.elements)


@rule(
    "dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "native_dropout",
    flops="in training 3 per element: compare with a random draw, multiply by the mask, scale; in evaluation nothing",
    source="Srivastava et al. 2014, JMLR 15, section 4",
)  # fmt: skip
def dropout(op: Signature) -> Cost:
    """``x = dropout(x, p)``."""
    return count(op, other=3 * op.inputs[0].elements) if op.get("train", False) else count(op, reads=[], writes=[])
