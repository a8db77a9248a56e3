"""Ops on whole lists of tensors, and the optimizers that are built from them."""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules.activation import FLOPS_PER_ELEMENT as ACTIVATIONS
from flopscope.rules.complex_numbers import contraction
from flopscope.rules.elementwise import flops_per_element
from flopscope.rules.registry import count, expect, rule

_NAMES = """
    add sub mul div neg sqrt exp abs maximum minimum pow reciprocal addcmul addcdiv lerp acos asin atan ceil clamp_max clamp_min cos cosh
    erf erfc expm1 floor frac lgamma log log10 log1p log2 round rsqrt sign sin sinh tan trunc
""".split()  # noqa: SIM905 - a list would take forty lines
_ACTIVATIONS = ("sigmoid", "tanh")


@rule(
    *(f"_foreach_{name}" for name in (*_NAMES, *_ACTIVATIONS)),
    flops="as the op for one tensor, summed over the list",
    source="one operation or function call each",
)
def foreach(op: Signature) -> Cost:
    """``[z, ...] = f([x, ...], ...)``."""
    name = op.kind.removeprefix("_foreach_")
    per_element = ACTIVATIONS[name] if name in _ACTIVATIONS else flops_per_element(op, name)
    return count(op, other=per_element * sum(type.elements for type in op.outputs))


@rule(
    "_foreach_norm",
    "_foreach_powsum",
    "_foreach_max",
    flops="2 per element of a norm or sum of powers, and 1 for its root; 1 per element of a maximum",
    source="definition of a p-norm",
)
def foreach_reduce(op: Signature) -> Cost:
    """``[|x|, ...] = norm([x, ...])``."""
    elements = sum(type.elements for type in op.read)
    if op.kind == "_foreach_max":
        return count(op, other=elements)
    return count(op, other=2 * elements + (len(op.outputs) if op.kind == "_foreach_norm" else 0))


@rule("_foreach_mm", flops="2 per MAC", source="Golub & Van Loan, Matrix Computations, section 1.1")
def foreach_mm(op: Signature) -> Cost:
    """``[[n, p], ...] = mm([[n, m], ...], [[m, p], ...])``."""
    pairs = list(zip(op["self"], op["mat2"], strict=True))
    for a, b in pairs:
        expect(a.shape[-1] == b.shape[-2], "[n, p] = mm([n, m], [m, p])")
    return contraction(op, macs=sum(a.elements * b.shape[-1] for a, b in pairs))


@rule("_foreach_clone", flops="none: elements are moved, not computed", source="definition of the op")
def foreach_move(op: Signature) -> Cost:
    """``[x, ...] = clone([x, ...])``."""
    return count(op)


def _parameters(op: Signature) -> int:
    return sum(type.elements for type in op["self"])


def _shared(op: Signature, decay: int) -> int:
    """Operations per parameter that all optimizers share: unscaling the gradient, its sign for a maximum, and weight decay."""
    return (op.get("grad_scale") is not None) + bool(op.get("maximize", False)) + (decay if op.get("weight_decay", 0.0) else 0)


@rule(
    "_fused_adam",
    "_fused_adamw",
    flops="per parameter 13: first moment 3, second 4, root and bias corrections 3, step 3; AMSGrad 1; weight decay 2 (decoupled 1); "
    "gradient scale 1; maximize 1",
    source="Kingma & Ba 2015, arXiv:1412.6980, algorithm 1; Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2",
)
def adam(op: Signature) -> Cost:
    """``p, g, m, v = adam([p, ...], [g, ...], [m, ...], [v, ...])``."""
    per_parameter = 13 + bool(op.get("amsgrad", False)) + _shared(op, 1 if op.kind == "_fused_adamw" else 2)
    return count(op, other=per_parameter * _parameters(op))


@rule(
    "_fused_sgd",
    flops="per parameter 2 for the step; momentum 3 (not in the first step), Nesterov 2; weight decay 2; gradient scale 1; maximize 1",
    source="Sutskever et al. 2013, in the form of the PyTorch documentation of torch.optim.SGD",
)
def sgd(op: Signature) -> Cost:
    """``p, g, b = sgd([p, ...], [g, ...], [b, ...])``."""
    momentum = bool(op.get("momentum", 0.0))
    buffered = 3 if momentum and not op.get("is_first_step", False) else 0
    nesterov = 2 if momentum and op.get("nesterov", False) else 0
    return count(op, other=(2 + buffered + nesterov + _shared(op, 2)) * _parameters(op))


@rule(
    "_fused_adagrad",
    flops="per parameter 7: sum of squares 2, step 5; weight decay 2; gradient scale 1; maximize 1",
    source="Duchi et al. 2011, JMLR 12, figure 1",
)
def adagrad(op: Signature) -> Cost:
    """``p, g, s = adagrad([p, ...], [g, ...], [s, ...])``."""
    return count(op, other=(7 + _shared(op, 2)) * _parameters(op))


@rule(
    "_amp_foreach_non_finite_check_and_unscale",
    flops="2 per element: a check and a product",
    source="Micikevicius et al. 2018, arXiv:1710.03740, section 3.2",
)
def unscale(op: Signature) -> Cost:
    """``[g, ...], found = unscale([g, ...], found, scale)``."""
    return count(op, other=2 * sum(type.elements for type in op["self"]))


@rule("_amp_update_scale", flops="4: two comparisons, a product, a count", source="PyTorch documentation of torch.amp.GradScaler")
def update_scale(op: Signature) -> Cost:
    """``[] = update_scale([], growth, found)``."""
    return count(op, other=4)
