"""Elementwise arithmetic: operations per output element, after broadcasting.

Every arithmetic operation, comparison, logical operation and call of an elementary function counts one, as in Knuth's and most profilers'
tables; special functions (gamma, Bessel, orthogonal polynomials and the like) count as one call too. Complex numbers count the real
operations of `complex_numbers`.
"""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules.complex_numbers import FLOPS_PER_ELEMENT as COMPLEX_FLOPS
from flopscope.rules.complex_numbers import PRODUCT, is_complex
from flopscope.rules.registry import count, rule

_ONE = """
    add sub subtract rsub mul multiply div divide true_divide floor_divide remainder fmod pow float_power square maximum minimum fmax
    fmin clamp_min clamp_max neg negative positive abs absolute sign sgn signbit reciprocal sqrt exp exp2 expm1 log log2 log10 log1p sin
    cos tan asin arcsin acos arccos atan arctan atan2 arctan2 sinh cosh asinh arcsinh acosh arccosh atanh arctanh erf erfc erfinv
    special_erfinv lgamma digamma polygamma special_gammaln mvlgamma i0 special_i0 special_i0e special_i1 special_i1e special_bessel_j0
    special_bessel_j1 special_digamma igamma igammac special_ndtri special_zeta sinc ceil floor round trunc fix frac rad2deg deg2rad eq
    ne lt le gt ge not_equal less less_equal greater greater_equal isclose logical_and logical_or logical_xor logical_not bitwise_and
    bitwise_or bitwise_xor bitwise_not __and__ __or__ __xor__ bitwise_left_shift bitwise_right_shift __lshift__ __rshift__ gcd lcm hypot
    copysign nextafter ldexp heaviside isnan isinf isfinite isposinf isneginf isreal angle conj_physical arange linspace logspace range
    frexp special_airy_ai special_bessel_y0 special_bessel_y1 special_erfcx special_exp2 special_expm1 special_gammainc special_gammaincc
    special_log1p special_log_ndtr special_modified_bessel_i0 special_modified_bessel_i1 special_modified_bessel_k0
    special_modified_bessel_k1 special_multigammaln special_ndtr special_polygamma special_psi special_round special_sinc special_erfc
    special_scaled_modified_bessel_k0 special_scaled_modified_bessel_k1 special_spherical_bessel_j0 special_chebyshev_polynomial_t
    special_chebyshev_polynomial_u special_chebyshev_polynomial_v special_chebyshev_polynomial_w special_hermite_polynomial_h
    special_hermite_polynomial_he special_laguerre_polynomial_l special_legendre_polynomial_p special_shifted_chebyshev_polynomial_t
    special_shifted_chebyshev_polynomial_u special_shifted_chebyshev_polynomial_v special_shifted_chebyshev_polynomial_w
    _conj_physical __ilshift__ __irshift__ __iand__ __ior__ __ixor__ _standard_gamma_grad _dirichlet_grad prims::cbrt
""".split()  # noqa: SIM905 - a list would take a hundred lines

_TWO = (
    "rsqrt", "clamp", "clip", "nan_to_num", "logit", "xlogy", "special_xlogy", "special_logit", "special_xlog1py", "special_entr",
    "_add_relu",
)  # fmt: skip

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
    *FLOPS_PER_ELEMENT,
    flops="per output element, as listed in FLOPS_PER_ELEMENT (mostly 1), and for complex numbers in complex_numbers",
    source="one operation or function call each",
)
def elementwise(op: Signature) -> Cost:
    """``z = f(x, y, ...)`` with broadcasting; `add` and `sub` with a scale other than one count the product too."""
    if op.kind in ("clamp", "clip"):
        return count(op, other=((op.get("min") is not None) + (op.get("max") is not None)) * op.output.elements)
    return count(op, other=flops_per_element(op, op.kind) * op.output.elements)


def flops_per_element(op: Signature, name: str) -> int:
    """Operations per element of an elementwise function."""
    complex_numbers = is_complex(op)
    known = COMPLEX_FLOPS.get(name) if complex_numbers else None
    per_element = FLOPS_PER_ELEMENT[name] if known is None else known
    if name in ("add", "sub", "subtract", "rsub", "_add_relu") and op.get("alpha", 1) != 1:
        per_element += PRODUCT if complex_numbers else 1
    return per_element


@rule("cross", "linalg_cross", flops="3 per output element: two products and a subtraction", source="definition of the cross product")
def cross(op: Signature) -> Cost:
    """``[*, 3] = cross([*, 3], [*, 3])``."""
    return count(op, other=3 * op.output.elements)
