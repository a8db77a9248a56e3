"""Interpolation and grid sampling."""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules.registry import count, prod, rule
from flopscope.rules.sizes import largest

_LERP = 3  # a + w * (b - a)
_CUBIC = 7  # four products and three additions


def _dims(op: Signature) -> int:
    return len(op.output.shape) - 2


@rule(
    "upsample_nearest", flops="none: every output is a copy of an input", source="PyTorch documentation of torch.nn.functional.interpolate"
)
def upsample_nearest(op: Signature) -> Cost:
    """``[n, c, *s'] = upsample_nearest([n, c, *s])``."""
    return count(op)


@rule(
    "upsample_linear",
    flops="3 per linear interpolation, 2^d - 1 of them per output element in d dimensions",
    source="definition of multilinear interpolation",
)
def upsample_linear(op: Signature) -> Cost:
    """``[n, c, *s'] = upsample_linear([n, c, *s])``."""
    return count(op, other=_LERP * (2 ** _dims(op) - 1) * op.output.elements)


@rule(
    "upsample_cubic", flops="7 per cubic interpolation, 5 of them per output element", source="Keys 1981, cubic convolution interpolation"
)
def upsample_cubic(op: Signature) -> Cost:
    """``[n, c, h', w'] = upsample_bicubic([n, c, h, w])``."""
    return count(op, other=5 * _CUBIC * op.output.elements)


@rule(
    "upsample_antialias",
    flops="2 per tap, two separable passes; a filter has 2 ceil(r s) + 1 taps, radius r = 1 (linear), 2 (cubic) or 3 (Lanczos), s = shrinking factor",
    source="PIL's Resample.c, which PyTorch's antialias follows",
)
def upsample_antialias(op: Signature) -> Cost:
    """``[n, c, h', w'] = upsample_antialias([n, c, h, w])``."""
    return count(op, other=antialias_flops(f"{op.target} {op.get('mode', '')}", op.inputs[0].shape, op.output.shape))


def antialias_flops(name: str, shape: tuple[int, ...], new_shape: tuple[int, ...]) -> int:
    """Operations of an antialiased interpolation between two images, whose filter the name of the op tells."""
    batch, channels, height, width = shape
    _, _, new_height, new_width = new_shape
    radius = 3 if "lanczos" in name else 2 if "cubic" in name else 1

    def taps(size: int, new_size: int) -> int:
        return 2 * largest(radius, -(-radius * size // new_size)) + 1  # type: ignore[no-any-return]

    first = batch * channels * height * new_width * taps(width, new_width)
    return 2 * (first + prod(new_shape) * taps(height, new_height))


@rule(
    "grid_sampler",
    flops="per output element 2^(d+1) - 1 (products and additions); per position and dimension 6 for the coordinate and its weights; nearest: only these",
    source="Jaderberg et al. 2015, arXiv:1506.02025, eq. 5",
)
def grid_sampler(op: Signature) -> Cost:
    """``[n, c, *s'] = grid_sample([n, c, *s], [n, *s', d])``."""
    dims = _dims(op)
    positions = op.output.shape[0] * prod(op.output.shape[2:])
    per_element = (2 ** (dims + 1) - 1, 0, 5 * _CUBIC)[op.get("interpolation_mode", 0)]
    return count(op, other=per_element * op.output.elements + 6 * dims * positions)


@rule("affine_grid_generator", flops="2 per MAC", source="Jaderberg et al. 2015, arXiv:1506.02025, eq. 1")
def affine_grid(op: Signature) -> Cost:
    """``[n, *s, d] = affine_grid([n, d, d+1])``: a product of homogeneous coordinates with a matrix."""
    return count(op, macs=op.output.elements * op["theta"].shape[-1])
