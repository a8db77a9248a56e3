"""Random numbers: what is drawn is written, and one draw counts one operation, however the generator makes it."""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules.registry import count, rule

_READING = ("normal", "bernoulli", "poisson", "binomial", "_standard_gamma", "_sample_dirichlet")
"""Draws whose first tensor holds probabilities, means or rates, not the place for the result."""


@rule(
    "uniform", "normal", "bernoulli", "exponential", "geometric", "cauchy", "log_normal", "random", "rand", "randn", "randint", "rand_like",
    "randn_like", "randint_like", "poisson", "binomial", "_standard_gamma", "_sample_dirichlet", "normal_functional", "_philox_normal",
    "_philox_uniform", "_philox_randint", "prims::uniform", "prims::normal", "rngprims::philox_rand", "_cudnn_init_dropout_state",
    "_fill_mem_eff_dropout_mask",
    flops="1 per element: a draw", source="one function call each",
)  # fmt: skip
def draw(op: Signature) -> Cost:
    """``x = draw()``: what was there before, or the tensor whose shape is taken, is not read; probabilities and means are."""
    reads_first = op.effect != "inplace" and op.kind in _READING
    return count(op, other=op.output.elements, reads=[(type.elements, type) for type in op.read[0 if reads_first else 1 :]])


@rule("_philox_key_split", "_philox_key_fold_in", flops="1 per element of the keys: a draw", source="Salmon et al. 2011, Random123")
def key(op: Signature) -> Cost:
    """``[n, 2] = split([2], n)``."""
    return count(op, other=op.output.elements)


@rule(
    "_fused_dropout",
    "rrelu_with_noise",
    "rrelu_with_noise_functional",
    flops="3 per element: a draw, a comparison, a product",
    source="Srivastava et al. 2014, JMLR 15, section 4; Xu et al. 2015, arXiv:1505.00853",
)
def fused_draw(op: Signature) -> Cost:
    """``x, mask = dropout(x, p)``."""
    return count(op, other=3 * op.inputs[0].elements)


@rule(
    "_sobol_engine_draw",
    flops="per number 2: an exclusive or with a direction number, a scaling",
    source="Antonov & Saleev 1979: Gray code order of a Sobol sequence",
)
def sobol(op: Signature) -> Cost:
    """``[n, d], [d] = draw([d], n, [d, 30])``."""
    return count(op, other=2 * op.output.elements)


@rule(
    "_sobol_engine_ff",
    flops="per step and dimension 1: an exclusive or with a direction number",
    source="Antonov & Saleev 1979: Gray code order of a Sobol sequence",
)
def sobol_skip(op: Signature) -> Cost:
    """``[d] = skip([d], n, [d, 30])``."""
    return count(op, other=op["n"] * op.inputs[0].elements)


@rule(
    "_sobol_engine_initialize_state",
    "_sobol_engine_scramble",
    flops="per number of the state as many exclusive ors as it has bits",
    source="Joe & Kuo 2008, recurrence of the direction numbers; Owen 1998, scrambling",
)
def sobol_state(op: Signature) -> Cost:
    """``[d, 30] = initialize([d, 30], d)``."""
    state = op.inputs[0]
    return count(op, other=state.elements * state.shape[-1])
