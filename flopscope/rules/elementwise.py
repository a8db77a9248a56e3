"""Elementwise arithmetic: operations per output element, after broadcasting.

Every arithmetic operation, comparison, logical operation and call of an elementary function counts one, as in Knuth's and most profilers'
tables; special functions (gamma, Bessel and the like) count as one call too, and the source line says so.
"""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules.registry import count, rule

_ONE = """
    add sub subtract rsub mul multiply div divide true_divide floor_divide remainder fmod pow float_power square maximum minimum fmax
    fmin clamp_min clamp_max neg negative positive abs absolute sign sgn signbit reciprocal sqrt exp exp2 expm1 log log2 log10 log1p sin
    cos tan asin arcsin acos arccos atan arctan atan2 arctan2 sinh cosh asinh arcsinh acosh arccosh atanh arctanh erf erfc erfinv
    special_erfinv lgamma digamma polygamma special_gammaln mvlgamma i0 special_i0 special_i0e special_i1 special_i1e special_bessel_j0
    special_bessel_j1 special_digamma igamma igammac special_ndtri special_zeta sinc ceil floor round trunc fix frac rad2deg deg2rad eq
    ne lt le gt ge not_equal less less_equal greater greater_equal isclose logical_and logical_or logical_xor logical_not bitwise_and
    bitwise_or bitwise_xor bitwise_not __and__ __or__ __xor__ bitwise_left_shift bitwise_right_shift __lshift__ __rshift__ gcd lcm hypot
    copysign nextafter ldexp heaviside isnan isinf isfinite isposinf isneginf isreal angle conj_physical arange linspace logspace
""".split()  # noqa: SIM905 - a list would take a hundred lines

_TWO = ("rsqrt", "clamp", "clip", "nan_to_num", "logit", "xlogy", "special_xlogy")

FLOPS_PER_ELEMENT = (
    dict.fromkeys(_ONE, 1)
    | dict.fromkeys(_TWO, 2)
    | {
        "lerp": 3,  # a + w * (b - a)
        "addcmul": 3,  # a + v * b * c
        "addcdiv": 3,  # a + v * b / c
        "logaddexp": 6,  # m + log(exp(a - m) + exp(b - m)) with the maximum found first
        "logaddexp2": 6,
        "polar": 4,  # r * cos(t), r * sin(t)
    }
)


@rule(
    *FLOPS_PER_ELEMENT, flops="per output element, as listed in FLOPS_PER_ELEMENT (mostly 1)", source="one operation or function call each"
)
def elementwise(op: Signature) -> Cost:
    """``z = f(x, y, ...)`` with broadcasting; `add` and `sub` with a scale other than one count the product too."""
    if op.kind in ("clamp", "clip"):
        return count(op, other=((op.get("min") is not None) + (op.get("max") is not None)) * op.output.elements)
    scaled = op.kind in ("add", "sub", "rsub") and op.get("alpha", 1) != 1
    return count(op, other=(FLOPS_PER_ELEMENT[op.kind] + scaled) * op.output.elements)


@rule(
    *(f"_foreach_{name}" for name in ("add", "sub", "mul", "div", "neg", "sqrt", "exp", "abs", "maximum", "minimum", "pow", "reciprocal")),
    "_foreach_addcmul", "_foreach_addcdiv", "_foreach_lerp",
    flops="as the op for one tensor", source="one operation or function call each",
)  # fmt: skip
def foreach(op: Signature) -> Cost:
    """``[z, ...] = f([x, ...], ...)``."""
    per_element = FLOPS_PER_ELEMENT[op.kind.removeprefix("_foreach_")]
    return count(op, other=per_element * sum(type.elements for type in op.outputs))


@rule("cross", "linalg_cross", flops="3 per output element: two products and a subtraction", source="definition of the cross product")
def cross(op: Signature) -> Cost:
    """``[*, 3] = cross([*, 3], [*, 3])``."""
    return count(op, other=3 * op.output.elements)


@rule(
    "uniform", "normal", "bernoulli", "exponential", "geometric", "cauchy", "log_normal", "random", "rand", "randn", "randint", "rand_like",
    "randn_like", "randint_like", flops="1 per element: a draw", source="one function call each",
)  # fmt: skip
def draw(op: Signature) -> Cost:
    """``x = draw()``: what was there before, or the tensor whose shape is taken, is not read; probabilities and means are."""
    reads_first = op.effect != "inplace" and op.kind in ("normal", "bernoulli")
    return count(op, other=op.output.elements, reads=[(type.elements, type) for type in op.read[0 if reads_first else 1 :]])
