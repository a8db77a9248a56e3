"""thop's ``profile``, which hooks layers of ``torch.nn`` and counts nothing that runs outside them."""

from __future__ import annotations

from math import prod

from flopscope.analyses.conventions.base import Call, Convention, Line, every, nothing
from flopscope.analyses.conventions.shared import BATCH_NORMS, CONVS, ELEMENTS_IN, ELEMENTS_OUT, INSTANCE_NORMS, MACS, TRANSPOSED, recurrent


def _norm(call: Call) -> int:
    return call.elements_in * (4 if call.signature.get("weight") is not None else 2)


def _transposed(call: Call) -> int:
    weight = call.signature["weight"]
    return int(call.elements_out * (weight.shape[0] // call.signature.get("groups", 1)) * prod(weight.shape[2:]))


def _softmax(call: Call) -> int:
    size = call.signature.inputs[0].shape[call.signature["dim"]]
    return call.elements_in // size * (3 * size - 1) if size else 0


def _adaptive(call: Call) -> int:
    window = 1.0
    for size, wanted in zip(call.signature.inputs[0].shape[2:], call.signature.output.shape[2:], strict=True):
        window *= size / wanted if wanted else 0.0
    return int((window + 1) * call.elements_out)


_UPSAMPLED = {
    "aten::upsample_nearest1d": 1, "aten::upsample_nearest2d": 1, "aten::upsample_nearest3d": 1, "aten::upsample_linear1d": 5,
    "aten::upsample_bilinear2d": 11, "aten::upsample_bicubic2d": 259,
}  # fmt: skip


def _upsample(call: Call) -> int:
    return _UPSAMPLED.get(call.signature.target, 0) * call.elements_out


def _cell(call: Call, gates: int, state: int) -> int:
    op = call.signature
    units = op["w_hh"].shape[-1]
    per_row = op["w_ih"].elements + op["w_hh"].elements + units * (gates * (3 if op.get("b_ih") is not None else 1) + state)
    return int(prod(op["input"].shape[:-1]) * per_row)


_NORM = Line(_norm, "norm: 4 per element, 2 without weights")
_UPSAMPLE = Line(_upsample, "upsampling: nearest 1, linear 5, bilinear 11, bicubic 259 per output")
_PER_UNIT = "multiply-accumulates, and operations of gates and state"
_GATES = {"RNN": (1, 0), "GRU": (3, 4), "LSTM": (4, 4)}

THOP = Convention(
    "thop", 1, "MACs", "thop 0.1.1.post2209072238",
    "what thop prints as MACs: multiply-accumulates of nn.ConvNd and nn.Linear alone, with every norm layer 4 per element (2 without "
    "weights), average pooling 1 per output, adaptive 1 more than its window, softmax 3 per element; functions, parameters used "
    "directly, layers of derived classes and nn.MultiheadAttention are not seen, and a transposed convolution is counted per output",
    layers={
        **{name: {"conv": MACS} for name in CONVS},
        **{name: {"conv_transpose": Line(_transposed, "a transposed convolution counted like a plain one")} for name in TRANSPOSED},
        **{name: every("batch_norm", _NORM) for name in (*BATCH_NORMS, "SyncBatchNorm")},
        **{name: {"instance_norm": _NORM} for name in INSTANCE_NORMS},
        "LayerNorm": {"layer_norm": _NORM},
        "PReLU": every("prelu _prelu_kernel", ELEMENTS_IN),
        "Softmax": {"softmax": Line(_softmax, "softmax: 3 per element, 1 less per row")},
        **{f"AvgPool{dims}d": {"avg_pool": ELEMENTS_OUT} for dims in (1, 2, 3)},
        **{
            f"AdaptiveAvgPool{dims}d": {"adaptive_avg_pool": Line(_adaptive, "adaptive pooling: 1 more than its window per output")}
            for dims in (1, 2, 3)
        },
        "Linear": {"linear": MACS},
        **{
            name: every("upsample_nearest upsample_linear upsample_cubic", _UPSAMPLE)
            for name in ("Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d")
        },
        **{name: {name.lower(): Line(lambda call, of=of: recurrent(call, *of), _PER_UNIT)} for name, of in _GATES.items()},  # type: ignore[misc]
        **{
            f"{name}Cell": {f"{name.lower()}_cell": Line(lambda call, of=of: _cell(call, *of), _PER_UNIT)}  # type: ignore[misc]
            for name, of in _GATES.items()
        },
    },
    otherwise=nothing("runs outside the layers of torch.nn that thop hooks"),
    again=2,  # its hooks are set once for each place, and their sums are added once for each place
    unfolds=True,
)  # fmt: skip
