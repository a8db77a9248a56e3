"""Gradients of activation functions: operations per element of ``g * f'(x)``, with g the gradient that arrives.

Counted as in `activation`: an arithmetic operation, a comparison or a call of an elementary function counts one.
"""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules.registry import count, rule

FLOPS_PER_ELEMENT = {
    "threshold_backward": 1,  # compare
    "hardtanh_backward": 2,  # two comparisons
    "leaky_relu_backward": 2,  # compare, g * a
    "rrelu_with_noise_backward": 1,  # g * noise
    "_prelu_kernel_backward": 3,  # compare, g * a, g * x
    "hardshrink_backward": 1,  # compare
    "softshrink_backward": 1,  # compare
    "sigmoid_backward": 3,  # g * y * (1 - y)
    "tanh_backward": 3,  # g * (1 - y * y)
    "log_sigmoid_backward": 5,  # g * sigmoid(-x)
    "hardsigmoid_backward": 3,  # two comparisons, g / 6
    "hardswish_backward": 5,  # two comparisons, g * (x / 3 + 1 / 2)
    "silu_backward": 9,  # g * s * (1 + x * (1 - s)) with s = sigmoid(x)
    "softplus_backward": 6,  # compare, z = exp(b * x), g * z / (z + 1)
    "mish_backward": 14,  # g * (t + x * s * (1 - t * t)) with t = tanh(log(1 + exp(x))), s = sigmoid(x)
    "elu_backward": 5,  # compare, g * a * exp(b * x)
    "gelu_backward": 11,  # g * (F(x) + x * f(x)) with F = (1 + erf(x c)) / 2, f = d * exp(-x * x / 2)
    "infinitely_differentiable_gelu_backward": 11,
    "logit_backward": 3,  # g / (x * (1 - x))
    "native_dropout_backward": 2,  # g * mask * scale
    "_masked_scale": 2,
}

_GELU_TANH_FLOPS = 18
"""The inner polynomial 5, tanh 1, the two halves 2, their sum and product 2, the derivatives of tanh 2, of the polynomial 3, and 3 products."""


@rule(
    *FLOPS_PER_ELEMENT,
    flops="per element, as listed in FLOPS_PER_ELEMENT",
    source="derivatives of the formulas in the PyTorch documentation of torch.nn",
)
def activation_backward(op: Signature) -> Cost:
    """``x = activation_backward(g, x)``."""
    per_element = FLOPS_PER_ELEMENT[op.kind]
    if op.kind == "gelu_backward" and op.get("approximate") == "tanh":
        per_element = _GELU_TANH_FLOPS
    if op.kind == "logit_backward" and op.get("eps") is not None:
        per_element += 2
    return count(op, other=per_element * op.output.elements)


@rule(
    "glu_backward", "glu_jvp", "glu_backward_jvp",
    flops="per element of the half: gradient 8, g s and g a s (1 - s) with s = sigmoid(b); its forward derivative 9; that of the gradient 21",
    source="Dauphin et al. 2017, arXiv:1612.08083, eq. 1, derived",
)  # fmt: skip
def glu_backward(op: Signature) -> Cost:
    """``[*, 2d] = glu_backward([*, d], [*, 2d])``."""
    halves = {"glu_backward": "grad_output", "glu_jvp": "glu", "glu_backward_jvp": "grad_glu"}
    per_element = {"glu_backward": 8, "glu_jvp": 9, "glu_backward_jvp": 21}[op.kind]
    return count(op, other=per_element * op[halves[op.kind]].elements)
