"""ptflops with its default back end, which hooks layers of ``torch.nn`` and replaces functions too: what both see is counted twice."""

from __future__ import annotations

from flopscope.analyses.conventions.base import Call, Convention, Line, every, nothing
from flopscope.analyses.conventions.shared import (
    BATCH_NORMS,
    CONVS,
    ELEMENTS_OUT,
    INSTANCE_NORMS,
    PRODUCT,
    TRANSPOSED,
    UNSEEN,
    WITH_BIAS,
    first_by_last,
    is_held,
    is_method,
    is_operator,
)

_NORM = Line(
    lambda call: call.elements_in * (2 if call.signature.get("weight") is not None else 1), "norm: 2 per element, 1 without weights"
)
_LAYER_NORM = Line(lambda call: call.elements_in, "layer norm: 1 per element")
_POOL = Line(lambda call: call.elements_in, "pooling: 1 per input")
_ACTIVATION = Line(lambda call: call.elements_in, "activation: 1 per element")

# By which op a layer of attention is recognised; its own formula counts scale, scores, softmax, values and projections together.
_ATTENTION = {
    "linear": Line(lambda call: call.macs + call.biased, "projection in nn.MultiheadAttention, with bias"),
    "attention": Line(lambda call: call.macs + _scores(call) + call.elements_in, "attention: products, 1 per score, 1 per query element"),
    "matmul": Line(lambda call: call.macs, "product in attention"),
    "addmm": Line(lambda call: call.macs, "product in attention"),
    "softmax": Line(lambda call: call.elements_in, "softmax in attention: 1 per score"),
    "mul": Line(lambda call: call.elements_in, "scale in attention: 1 per query element"),
}
_TIMM_ATTENTION = {kind: line for kind, line in _ATTENTION.items() if kind != "linear"}


def _scores(call: Call) -> int:
    query, key = call.signature["query"], call.signature["key"]
    return query.elements // query.shape[-1] * key.shape[-2] if query.shape[-1] else 0


def _per_image(line: Line) -> Line:
    """What layers count is divided by the batch in the end; what functions count is not."""
    return Line(lambda call: line.count(call) * call.places // max(1, call.scene.batch), line.text)


def _rnn(call: Call) -> int:
    """Matrices and biases of every layer once per token; of a bidirectional layer, the forward half twice."""
    op, name = call.signature, call.kind
    gates = {"rnn": 1, "gru": 3, "lstm": 4}[name]
    extra = {"rnn": 1, "gru": 7, "lstm": 10}[name]
    weights = op["params"]
    runs = 2 if op.get("bidirectional", False) else 1
    per_direction = len(weights) // (op["num_layers"] * runs)
    units = weights[0].shape[0] // gates
    forward = [w for i, w in enumerate(weights) if (i // per_direction) % runs == 0]
    per_token = sum(weight.elements for weight in forward) + op["num_layers"] * extra * units
    return int(per_token * runs * op["input"].shape[0] * op["input"].shape[1])


def _one_image(call: Call) -> int:
    return call.elements_out // max(1, call.signature.output.shape[0])


_ACTIVATIONS = ("ReLU", "PReLU", "ELU", "LeakyReLU", "ReLU6", "GELU")
_LAYERS = {
    **{name: {"conv": WITH_BIAS} for name in CONVS},
    **{name: {"conv_transpose": WITH_BIAS} for name in TRANSPOSED},
    "Linear": {"linear": WITH_BIAS},
    **{name: every("batch_norm", _NORM) for name in BATCH_NORMS},
    **{name: {"instance_norm": _NORM} for name in INSTANCE_NORMS},
    "GroupNorm": {"group_norm": _NORM},
    "LayerNorm": {"layer_norm": _LAYER_NORM},
    **{name: every("relu hardtanh relu6 prelu _prelu_kernel elu leaky_relu gelu", _ACTIVATION) for name in _ACTIVATIONS},
    **{
        f"{kind}Pool{dims}d": every("max_pool avg_pool adaptive_avg_pool adaptive_max_pool", _POOL)
        for dims in (1, 2, 3)
        for kind in ("Max", "Avg", "AdaptiveMax", "AdaptiveAvg")
    },
    "Upsample": every("upsample_nearest upsample_linear upsample_cubic", Line(_one_image, "upsampling: 1 per output of one image")),
    "MultiheadAttention": _ATTENTION,
    **{name: {name.lower(): Line(_rnn, "matrices, biases and gates once per token")} for name in ("RNN", "GRU", "LSTM")},
}  # fmt: skip


def _layer_line(call: Call) -> Line | None:
    if any(_is_timm_attention(module) or module.class_name == "MultiheadAttention" for module in call.outer):
        return nothing("inside an attention layer, whose own count replaces those of the layers in it")
    own = _TIMM_ATTENTION if _is_timm_attention(call.module) else _LAYERS.get(call.layer, {})
    line = own.get(call.kind)
    return None if line is None else _per_image(line)


def _is_timm_attention(module: object) -> bool:
    return getattr(module, "class_name", "") == "Attention" and getattr(module, "origin", "") in (
        "timm.layers.attention",
        "timm.models.vision_transformer",
    )


def _product(call: Call) -> int:
    return 0 if is_operator(call) else PRODUCT.count(call)


def _added_product(call: Call) -> int:
    op = call.signature
    return (
        0
        if op.target not in ("aten::addmm", "aten::baddbmm")
        else first_by_last(call) + (op.inputs[0].elements if op.get("beta", 1) else 0)
    )


def _function(call: Call) -> int:
    return 0 if is_held(call) else call.elements_in


_AGAIN = " (once more where a layer counted it too)"

PTFLOPS = Convention(
    "ptflops", 1, "MACs", "ptflops 0.7.5, back end pytorch",
    "what ptflops prints as MACs of one image: layers of torch.nn with bias, norms 2 per element (layer norm 1), activations and "
    "pooling 1 per "
    "element, and again where a layer calls a function that is replaced too (relu, gelu, pooling, ...); torch.matmul and bmm, but neither "
    "a @ b nor F.linear, F.conv2d or scaled_dot_product_attention; timm's Attention hides the linear layers in it",
    kinds={
        **every("relu prelu elu relu6 gelu silu", Line(_function, f"activation function: 1 per element{_AGAIN}")),
        **every("avg_pool max_pool adaptive_avg_pool adaptive_max_pool", Line(_POOL.count, f"pooling function: 1 per input{_AGAIN}")),
        "softmax": Line(lambda call: 0 if is_method(call) else call.elements_in, "softmax function: 1 per element"),
        **every("upsample_nearest upsample_linear upsample_cubic", Line(ELEMENTS_OUT.count, f"interpolation: 1 per output{_AGAIN}")),
        "matmul": Line(_product, "products by torch.matmul, mm and bmm; a @ b is not seen"),
        "addmm": Line(_added_product, "torch.addmm and baddbmm: products, and 1 per element that is added"),
    },
    otherwise=UNSEEN,
    layer_line=_layer_line,
    unfolds=True,
)  # fmt: skip
