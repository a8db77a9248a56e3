"""Inputs written as text: ``1x3x224x224``, ``1x128:int64``, ``input_ids=1x128:int64``."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch.utils._pytree import tree_map

from flopscope.errors import InputError

_SHAPE = re.compile(r"(?P<shape>\d+(?:[x,]\d+)*|\(\))(?::(?P<dtype>\w+))?")
_LIKE_SHAPE = re.compile(r"[\s\[(-]*\d[\d\sxX×*,()\[\]-]*(?::\s*\w*\s*)?")
"""Sizes and signs between them, and a dtype: what people write for shapes, rightly or not."""
_MOST_ELEMENTS_WITH_DATA = 2**26
_SHORT = {"float": "float32", "half": "float16", "double": "float64", "long": "int64", "int": "int32", "bfloat": "bfloat16"}


def looks_like_shape(text: str) -> bool:
    """Whether a text is meant as a shape, though it may be a wrong one: sizes with nothing but signs between them.

    Any other text is an argument of the model's own, such as ``"mean"``, ``"cuda:0"`` or ``"0.5"``.
    """
    between = any(sign in text for sign in "xX×*,")
    return _SHAPE.fullmatch(text.strip()) is not None or (between and _LIKE_SHAPE.fullmatch(text.strip()) is not None)


def tensor_from_text(text: str, default_dtype: str = "float32") -> torch.Tensor:
    """A tensor of the shape and dtype that the text names: without data for floating point, zeros for integers, ones for booleans.

    Raises:
        InputError: the text names no shape or an unknown dtype.
    """
    match = _SHAPE.fullmatch(text.strip())
    if match is None:
        raise InputError(
            f"{text!r} is no shape: expected sizes with an x between them and an optional dtype, as in '1x3x224x224' or '1x128:int64'"
        )
    name = match["dtype"] or default_dtype
    dtype = getattr(torch, _SHORT.get(name, name), None)
    if not isinstance(dtype, torch.dtype):
        raise InputError(
            f"{text!r} names the dtype {name!r}, which torch does not have; choose for example float32, float16, bfloat16, int64 or bool"
        )
    shape = [] if match["shape"] == "()" else [int(size) for size in re.split("[x,]", match["shape"])]
    elements = 1
    for size in shape:
        elements *= size
    if elements >= 2**60:
        raise InputError(f"{text!r} names a tensor of {elements:,} elements, which no tensor can have")
    if dtype.is_floating_point or dtype.is_complex or elements > _MOST_ELEMENTS_WITH_DATA:
        return torch.empty(shape, dtype=dtype, device="meta")
    return torch.ones(shape, dtype=dtype) if dtype is torch.bool else torch.zeros(shape, dtype=dtype)


def tensors_from_text(inputs: Any, default_dtype: str = "float32") -> Any:
    """The same nested inputs with every text that is meant as a shape replaced by a tensor.

    Raises:
        InputError: such a text cannot be read.
    """
    return tree_map(
        lambda leaf: tensor_from_text(leaf, default_dtype) if isinstance(leaf, str) and looks_like_shape(leaf) else leaf, inputs
    )


def dtype_of(model: Any) -> str:
    """The dtype of a model's first floating-point parameter, which its inputs most likely have too; else float32."""
    parameters = model.parameters() if isinstance(model, torch.nn.Module) else ()
    return next((str(p.dtype).removeprefix("torch.") for p in parameters if p.is_floating_point()), "float32")
