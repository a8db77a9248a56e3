"""Shortcuts against the meta kernels that they stand for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from flopscope.frontends.torch.shortcuts import _shortcuts

aten = torch.ops.aten
CONVS = {3: aten.conv1d.default, 4: aten.conv2d.default, 5: aten.conv3d.default}
UNARY = [f for f in _shortcuts if len([a for a in f._schema.arguments if not a.has_default_value()]) == 1 and f is not aten.cat.default]
BINARY = [aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor, aten.add_.Tensor, aten.mul_.Tensor]

shapes = st.lists(st.integers(1, 4), min_size=1, max_size=5)
dtypes = st.sampled_from([torch.float32, torch.float16, torch.int64])


@st.composite
def tensors(draw: Any, shape: list[int] | None = None) -> Tensor:
    """A meta tensor: contiguous, permuted, sliced or in channels-last layout."""
    shape = draw(shapes) if shape is None else shape
    dtype = draw(dtypes)
    kind = draw(st.sampled_from(["plain", "plain", "plain", "permuted", "sliced", "channels last"]))
    if kind == "permuted":
        order = draw(st.permutations(range(len(shape))))
        made = torch.empty([shape[i] for i in order], dtype=dtype, device="meta")
        return made.permute([order.index(i) for i in range(len(shape))])
    if kind == "sliced":
        return torch.empty([*shape[:-1], shape[-1] * 2], dtype=dtype, device="meta")[..., ::2]
    made = torch.empty(shape, dtype=dtype, device="meta")
    return made.to(memory_format=torch.channels_last) if kind == "channels last" and len(shape) == 4 else made


def agree(func: Any, *args: Any, **kwargs: Any) -> None:
    """The shortcut declines, or says what the kernel says."""
    answer = _shortcuts[func](*args, **kwargs)
    if answer is None:
        return
    expected = func(*args, **kwargs)
    assert (answer.shape, answer.dtype, answer.stride()) == (expected.shape, expected.dtype, expected.stride()), func
    assert (answer is args[0]) == (expected is args[0])


@pytest.mark.parametrize("func", UNARY, ids=str)
@given(x=tensors())
@settings(max_examples=20, deadline=None)
def test_unary(func: Any, x: Tensor) -> None:
    agree(func, x)


@pytest.mark.parametrize("func", BINARY, ids=str)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_binary(func: Any, data: st.DataObject) -> None:
    shape = data.draw(shapes)
    smaller = [size if data.draw(st.booleans()) else 1 for size in shape]
    a, b = data.draw(tensors(shape)), data.draw(tensors(smaller))
    if not func._schema.name.endswith("_") and data.draw(st.booleans()):
        a, b = b, a
    agree(func, a, data.draw(st.sampled_from([b, 2, 2.0, True])))


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_concatenation(data: st.DataObject) -> None:
    shape = data.draw(shapes)
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    parts = []
    for _ in range(data.draw(st.integers(1, 3))):
        own = list(shape)
        own[dim] = data.draw(st.integers(1, 3))
        parts.append(data.draw(tensors(own)))
    agree(aten.cat.default, parts, dim)


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_norms_linear_pooling_and_mean(data: st.DataObject) -> None:
    x = data.draw(tensors())
    dims = data.draw(st.lists(st.integers(-x.dim(), x.dim() - 1), min_size=1, max_size=2))
    agree_if_valid(aten.mean.dim, x, dims, data.draw(st.booleans()))
    agree_if_valid(aten.layer_norm.default, x, [x.shape[-1]], x.new_empty(x.shape[-1]), x.new_empty(x.shape[-1]))
    agree_if_valid(aten.linear.default, x, x.new_empty(3, x.shape[-1]), x.new_empty(3))
    agree_if_valid(aten.softmax.int, x, dims[0])
    agree_if_valid(aten.roll.default, x, [1] * len(dims), dims)
    if x.dim() >= 2:
        channels = x.shape[1]
        statistics = [x.new_empty(channels) for _ in range(4)]
        agree_if_valid(aten.batch_norm.default, x, *statistics, False, 0.1, 1e-5, True)
        agree_if_valid(aten.group_norm.default, x, 1, statistics[0], statistics[1], 1e-5, True)
    if x.dim() == 4:
        agree_if_valid(aten.adaptive_avg_pool2d.default, x, [2, 3])


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_convolution_against_a_real_run(data: st.DataObject) -> None:
    """Against the CPU, because the meta kernel forgets the channels-last layout."""
    dims, groups = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 2))
    small = st.integers(1, 3)
    x = torch.zeros(data.draw(small), groups * data.draw(small), *(data.draw(st.integers(1, 6)) for _ in range(dims)))
    weight = torch.zeros(groups * data.draw(small), x.shape[1] // groups, *(data.draw(small) for _ in range(dims)))
    if dims == 2 and data.draw(st.booleans()):
        x = x.to(memory_format=torch.channels_last)
    if dims == 2 and data.draw(st.booleans()):
        weight = weight.to(memory_format=torch.channels_last)
    options = [[data.draw(small)] * dims, [data.draw(st.integers(0, 2))] * dims, [data.draw(small)] * dims, groups]
    answer = _shortcuts[CONVS[dims + 2]](x.to("meta"), weight.to("meta"), None, *options)
    try:
        expected = CONVS[dims + 2](x, weight, None, *options)
    except RuntimeError:
        assert answer is None
        return
    if answer is not None:
        assert answer.shape == expected.shape
        if expected.is_contiguous() != expected.is_contiguous(memory_format=torch.channels_last if dims == 2 else torch.contiguous_format):
            assert answer.stride() == expected.stride()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_attention_against_a_real_run(dtype: torch.dtype, data: st.DataObject) -> None:
    """Against the CPU, because the meta kernel forgets the layout of the query."""
    size = st.integers(1, 4)
    batch, heads, length, keys, width = (data.draw(size) for _ in range(5))
    layout = data.draw(st.sampled_from(["plain", "swapped", "length first", "packed"]))
    query = {
        "plain": lambda: torch.zeros(batch, heads, length, width, dtype=dtype),
        "swapped": lambda: torch.zeros(batch, length, heads, width, dtype=dtype).transpose(1, 2),
        "length first": lambda: torch.zeros(length, batch, heads, width, dtype=dtype).permute(1, 2, 0, 3),
        "packed": lambda: torch.zeros(batch, length, 3, heads, width, dtype=dtype)[:, :, 0].transpose(1, 2),
    }[layout]()
    key, value = (torch.zeros(batch, heads, keys, data.draw(st.sampled_from([width, width, 3])), dtype=dtype) for _ in range(2))
    mask_shape = data.draw(st.sampled_from([None, (length, keys), (batch, 1, length, keys), (1, 1, 1, keys), (length, keys + 1)]))
    mask = None if mask_shape is None else torch.zeros(mask_shape, dtype=dtype)
    options = [mask, 0.0, data.draw(st.booleans())]
    func = aten.scaled_dot_product_attention.default
    answer = _shortcuts[func](
        *(tensor.to("meta") for tensor in (query, key, value)), None if mask is None else mask.to("meta"), *options[1:]
    )
    try:
        with torch.inference_mode():
            expected = func(query, key, value, *options)
    except RuntimeError:
        assert answer is None
        return
    if answer is not None:
        assert (answer.shape, answer.dtype, layout_of(answer)) == (expected.shape, expected.dtype, layout_of(expected))


def layout_of(tensor: Tensor) -> list[int]:
    """The strides that matter: those of dimensions with more than one element."""
    return [stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size > 1]


def agree_if_valid(func: Any, *args: Any) -> None:
    """As `agree`, where the kernel accepts the arguments at all; where it does not, the shortcut must decline."""
    try:
        func(*args)
    except (RuntimeError, NotImplementedError):
        assert _shortcuts[func](*args) is None, func
        return
    agree(func, *args)


@pytest.mark.parametrize("lies_last", [(False, False), (True, False), (False, True), (True, True)])
def test_convolutions_outside_of_inference_lie_as_real_ones_do(lies_last: tuple[bool, bool]) -> None:
    """The result, and the gradient of the input."""
    x, weight = torch.randn(2, 8, 9, 9), torch.randn(6, 8, 3, 3)
    x, weight = (t.to(memory_format=torch.channels_last) if last else t for t, last in zip((x, weight), lies_last, strict=True))
    options: Any = ([2, 2], [1, 1], [1, 1], False, [0, 0], 1)
    expected = aten.convolution.default(x, weight, None, *options)
    answer = _shortcuts[aten.convolution.default](x.to("meta"), weight.to("meta"), None, *options)
    assert answer is None or (answer.shape, answer.stride()) == (expected.shape, expected.stride())
    mask = [True, True, False]
    gradients = aten.convolution_backward.default(torch.ones_like(expected), x, weight, [0], *options, mask)
    answers = _shortcuts[aten.convolution_backward.default](expected.to("meta"), x.to("meta"), weight.to("meta"), [0], *options, mask)
    if answers is None:
        assert not any(lies_last)
    else:
        assert answers[2] is None
        assert [a.stride() for a in answers[:2]] == [g.stride() for g in gradients[:2]]


def test_every_shortcut_is_tried() -> None:
    tried = {
        *UNARY,
        *BINARY,
        aten.cat.default,
        aten.mean.dim,
        aten.layer_norm.default,
        aten.linear.default,
        aten.softmax.int,
        aten.roll.default,
    }
    tried |= {aten.batch_norm.default, aten.group_norm.default, aten.adaptive_avg_pool2d.default, aten.sub_.Tensor, aten.div_.Tensor}
    tried |= {aten.convolution.default, aten.convolution_backward.default}
    tried |= {*CONVS.values(), aten.scaled_dot_product_attention.default}
    packed = {
        aten.lstm.data,
        aten.gru.data,
        aten.rnn_tanh.data,
        aten.rnn_relu.data,
    }  # tried on packed sequences, as they have no meta kernel
    assert set(_shortcuts) - tried <= {aten.instance_norm.default, *packed}
