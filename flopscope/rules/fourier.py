"""Fourier transforms."""

from __future__ import annotations

from flopscope.cost import Cost
from flopscope.graph import Signature
from flopscope.rules.registry import count, prod, rule
from flopscope.rules.sizes import log2_ceil

_COMPLEX = ["fft_fft", "fft_ifft", "fft_fft2", "fft_ifft2", "fft_fftn", "fft_ifftn", "_fft_c2c"]
_REAL = [
    "fft_rfft",
    "fft_irfft",
    "fft_rfft2",
    "fft_irfft2",
    "fft_rfftn",
    "fft_irfftn",
    "fft_hfft",
    "fft_ihfft",
    "fft_hfft2",
    "fft_ihfft2",
    "fft_hfftn",
    "fft_ihfftn",
    "_fft_r2c",
    "_fft_c2r",
]


_HALVING = ("fft_rfft", "fft_rfft2", "fft_rfftn", "fft_ihfft", "fft_ihfft2", "fft_ihfftn", "_fft_r2c")
"""Transforms whose result is half as long as they are."""


@rule(
    *_COMPLEX, *_REAL,
    flops="5 n ceil(log2 n) for a complex transform of n points, half of it for a real one",
    source="the FFTW convention, Frigo & Johnson 2005, section VI (logarithm rounded up)",
)  # fmt: skip
def fft(op: Signature) -> Cost:
    """``[*, n] = fft([*, n'])``: over several dimensions, n is the product of their lengths."""
    x, out = op.inputs[0], op.output
    dims = _dims(op, len(out.shape))
    lengths = [out.shape[dim] for dim in dims]
    if op.kind in _HALVING:
        asked = op.get("n", op.get("s"))
        last = asked[-1] if isinstance(asked, tuple) else asked
        lengths[-1] = x.shape[dims[-1]] if last is None or last < 0 else last
    points = prod(lengths)
    transforms = prod(size for dim, size in enumerate(out.shape) if dim not in dims)
    whole = 5 * points * log2_ceil(points) * transforms
    return count(op, other=whole if op.kind in _COMPLEX else whole // 2)


def _dims(op: Signature, rank: int) -> list[int]:
    dims = op.get("dim")
    if dims is None:
        over_all = op.kind.endswith("n")
        dims = tuple(range(rank - len(op["s"]) if op.get("s") is not None else 0, rank)) if over_all else (-1,)
    elif isinstance(dims, int):
        dims = (dims,)
    return [dim % rank for dim in dims]


@rule("fft_fftshift", "fft_ifftshift", flops="none: elements are moved", source="NumPy documentation of fftshift")
def fftshift(op: Signature) -> Cost:
    """``x = fftshift(x)``."""
    return count(op)


@rule(
    "fft_fftfreq",
    "fft_rfftfreq",
    "hann_window",
    "hamming_window",
    "blackman_window",
    "bartlett_window",
    "kaiser_window",
    flops="2 per element",
    source="definition",
)
def window(op: Signature) -> Cost:
    """``[n] = window(n)``."""
    return count(op, other=2 * op.output.elements)


@rule(
    "istft",
    flops="as an inverse real transform per frame, 4 per element: the window, its square, and two sums over frames",
    source="definition of the inverse short-time Fourier transform",
)
def istft(op: Signature) -> Cost:
    """``[*, l] = istft([*, f, t], n_fft)``."""
    points = op["n_fft"]
    shape = op.inputs[0].shape
    frames = shape[-1]
    batch = shape[0] if len(shape) > 2 else 1
    transform = 5 * points * log2_ceil(points)
    return count(op, other=batch * frames * ((transform if op.get("onesided") is False else transform // 2) + 4 * points))


@rule("stft", flops="as a real transform per frame, 1 per element for the window", source="definition of the short-time Fourier transform")
def stft(op: Signature) -> Cost:
    """``[*, f, t] = stft([*, l], n_fft)``."""
    points = op["n_fft"]
    out = op.output.shape
    frames = out[-2] if out[-1] == 2 and len(out) > 2 and op.get("return_complex") is False else out[-1]
    batch = op.inputs[0].shape[0] if len(op.inputs[0].shape) > 1 else 1
    transform = 5 * points * log2_ceil(points)
    return count(op, other=batch * frames * ((transform if op.get("onesided") is False else transform // 2) + points))
