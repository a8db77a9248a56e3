"""Fourier transforms, windows and filter banks. ONNX writes complex numbers as a last dimension of two."""

from __future__ import annotations

from flopscope.frontends.onnx.ops.table import lowers, plain
from flopscope.frontends.onnx.values import Call, Slot

plain({"HannWindow": "hann_window", "HammingWindow": "hamming_window", "BlackmanWindow": "blackman_window"})


def _numbers(call: Call, x: Slot) -> Slot:
    """A signal without its last dimension: complex where that is two."""
    dtype = x.dtype if x.shape[-1] == 1 else "complex128" if x.dtype == "float64" else "complex64"
    result = call.between(x.shape[:-1], dtype)
    call.add("view", result, view=True, input=x)
    return result


@lowers("DFT")
def transform(call: Call) -> None:
    """``[*, n, 2] = DFT([*, n', 1 or 2], n?, axis?)``; real input with half the result, and the way back from half, cost half."""
    x, out = call[0], call.out
    rank = len(x.shape)
    given = call.get(2)
    known = given.ints() if given is not None else None
    axis = known[0] if known else call.attr("axis", 1 if call.opset < 20 else -2)
    dim = axis % rank
    half, inverse = bool(call.attr("onesided", 0)), bool(call.attr("inverse", 0))
    kind = "fft_irfft" if half and inverse else "fft_rfft" if half else "fft_ifft" if inverse else "fft_fft"
    length = call.get(1)
    points = (length.ints() if length is not None else None) or [x.shape[dim]]
    result = _unseen(call, out)
    call.add(kind, result, input=_numbers(call, x), n=points[0], dim=dim)
    call.add("view", out, view=True, input=result)


def _unseen(call: Call, out: Slot) -> Slot:
    """A place for a result of which the output is another view."""
    dtype = out.dtype if out.shape[-1] == 1 else "complex128" if out.dtype == "float64" else "complex64"
    return call.between(out.shape[:-1], dtype)


@lowers("STFT")
def short_time_transform(call: Call) -> None:
    """``[b, frames, bins, 2] = STFT([b, l, 1], step, window?, n?)``."""
    window, length = call.get(2), call.get(3)
    batch, frames, bins, _ = call.out.shape
    points = (length.ints() if length is not None else None) or [window.shape[0] if window is not None else 2 * (bins - 1)]
    result = call.between((batch, bins, frames), "complex128" if call.out.dtype == "float64" else "complex64")
    call.add(
        "stft", result, input=_numbers(call, call[0]), n_fft=points[0], window=window, onesided=bool(call.attr("onesided", 1)),
        return_complex=True,
    )  # fmt: skip
    call.add("permute", call.out, view=True, input=result)


@lowers("MelWeightMatrix")
def mel_weights(call: Call) -> None:
    """``[bins, bands]``: the smaller of a rising and a falling line, not below zero, at every point."""
    shape, dtype = call.out.shape, call.out.dtype
    lines = []
    for _ in range(2):
        distance, line = call.between(shape, dtype), call.between(shape, dtype)
        call.add("sub", distance)
        call.add("div", line, input=distance)
        lines.append(line)
    lower = call.between(shape, dtype)
    call.add("minimum", lower, input=lines[0], other=lines[1])
    call.add("relu", call.out, input=lower)
