"""Pooling, normalisation, softmax and reductions."""

from __future__ import annotations

from flopscope.errors import InputError
from flopscope.frontends.onnx.ops.table import lowers, plain
from flopscope.frontends.onnx.values import Call

plain({
    "ArgMax": "argmax", "ArgMin": "argmin", "CumSum": "cumsum", "CumProd": "cumprod",
    "Det": "linalg_det",
})  # fmt: skip


@lowers("MaxPool", "AveragePool", "LpPool")
def pool(call: Call) -> None:
    """``[n, c, *s'] = pool([n, c, *s], k)``."""
    kernel = tuple(call.attr("kernel_shape", ()))
    if any(size < 1 for size in call.out.shape[2:]) and all(size > 0 for size in call[0].shape):
        raise InputError(f"a window of {list(kernel)} is larger than its padded input of {list(call[0].shape[2:])}")
    if call.op == "LpPool":
        powers = call.between(call[0].shape, call[0].dtype)
        call.add("pow", powers, input=call[0])
        call.add("avg_pool", call.out, input=powers, kernel_size=kernel)
        return
    call.add(
        "max_pool" if call.op == "MaxPool" else "avg_pool", call.outputs, input=call[0], kernel_size=kernel, stride=call.attr("strides")
    )


@lowers("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(call: Call) -> None:
    """``[n, c, 1, ..] = pool([n, c, *s])``: one window over all positions."""
    kind = "max_pool" if call.op == "GlobalMaxPool" else "avg_pool"
    call.add(kind, call.out, input=call[0], kernel_size=tuple(call[0].shape[2:]))


@lowers("BatchNormalization")
def batch_norm(call: Call) -> None:
    """``[n, c, *] = bn([n, c, *], [c], [c], mean, variance)``; versions 1 to 6 and 14 can train."""
    train = bool(call.attr("training_mode", 0)) or (
        call.opset < 7 and not call.attr("is_test", 0) and len([o for o in call.outputs if o]) > 1
    )
    call.add(
        "batch_norm", call.outputs, input=call[0], weight=call[1], bias=call[2], running_mean=call[3], running_var=call[4], training=train
    )  # fmt: skip


@lowers("InstanceNormalization")
def instance_norm(call: Call) -> None:
    """``[n, c, *] = in([n, c, *], [c], [c])``."""
    call.add("instance_norm", call.out, input=call[0], weight=call[1], bias=call[2])


@lowers("LayerNormalization")
def layer_norm(call: Call) -> None:
    """``[*, d] = ln([*, d], [d], [d]?)`` over the dimensions from an axis on."""
    shape = call[0].shape
    normalized = shape[call.attr("axis", -1) % len(shape) :]
    call.add("layer_norm", call.outputs, input=call[0], normalized_shape=normalized, weight=call[1], bias=call.get(2))


@lowers("RMSNormalization", "SimplifiedLayerNormalization")
def rms_norm(call: Call) -> None:
    """``[*, d] = rms([*, d], [d])`` over the dimensions from an axis on."""
    shape = call[0].shape
    call.add("rms_norm", call.outputs, input=call[0], normalized_shape=shape[call.attr("axis", -1) % len(shape) :], weight=call[1])


@lowers("GroupNormalization")
def group_norm(call: Call) -> None:
    """``[n, c, *] = gn([n, c, *], [c], [c])``; in version 18 the weights are per group."""
    call.add("group_norm", call.out, input=call[0], num_groups=call.attr("num_groups", 1), weight=call[1], bias=call[2])


@lowers("Softmax", "LogSoftmax")
def softmax(call: Call) -> None:
    """``x = softmax(x, axis)``; before version 13 over all dimensions from the axis on."""
    call.add(
        "softmax" if call.op == "Softmax" else "log_softmax", call.out, input=call[0], dim=call.attr("axis", -1 if call.opset >= 13 else 1)
    )


@lowers("LRN")
def local_response(call: Call) -> None:
    """Squares, sums over neighbouring channels, a power and a division, as PyTorch's layer runs it."""
    x, size = call[0], call.attr("size", 1)
    squares, sums, scale = (call.between(x.shape, x.dtype) for _ in range(3))
    call.add("mul", squares, input=x, other=x)
    call.add("avg_pool", sums, input=squares, kernel_size=(size, 1))
    call.add("pow", scale, input=sums)
    call.add("div", call.out, input=x, other=scale)


_REDUCTIONS = {
    "ReduceSum": "sum", "ReduceProd": "prod", "ReduceMax": "amax", "ReduceMin": "amin", "ReduceMean": "mean", "ReduceL2": "norm",
    "ReduceL1": "norm", "ReduceLogSumExp": "logsumexp",
}  # fmt: skip


_PLAIN = ("ReduceSum", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceMean")
"""Reductions that leave an element as it is where there is nothing to reduce."""


@lowers(*_REDUCTIONS)
def reduce(call: Call) -> None:
    """``[*] = reduce([*, d], axes?)``: axes are an attribute in early versions, an input later."""
    axes = call.get(1)
    if call.attr("noop_with_empty_axes", 0) and not call.attr("axes") and (axes is None or not axes.type.elements) and call.op in _PLAIN:
        call.add("view", call.out, view=True, input=call[0])
        return
    call.add(_REDUCTIONS[call.op], call.out, input=call[0], axes=axes)


@lowers("ReduceSumSquare", "ReduceLogSum")
def reduce_two_steps(call: Call) -> None:
    """A function of every element and a sum, or a sum and a function of it."""
    x = call[0]
    if call.op == "ReduceSumSquare":
        squares = call.between(x.shape, x.dtype)
        call.add("mul", squares, input=x, other=x)
        call.add("sum", call.out, input=squares)
    else:
        total = call.between(call.out.shape, call.out.dtype)
        call.add("sum", total, input=x)
        call.add("log", call.out, input=total)


@lowers("MeanVarianceNormalization")
def mean_variance(call: Call) -> None:
    """``(x - mean) / std`` over some axes: a layer norm without weights."""
    axes = [axis % len(call[0].shape) for axis in call.attr("axes", [0, 2, 3])]
    call.add("layer_norm", call.out, input=call[0], normalized_shape=tuple(call[0].shape[axis] for axis in axes))


@lowers("LpNormalization")
def lp_norm(call: Call) -> None:
    """``x / |x|`` along an axis."""
    x, axis = call[0], call.attr("axis", -1)
    norms = call.between([1 if dim == axis % len(x.shape) else size for dim, size in enumerate(x.shape)], x.dtype)
    call.add("norm", norms, input=x)
    call.add("div", call.out, input=x, other=norms)


@lowers("Hardmax")
def hardmax(call: Call) -> None:
    """One at the greatest element along an axis, zero elsewhere."""
    x, axis = call[0], call.attr("axis", -1 if call.opset >= 13 else 1)
    shape = [1 if dim == axis % len(x.shape) else size for dim, size in enumerate(x.shape)] if call.opset >= 13 else x.shape[:axis]
    place = call.between(shape, "int64")
    call.add("argmax", place, input=x)
    call.add("one_hot", call.out, input=place)
