"""Dense linear algebra: factorisations, solvers and what is computed from them. None of it is a contraction, so all of it is FLOPs.

Direct methods are counted exactly, by the polynomials of `factors`. Iterative ones (eigenvalues, singular values) have no exact count:
they are counted by the leading term that Golub & Van Loan publish for the usual number of iterations. A complex multiplication counts six
and an addition two real operations; where only a sum of both is published, a complex operation counts four real ones, their mean.
"""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature, TensorType
from flopscope.rules import factors
from flopscope.rules.complex_numbers import MACS, is_complex
from flopscope.rules.factors import WORKING_NOTE, Operations
from flopscope.rules.registry import count, expect, prod, rule
from flopscope.rules.sizes import largest, quotient, smallest

_GOLUB = "Golub & Van Loan, Matrix Computations (4th edition)"


def _batch(type: TensorType) -> int:
    return prod(type.shape[:-2])


def _square(type: TensorType) -> int:
    expect(type.shape[-1] == type.shape[-2], "a square matrix [*, n, n]")
    return type.shape[-1]


def _matrix(op: Signature) -> TensorType:
    """The matrix of an op that has one, under whichever name."""
    return op.read[0]


def _priced(op: Signature, batch: int, operations: Operations, extra: int = 0) -> Cost:
    return count(op, other=batch * (operations.flops(complex_numbers=is_complex(op)) + extra))


def _published(op: Signature, flops: int) -> Cost:
    """The cost of an op for which only the sum of products and additions is known."""
    return count(op, other=flops * (MACS if is_complex(op) else 1))


# -- factorisations ---------------------------------------------------------------------------------------------------------


@rule("cholesky", "linalg_cholesky", "linalg_cholesky_ex", flops="n^3/3 + n^2/2 + n/6 per matrix", source=f"{WORKING_NOTE}, POTRF")
def cholesky(op: Signature) -> Cost:
    """``[*, n, n] = cholesky([*, n, n])``."""
    return _priced(op, _batch(_matrix(op)), factors.cholesky(_square(_matrix(op))))


@rule("cholesky_inverse", flops="2n^3/3 + n^2/2 + 5n/6 per matrix", source=f"{WORKING_NOTE}, POTRI")
def cholesky_inverse(op: Signature) -> Cost:
    """``[*, n, n] = inverse([*, n, n])`` from a Cholesky factor."""
    return _priced(op, _batch(_matrix(op)), factors.cholesky_inverse(_square(_matrix(op))))


@rule(
    "linalg_lu", "linalg_lu_factor", "linalg_lu_factor_ex", "_lu_with_info",
    flops="2n^3/3 - n^2/2 + 5n/6 per square matrix; exact for every shape", source=f"{WORKING_NOTE}, GETRF",
)  # fmt: skip
def lu(op: Signature) -> Cost:
    """``P, L, U = lu([*, m, n])``."""
    *_, m, n = _matrix(op).shape
    return _priced(op, _batch(_matrix(op)), factors.lu(m, n, smallest(m, n)))


@rule(
    "det", "linalg_det", "_linalg_det", "logdet", "slogdet", "linalg_slogdet", "_linalg_slogdet",
    flops="as an LU factorisation, and n products (or n logarithms and n additions)", source=f"{WORKING_NOTE}, GETRF",
)  # fmt: skip
def determinant(op: Signature) -> Cost:
    """``[*] = det([*, n, n])``."""
    n = _square(_matrix(op))
    return _priced(op, _batch(_matrix(op)), factors.lu(n, n, n), extra=2 * n if "log" in op.kind else n)


@rule("linalg_ldl_factor", "linalg_ldl_factor_ex", flops="n^3/3 + n^2/2 - 5n/6 per matrix", source=f"{_GOLUB}, section 4.4")
def ldl(op: Signature) -> Cost:
    """``LD, pivots = ldl_factor([*, n, n])``, as if no pivot were a 2 by 2 block."""
    return _priced(op, _batch(_matrix(op)), factors.indefinite(_square(_matrix(op))))


@rule("geqrf", "linalg_qr", flops="reflections as GEQRF, 2n^2 (m - n/3) + ..; Q, where it is wanted, as ORGQR", source=WORKING_NOTE)
def qr(op: Signature) -> Cost:
    """``[*, m, k], [*, k, n] = qr([*, m, n])``, where k = min(m, n), or m in the complete mode; the mode "r" makes no Q."""
    *_, m, n = _matrix(op).shape
    steps = smallest(m, n)
    total = factors.qr(m, n, steps)
    mode = op.get("mode", "reduced") if op.kind == "linalg_qr" else "r"
    if mode != "r":
        total = total.both(factors.reflections_to_matrix(m, m if mode == "complete" else steps, steps))
    return _priced(op, _batch(_matrix(op)), total)


@rule("linalg_householder_product", "orgqr", flops="4mnk - 2(m + n)k^2 + 4k^3/3 + ..", source=f"{WORKING_NOTE}, ORGQR")
def householder_product(op: Signature) -> Cost:
    """``[*, m, n] = householder_product([*, m, n], [*, k])``."""
    reflections, scales = op.read[:2]
    *_, m, n = reflections.shape
    return _priced(op, _batch(reflections), factors.reflections_to_matrix(m, n, scales.shape[-1]))


@rule(
    "ormqr",
    flops="4mnk - 2nk^2 + 3nk: Q times a matrix of m rows and n columns (of n rows from the right)",
    source=f"{WORKING_NOTE}, ORMQR",
)
def ormqr(op: Signature) -> Cost:
    """``[*, m, n] = ormqr([*, m, k], [*, k], [*, m, n])``."""
    _, scales, other = op.read[:3]
    *_, m, n = other.shape
    if not op.get("left", True):
        m, n = n, m
    return _priced(op, _batch(other), factors.apply_reflections(m, n, scales.shape[-1]))


# -- solvers ----------------------------------------------------------------------------------------------------------------


def _right_sides(op: Signature, matrix: TensorType, right: TensorType) -> tuple[int, int]:
    """The batch of a solver and its right-hand sides per matrix, of which a vector is one."""
    solution = op.output.shape
    _square(matrix)
    is_vector = len(right.shape) == 1 or (len(right.shape) == len(matrix.shape) - 1 and right.shape == matrix.shape[:-1])
    if is_vector:
        return prod(solution[:-1]), 1
    return prod(solution[:-2]), solution[-1 if op.get("left", True) else -2]


@rule(
    "linalg_solve",
    "linalg_solve_ex",
    "_linalg_solve_ex",
    flops="as LU and GETRS: 2n^3/3 + 2n^2 r + ..",
    source=f"{WORKING_NOTE}, GETRF and GETRS",
)
def solve(op: Signature) -> Cost:
    """``[*, n, r] = solve([*, n, n], [*, n, r])``."""
    batch, right = _right_sides(op, op["A"], op["B"])
    n = _square(op["A"])
    whole = factors.lu_solve(n, right).flops(complex_numbers=is_complex(op))
    return count(op, other=_batch(op["A"]) * factors.lu(n, n, n).flops(complex_numbers=is_complex(op)) + batch * whole)


@rule("linalg_lu_solve", "lu_solve", flops="2n^2 r - nr per matrix", source=f"{WORKING_NOTE}, GETRS")
def lu_solve(op: Signature) -> Cost:
    """``[*, n, r] = lu_solve([*, n, n], pivots, [*, n, r])``."""
    matrix, right = (op["LU"], op["B"]) if "LU" in op.arguments else (op["LU_data"], op["self"])
    batch, sides = _right_sides(op, matrix, right)
    return _priced(op, batch, factors.lu_solve(_square(matrix), sides))


@rule("cholesky_solve", "_cholesky_solve_helper", flops="2n^2 r per matrix", source=f"{WORKING_NOTE}, POTRS")
def cholesky_solve(op: Signature) -> Cost:
    """``[*, n, r] = cholesky_solve([*, n, r], [*, n, n])``."""
    right, matrix = op.read[:2]
    batch, sides = _right_sides(op, matrix, right)
    return _priced(op, batch, factors.cholesky_solve(_square(matrix), sides))


@rule("linalg_ldl_solve", flops="2n^2 r - nr per matrix", source=f"{_GOLUB}, section 4.4")
def ldl_solve(op: Signature) -> Cost:
    """``[*, n, r] = ldl_solve([*, n, n], pivots, [*, n, r])``."""
    batch, sides = _right_sides(op, op["LD"], op["B"])
    return _priced(op, batch, factors.indefinite_solve(_square(op["LD"]), sides))


@rule("linalg_solve_triangular", "triangular_solve", flops="n^2 r per matrix, nr less with a unit diagonal", source=f"{WORKING_NOTE}, TRSM")
def solve_triangular(op: Signature) -> Cost:
    """``[*, n, r] = solve_triangular([*, n, n], [*, n, r])``."""
    matrix, right = (op["self"], op["B"]) if op.kind == "linalg_solve_triangular" else (op["A"], op["self"])
    batch, sides = _right_sides(op, matrix, right)
    return _priced(op, batch, factors.triangular_solve(_square(matrix), sides, unit=bool(op.get("unitriangular", False))))


@rule("inverse", "linalg_inv", "linalg_inv_ex", flops="2n^3 - 3n^2/2 + 5n/2 per matrix", source=f"{WORKING_NOTE}, GETRF and GETRI")
def inverse(op: Signature) -> Cost:
    """``[*, n, n] = inv([*, n, n])``."""
    n = _square(_matrix(op))
    return _priced(op, _batch(_matrix(op)), factors.lu(n, n, n).both(factors.lu_inverse(n)))


@rule(
    "linalg_tensorinv", "linalg_tensorsolve", flops="as the inverse of, or a solve with, the flattened n by n matrix", source=WORKING_NOTE
)
def tensor_inverse(op: Signature) -> Cost:
    """``[*s, *s'] = tensorinv([*s', *s])`` with as many elements in s as in s'; ``[*s] = tensorsolve([*s', *s], [*s'])``."""
    if op.kind == "linalg_tensorinv":
        n = prod(op["self"].shape[: op.get("ind", 2)])
        return _priced(op, 1, factors.lu(n, n, n).both(factors.lu_inverse(n)))
    n = op["other"].elements
    return _priced(op, 1, factors.lu(n, n, n).both(factors.lu_solve(n, 1)))


@rule(
    "linalg_lstsq",
    flops="2n^2 (m - n/3) for a QR factorisation with m >= n (else the transpose), n (4m - n) per right-hand side",
    source=f"{_GOLUB}, section 5.3.2; the drivers by singular values do more",
)
def least_squares(op: Signature) -> Cost:
    """``[*, n, r] = lstsq([*, m, n], [*, m, r])``."""
    *_, rows, columns = op["self"].shape
    right = op["b"]
    sides = 1 if len(right.shape) == len(op["self"].shape) - 1 else right.shape[-1]
    m, n = largest(rows, columns), smallest(rows, columns)
    return _published(op, _batch(op["self"]) * (quotient(2 * n * n * (3 * m - n), 3) + sides * n * (4 * m - n)))


# -- eigenvalues and singular values ----------------------------------------------------------------------------------------


@rule(
    "linalg_eigh", "_linalg_eigh", "linalg_eigvalsh",
    flops="4n^3/3 for the eigenvalues of a symmetric matrix (rounded down), 9n^3 with vectors", source=f"{_GOLUB}, section 8.3",
)  # fmt: skip
def symmetric_eigen(op: Signature) -> Cost:
    """``[*, n], [*, n, n] = eigh([*, n, n])``."""
    matrix = _matrix(op)
    vectors = op.kind != "linalg_eigvalsh" and op.get("compute_v", True) is not False
    return _published(op, _batch(matrix) * _eigh_flops(_square(matrix), vectors=vectors))


def _eigh_flops(n: int, *, vectors: bool) -> int:
    return 9 * n * n * n if vectors else quotient(4 * n * n * n, 3)


@rule(
    "linalg_eig",
    "linalg_eigvals",
    "_linalg_eigvals",
    flops="10n^3 for the eigenvalues, 25n^3 with vectors",
    source=f"{_GOLUB}, section 7.5",
)
def eigen(op: Signature) -> Cost:
    """``[*, n], [*, n, n] = eig([*, n, n])``; a real matrix is reduced in real numbers, though its eigenvalues are complex."""
    matrix = _matrix(op)
    n = _square(matrix)
    return _published(op, _batch(matrix) * (25 if op.kind == "linalg_eig" else 10) * n * n * n)


@rule(
    "svd", "linalg_svd", "_linalg_svd", "linalg_svdvals", "prims::svd",
    flops="for m >= n (else the transpose): values 4mn^2 - 4n^3/3 (rounded down); reduced U, V 14mn^2 + 8n^3; full U, V 4m^2 n + 8mn^2 + 9n^3",
    source=f"{_GOLUB}, figure 8.6.1 (Golub & Reinsch)",
)  # fmt: skip
def svd(op: Signature) -> Cost:
    """``[*, m, k], [*, k], [*, k, n] = svd([*, m, n])``."""
    vectors = op.kind != "linalg_svdvals" and op.get("compute_uv", True) is not False
    full = bool(op.get("full_matrices", op.kind == "linalg_svd")) if op.kind != "svd" else op.get("some", True) is False
    matrix = _matrix(op)
    return _published(op, _batch(matrix) * _svd_flops(*matrix.shape[-2:], vectors=vectors, full=full))


def _svd_flops(rows: int, columns: int, *, vectors: bool, full: bool = False) -> int:
    m, n = largest(rows, columns), smallest(rows, columns)
    if not vectors:
        return quotient(4 * n * n * (3 * m - n), 3)  # type: ignore[no-any-return]
    return 4 * m * m * n + 8 * m * n * n + 9 * n * n * n if full else 14 * m * n * n + 8 * n * n * n  # type: ignore[no-any-return]


@rule(
    "pinverse", "linalg_pinv",
    flops="as the reduced singular values (or symmetric eigenvalues) with vectors; k(n + 1) to invert and scale them; 2 per MAC of their product",
    source=f"{_GOLUB}, section 5.5.2",
)  # fmt: skip
def pseudo_inverse(op: Signature) -> Cost:
    """``[*, n, m] = pinv([*, m, n])`` with k = min(m, n) singular values."""
    matrix = _matrix(op)
    *_, m, n = matrix.shape
    k = smallest(m, n)
    flops = _eigh_flops(n, vectors=True) if op.get("hermitian", False) else _svd_flops(m, n, vectors=True)
    real = MACS if is_complex(op) else 1
    return count(op, macs=real * _batch(matrix) * m * n * k, other=real * _batch(matrix) * (flops + k * (n + 1)))


@rule(
    "linalg_matrix_rank", flops="as singular values (or symmetric eigenvalues), and one comparison each", source=f"{_GOLUB}, section 5.4.1"
)
def matrix_rank(op: Signature) -> Cost:
    """``[*] = matrix_rank([*, m, n])``."""
    matrix = _matrix(op)
    *_, m, n = matrix.shape
    flops = _eigh_flops(n, vectors=False) if op.get("hermitian", False) else _svd_flops(m, n, vectors=False)
    return _published(op, _batch(matrix) * (flops + smallest(m, n)))


_SPECTRAL = (None, 2, -2, "nuc")


@rule(
    "linalg_matrix_norm", "nuclear_norm",
    flops="orders 2, -2 and nuclear: as singular values, 1 each; other orders 2 per element", source=f"{_GOLUB}, section 2.3",
)  # fmt: skip
def matrix_norm(op: Signature) -> Cost:
    """``[*] = |[*, m, n]|``."""
    matrix = _matrix(op)
    order = "nuc" if op.kind == "nuclear_norm" else op.get("ord", "fro")
    if order not in _SPECTRAL:
        return count(op, other=2 * matrix.elements + op.output.elements)
    return _published(op, spectral_norm_flops(matrix, op.get("dim")))


def spectral_norm_flops(matrix: TensorType, dims: tuple[int, ...] | None) -> int:
    """Operations of a norm that needs the singular values of the matrices over two dimensions (by default the last two)."""
    first, second = dims if isinstance(dims, tuple) and len(dims) == 2 else (-2, -1)
    m, n = matrix.shape[first], matrix.shape[second]
    return quotient(matrix.elements, m * n) * (_svd_flops(m, n, vectors=False) + smallest(m, n))  # type: ignore[no-any-return]


@rule(
    "linalg_cond",
    flops="orders 2 and -2: as singular values, and a division; other orders: as an inverse, 4 per element for two norms, and a product",
    source=f"{_GOLUB}, section 2.6.2",
)
def condition(op: Signature) -> Cost:
    """``[*] = cond([*, m, n])``."""
    matrix = _matrix(op)
    *_, m, n = matrix.shape
    if op.get("p") in (None, 2, -2):
        return _published(op, _batch(matrix) * (_svd_flops(m, n, vectors=False) + 1))
    return _priced(op, _batch(matrix), factors.lu(n, n, n).both(factors.lu_inverse(n)), extra=4 * n * n + 1)


# -- functions of matrices --------------------------------------------------------------------------------------------------

_EXPONENTIAL_PRODUCTS = 5


@rule(
    "matrix_exp", "linalg_matrix_exp", "matrix_exp_backward",
    flops="2 per MAC of the 5 matrix products of a Taylor polynomial of degree 18; every halving of a large matrix would add one",
    source="Bader, Blanes & Casas 2019, Mathematics 7(12):1174, table 1",
)  # fmt: skip
def matrix_exp(op: Signature) -> Cost:
    """``[*, n, n] = matrix_exp([*, n, n])`` of a norm below 1.09 (in double precision); the gradient is an exponential of a matrix twice as wide."""
    matrix = _matrix(op)
    n = _square(matrix) * (2 if op.kind == "matrix_exp_backward" else 1)
    return count(op, macs=(MACS if is_complex(op) else 1) * _batch(matrix) * _EXPONENTIAL_PRODUCTS * n * n * n)


@rule(
    "matrix_power", "linalg_matrix_power",
    flops="2 per MAC of floor(log2 p) + ones(p) - 1 matrix products; a negative power begins with an inverse", source=f"{_GOLUB}, section 9.2.5",
)  # fmt: skip
def matrix_power(op: Signature) -> Cost:
    """``[*, n, n] = matrix_power([*, n, n], p)`` by repeated squaring."""
    matrix, power = _matrix(op), op["n"]
    n = _square(matrix)
    products = max(abs(power).bit_length() - 1 + abs(power).bit_count() - 1, 0)
    inverted = factors.lu(n, n, n).both(factors.lu_inverse(n)).flops(complex_numbers=is_complex(op)) if power < 0 else 0
    return count(op, macs=(MACS if is_complex(op) else 1) * _batch(matrix) * products * n * n * n, other=_batch(matrix) * inverted)


@rule(
    "linalg_matrix_sqrth", "linalg_polar",
    flops="as symmetric eigenvalues (or reduced singular values) with vectors, n roots and n^2 scalings; 2 per MAC of the products",
    source="Higham 2008, Functions of Matrices, chapters 6 and 8",
)  # fmt: skip
def matrix_root(op: Signature) -> Cost:
    """``[*, n, n] = sqrth([*, n, n])`` is one product, ``[*, m, n], [*, n, n] = polar([*, m, n])`` two."""
    matrix = _matrix(op)
    *_, m, n = matrix.shape
    real = MACS if is_complex(op) else 1
    if op.kind == "linalg_matrix_sqrth":
        return count(op, macs=real * _batch(matrix) * n * n * n, other=real * _batch(matrix) * (_eigh_flops(n, vectors=True) + n + n * n))
    macs = smallest(m, n) * (m * n + n * n)
    return count(op, macs=real * _batch(matrix) * macs, other=real * _batch(matrix) * (_svd_flops(m, n, vectors=True) + n * n))


@rule("_compute_linear_combination", flops="2 per MAC", source="definition: sums of matrices with coefficients")
def linear_combination(op: Signature) -> Cost:
    """``[m, *] = combination([k, *], [m, k])``."""
    expect(op["coefficients"].shape[-1] == op["input"].shape[0], "[m, *] = combination([k, *], [m, k])")
    return count(op, macs=(MACS if is_complex(op) else 1) * op["input"].elements * op["coefficients"].shape[0])


@rule("linalg_vecdot", flops="2 per MAC", source=f"{_GOLUB}, section 1.1")
def vecdot(op: Signature) -> Cost:
    """``[*] = vecdot([*, d], [*, d])``."""
    dim = op.get("dim", -1)
    return count(op, macs=(MACS if is_complex(op) else 1) * op.output.elements * op["x"].shape[dim])


@rule("linalg_vander", flops="1 product per element but those of the first column", source="definition of a Vandermonde matrix")
def vander(op: Signature) -> Cost:
    """``[*, n, k] = vander([*, n])``."""
    return count(op, other=op.output.elements - op["x"].elements)
