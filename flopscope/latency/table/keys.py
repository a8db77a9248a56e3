"""Signatures as text: the keys of a table, from which the op can be made again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flopscope.errors import InputError
from flopscope.graph import Signature
from flopscope.tensor_type import TensorType

_TYPE = "type"


def written(signature: Signature) -> str:
    """A signature as JSON: equal signatures give equal texts, and `read` gives the signature back.

    Raises:
        InputError: it has a dimension that is no number, or an argument that no text can hold.
    """
    content = {
        "target": signature.target,
        "kind": signature.kind,
        "effect": signature.effect,
        "arguments": {name: _plain(value) for name, value in signature.arguments.items()},
        "outputs": [_plain(output) for output in signature.outputs],
    }
    return json.dumps(content, separators=(",", ":"))


def read(text: str) -> Signature:
    """The signature of a key.

    Raises:
        InputError: it is none.
    """
    try:
        content = json.loads(text)
        arguments = {str(name): _value(value) for name, value in content["arguments"].items()}
        outputs = tuple(_value(output) for output in content["outputs"])
        if not all(isinstance(output, TensorType) for output in outputs) or content["effect"] not in ("fresh", "view", "inplace"):
            raise ValueError("its outputs are no types of tensors, or its effect is unknown")
        return Signature(str(content["target"]), str(content["kind"]), arguments, outputs, content["effect"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{text[:60]!r}... is no key of a table of times: {type(error).__name__}: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, TensorType):
        sizes = value.shape if value.strides is None else (*value.shape, *value.strides)
        if not all(type(size) is int for size in sizes):
            raise InputError(f"a time is measured at one size of each dimension, but {value} has others")
        return {_TYPE: [value.dtype, list(value.shape), None if value.strides is None else list(value.strides)]}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InputError(f"an op with the argument {value!r} has no key in a table of times")


def _value(value: Any) -> Any:
    if isinstance(value, Mapping):
        dtype, shape, strides = value[_TYPE]
        sizes = (*shape, *(strides or ()))
        if not isinstance(dtype, str) or not all(type(size) is int and size >= 0 for size in sizes):
            raise ValueError(f"{value!r} is no type of a tensor")
        return TensorType.of(tuple(shape), dtype) if strides is None else TensorType(tuple(shape), dtype, tuple(strides))
    return tuple(_value(item) for item in value) if isinstance(value, list) else value
