"""fvcore's ``FlopCountAnalysis``, which traces a model with ``torch.jit`` and counts the ops for which it has a handle."""

from __future__ import annotations

from dataclasses import replace

from flopscope.analyses.conventions.base import Call, Convention, Line, every, nothing
from flopscope.analyses.conventions.shared import MACS, einsum_operations, first_by_last

_SPECIAL_EINSUMS = ("abc,abd->acd", "abc,adc->adb")


def _norm(call: Call) -> int:
    return call.elements_in * (5 if call.signature.get("weight") is not None else 4)


def _batch_norm(call: Call) -> int:
    if call.signature.get("training", False):
        return _norm(call)
    return call.elements_in * (2 if call.signature.get("weight") is not None else 1)


def _einsum(call: Call) -> int:
    """Two equations exactly, whatever their letters; half of numpy's rounded count of operations for all others."""
    equation = call.signature["equation"].replace(" ", "")
    letters = {letter: chr(97 + i) for i, letter in enumerate(dict.fromkeys(filter(str.isalpha, equation)))}
    if "".join(letters.get(sign, sign) for sign in equation) in _SPECIAL_EINSUMS:
        return call.macs
    return einsum_operations(call) // 2


def _of(target: str, line: Line) -> Line:
    """The line for one op of a kind; fvcore has no handle for the others."""
    return Line(lambda call: line.count(call) if call.signature.target == target else 0, line.text)


def _convolution(call: Call) -> int:
    return 0 if isinstance(call.signature.get("padding"), str) else call.macs


def _matmul(call: Call) -> int:
    a, b = call.signature["a"], call.signature["b"]
    return first_by_last(call) if len(a.shape) > 1 and len(b.shape) > 1 and call.signature.target != "aten::_int_mm" else 0


_VERSION = "fvcore 0.1.5.post20221221"
_NORM = Line(_norm, "norm: 5 per element, 4 without weights")
_TEXT = (
    "multiply-accumulates; batch norm 2 per element (1 without weights), layer, group and instance norm 5 (4); adaptive average pooling 1 "
    "per input; nearest 1 and bilinear 4 per output; recurrent layers and convolutions with padding='same' are left out"
)

FVCORE = Convention(
    "fvcore", 2, "MACs", _VERSION,
    f"fvcore on a model whose attention is written as matrix products, as in timm's tables: {_TEXT}",
    kinds={
        "conv": Line(_convolution, "no handle for a convolution with padding='same' (aten::_convolution_mode)"),
        "conv_transpose": MACS,
        "linear": MACS,
        "attention": MACS,
        "addmm": _of("aten::addmm", Line(lambda call: call.macs, "addmm alone has a handle, not baddbmm or addmv")),
        "matmul": Line(_matmul, "elements of the first factor times the last dimension of the second; no handle for vectors"),
        "einsum": Line(_einsum, "einsum: half of numpy's estimate of operations, rounded to four digits"),
        **every("batch_norm", Line(_batch_norm, "batch norm: 2 per element, 1 without weights")),
        **every("layer_norm group_norm instance_norm", _NORM),
        "adaptive_avg_pool": _of("aten::adaptive_avg_pool2d", Line(lambda call: call.elements_in, "adaptive pooling: 1 per input")),
        "upsample_nearest": _of("aten::upsample_nearest2d", Line(lambda call: call.elements_out, "nearest: 1 per output")),
        "upsample_linear": _of("aten::upsample_bilinear2d", Line(lambda call: 4 * call.elements_out, "bilinear: 4 per output")),
        "grid_sampler": Line(lambda call: 4 * call.elements_out, "grid sampling: 4 per output"),
    },
    otherwise=nothing("fvcore has no handle for this op"),
    unfolds=True,
)  # fmt: skip

FVCORE_FUSED = replace(
    FVCORE,
    name="fvcore-fused",
    version=1,
    text=f"fvcore on the model as it is, fused attention unseen: {_TEXT}",
    kinds={**FVCORE.kinds, "attention": nothing("fvcore has no handle for scaled_dot_product_attention")},
)
