"""Results of common ops whose meta kernels are written in Python and take half a millisecond or more.

Each function returns the same tensor as the meta kernel, for the common cases, or ``None`` for all others; a property test compares the
two. Only dense inputs in the default memory layout are answered, so that strides need no thought.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
Shortcut = Callable[..., Any]
_shortcuts: dict[Any, Shortcut] = {}


def shortcut(func: Any) -> Shortcut | None:
    """The shortcut for an overload, if it has one."""
    return _shortcuts.get(func)


def _answers(*funcs: Any) -> Callable[[Shortcut], Shortcut]:
    def register(function: Shortcut) -> Shortcut:
        _shortcuts.update(dict.fromkeys(funcs, function))
        return function

    return register


def _new(shape: Any, dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def _is_plain(tensor: Any) -> bool:
    """Whether a tensor is floating point, and in the default layout to the last stride.

    A tensor with one channel or one position may be contiguous and in the channels-last layout at the same time; its strides tell which.
    """
    return isinstance(tensor, Tensor) and tensor.is_floating_point() and _has_default_strides(tensor)


def _has_default_strides(tensor: Tensor) -> bool:
    expected = 1
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.stride()), strict=True):
        if stride != expected:
            return False
        expected *= size
    return expected > 0


@_answers(
    aten.relu.default, aten.sigmoid.default, aten.tanh.default, aten.gelu.default, aten.silu.default, aten.hardtanh.default,
    aten.hardswish.default,
    aten.hardsigmoid.default, aten.relu6.default, aten.elu.default, aten.mish.default, aten.exp.default, aten.neg.default,
    aten.rsqrt.default,
    aten.leaky_relu.default, aten.softplus.default, aten.abs.default, aten.sqrt.default, aten.cos.default, aten.sin.default,
)  # fmt: skip
def _unary(x: Tensor, *_: Any, **__: Any) -> Tensor | None:
    return _new(x.shape, x.dtype) if _is_plain(x) else None


@_answers(
    aten.relu_.default, aten.sigmoid_.default, aten.silu_.default, aten.hardtanh_.default, aten.hardswish_.default,
    aten.hardsigmoid_.default, aten.relu6_.default, aten.leaky_relu_.default, aten.elu_.default, aten.mish_.default, aten.gelu_.default,
)  # fmt: skip
def _unary_in_place(x: Tensor, *_: Any, **__: Any) -> Tensor | None:
    return x if _is_plain(x) else None


@_answers(aten.batch_norm.default, aten.instance_norm.default)
def _batch_norm(x: Tensor, *rest: Any) -> Tensor | None:
    per_channel = [tensor for tensor in rest[:4] if tensor is not None]
    if not _is_plain(x) or x.dim() < 2 or any(tensor.shape != x.shape[1:2] or tensor.dtype != x.dtype for tensor in per_channel):
        return None
    return _new(x.shape, x.dtype)


@_answers(aten.layer_norm.default, aten.group_norm.default)
def _layer_norm(x: Tensor, shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, *_: Any) -> Tensor | None:
    if not _is_plain(x) or any(tensor is not None and tensor.dtype != x.dtype for tensor in (weight, bias)):
        return None
    if isinstance(shape, int):
        fits = x.dim() >= 2 and x.shape[1] % shape == 0 and (weight is None or weight.shape == x.shape[1:2])
    else:
        fits = list(x.shape[x.dim() - len(shape) :]) == list(shape) and (weight is None or list(weight.shape) == list(shape))
    return _new(x.shape, x.dtype) if fits else None


@_answers(aten.conv1d.default, aten.conv2d.default, aten.conv3d.default)
def _conv(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = (1,), padding: Any = (0,), dilation: Any = (1,), groups: int = 1
) -> Tensor | None:
    dims = weight.dim() - 2
    if x.dim() != weight.dim() or 0 in x.shape or x.dtype != weight.dtype or not x.is_floating_point():
        return None
    if x.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups or (bias is not None and bias.shape != weight.shape[:1]):
        return None
    sizes = []
    for size, kernel, *options in zip(
        x.shape[2:], weight.shape[2:], *(_per_dim(o, dims) for o in (stride, padding, dilation)), strict=True
    ):
        step, pad, spread = options
        room = size + 2 * pad - spread * (kernel - 1) - 1
        if room < 0 or step < 1 or pad < 0 or spread < 1:
            return None
        sizes.append(room // step + 1)
    if _has_default_strides(x) and _has_default_strides(weight):
        layout = torch.contiguous_format
    elif dims == 2 and all(_has_default_strides(t) or _is_channels_last(t) for t in (x, weight)):
        layout = torch.channels_last  # as the kernels of CPU and GPU do, but not the meta kernel
    else:
        return None
    return torch.empty((x.shape[0], weight.shape[0], *sizes), dtype=x.dtype, device="meta", memory_format=layout)


def _is_channels_last(tensor: Tensor) -> bool:
    return tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()


def _per_dim(option: Any, dims: int) -> list[int]:
    return list(option) if len(option) == dims else list(option) * dims


@_answers(aten.convolution.default)
def _convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, transposed: bool, _: Any, groups: int
) -> Tensor | None:
    return None if transposed else _conv(x, weight, bias, stride, padding, dilation, groups)


@_answers(aten.convolution_backward.default)
def _convolution_backward(gradient: Tensor, x: Tensor, weight: Tensor, *rest: Any) -> tuple[Tensor | None, ...] | None:
    """As the kernels of CPU and GPU lay out the gradient of an input, but not the meta kernel."""
    if x.dim() != 4 or not (_is_channels_last(x) or _is_channels_last(weight)):
        return None
    found: Any = aten.convolution_backward.default(gradient, x, weight, *rest)
    return tuple(one if one is None or one.dim() != 4 else one.contiguous(memory_format=torch.channels_last) for one in found)


@_answers(aten.linear.default)
def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor | None:
    if not _is_plain(x) or x.dim() < 2 or weight.dim() != 2 or weight.shape[1] != x.shape[-1] or weight.dtype != x.dtype:
        return None
    if bias is not None and (bias.shape != weight.shape[:1] or bias.dtype != x.dtype):
        return None
    return _new((*x.shape[:-1], weight.shape[0]), x.dtype)


@_answers(aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor)
def _binary(a: Tensor, b: Any, **options: Any) -> Tensor | None:
    if options or not _is_plain(a):
        return None
    if not isinstance(b, Tensor):
        return _new(a.shape, a.dtype) if isinstance(b, (int, float)) else None
    if not _is_plain(b) or a.dtype != b.dtype or a.dim() != b.dim():
        return None
    if a.shape == b.shape:
        return _new(a.shape, a.dtype)
    larger, smaller = (a, b) if a.numel() >= b.numel() else (b, a)
    if all(small in (1, large) for small, large in zip(smaller.shape, larger.shape, strict=True)):
        return _new(larger.shape, a.dtype)
    return None


@_answers(aten.add_.Tensor, aten.sub_.Tensor, aten.mul_.Tensor, aten.div_.Tensor)
def _binary_in_place(a: Tensor, b: Any, **options: Any) -> Tensor | None:
    same = isinstance(b, Tensor) and a.shape == b.shape and a.dtype == b.dtype
    return a if same and not options and _is_plain(a) else None


@_answers(aten.cat.default)
def _cat(tensors: list[Tensor], dim: int = 0) -> Tensor | None:
    first = tensors[0]
    rank = first.dim()
    if not -rank <= dim < rank or not all(_is_plain(tensor) and tensor.dim() == rank and tensor.dtype == first.dtype for tensor in tensors):
        return None
    dim %= rank
    others = [(*tensor.shape[:dim], *tensor.shape[dim + 1 :]) for tensor in tensors]
    if any(other != others[0] for other in others):
        return None
    return _new((*first.shape[:dim], sum(tensor.shape[dim] for tensor in tensors), *first.shape[dim + 1 :]), first.dtype)


@_answers(aten.adaptive_avg_pool2d.default)
def _adaptive_avg_pool(x: Tensor, size: Any) -> Tensor | None:
    return _new((*x.shape[:-2], *size), x.dtype) if _is_plain(x) and x.dim() == 4 and len(size) == 2 and 0 not in x.shape else None


@_answers(aten.mean.dim)
def _mean(x: Tensor, dims: Any, keepdim: bool = False, *, dtype: Any = None) -> Tensor | None:
    if not _is_plain(x) or dtype is not None or not dims or not all(-x.dim() <= dim < x.dim() for dim in dims):
        return None
    reduced = {dim % x.dim() for dim in dims}
    if len(reduced) != len(dims):
        return None
    sizes = enumerate(x.shape)
    return _new([1 if dim in reduced else size for dim, size in sizes if keepdim or dim not in reduced], x.dtype)


@_answers(aten.roll.default)
def _roll(x: Tensor, shifts: Any, dims: Any = ()) -> Tensor | None:
    return _new(x.shape, x.dtype) if _is_plain(x) and len(shifts) == len(dims) and all(-x.dim() <= dim < x.dim() for dim in dims) else None


@_answers(aten.softmax.int)
def _softmax(x: Tensor, dim: int, dtype: Any = None) -> Tensor | None:
    return _new(x.shape, x.dtype) if _is_plain(x) and dtype is None and -x.dim() <= dim < x.dim() else None


@_answers(aten.scaled_dot_product_attention.default)
def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **options: Any,
) -> Tensor | None:
    """The fused kernels return the layout of the query; the meta kernel takes another way and does not, so views would look like copies."""
    if any(tensor.dim() != 4 or tensor.dtype != query.dtype for tensor in (query, key, value)) or dropout_p or options.get("enable_gqa"):
        return None
    batch, heads, length, width = query.shape
    keys = key.shape[2]
    if key.shape != (batch, heads, keys, width) or value.shape != key.shape or not query.is_floating_point() or 0 in query.shape:
        return None
    if attn_mask is not None and (is_causal or not _broadcasts(attn_mask.shape, (batch, heads, length, keys))):
        return None
    return torch.empty_like(query)


def _broadcasts(shape: Any, target: Any) -> bool:
    return len(shape) <= len(target) and all(size in (1, whole) for size, whole in zip(reversed(shape), reversed(target), strict=False))


@_answers(aten.lstm.data, aten.gru.data, aten.rnn_tanh.data, aten.rnn_relu.data)
def _packed_recurrent(data: Tensor, _sizes: Tensor, state: Any, _weights: list[Tensor], *options: Any) -> Any:
    """Recurrent layers on packed sequences: the sizes of the steps, which meta tensors do not know, say nothing about the shapes."""
    directions = 2 if options[-1] else 1
    first = state[0] if isinstance(state, (list, tuple)) else state
    width = first.shape[-1]
    out = _new((data.shape[0], directions * width), data.dtype)
    if isinstance(state, (list, tuple)):
        return out, torch.empty_like(state[0]), torch.empty_like(state[1])
    return out, torch.empty_like(first)
