"""The table of our own inference, and of upper bounds for sizes that only data knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from flopscope.frontends.onnx.ops.table import CONTRIB
from flopscope.frontends.onnx.types.inference import Typed
from flopscope.frontends.onnx.values import Value

Inference = Callable[[Sequence[Value | None], Mapping[str, Any], int], list[Typed]]
AnyInference = TypeVar("AnyInference", bound=Inference)

_own: dict[tuple[str, str], Inference] = {}
_completions: dict[tuple[str, str], Inference] = {}
_bounds: dict[tuple[str, str], Inference] = {}


def infers(*ops: str, domain: str = "") -> Callable[[AnyInference], AnyInference]:
    """Register the inference of ops, used instead of ONNX's."""
    return _register(_own, ops, domain)


def completes(*ops: str, domain: str = "") -> Callable[[AnyInference], AnyInference]:
    """Register the inference of ops whose first versions ONNX does not infer, used where it says nothing."""
    return _register(_completions, ops, domain)


def bounds(*ops: str, domain: str = "") -> Callable[[AnyInference], AnyInference]:
    """Register an upper bound for the sizes that ONNX leaves open because only data knows them."""
    return _register(_bounds, ops, domain)


def _register(table: dict[tuple[str, str], Inference], ops: Sequence[str], domain: str) -> Callable[[AnyInference], AnyInference]:
    def register(function: AnyInference) -> AnyInference:
        table.update(dict.fromkeys(((domain, op) for op in ops), function))
        return function

    return register


def own_inference(domain: str, op: str) -> Inference | None:
    """Our own inference of an op, if it has one."""
    return _own.get((domain, op))


def completion_of(domain: str, op: str) -> Inference | None:
    """The inference of an op where ONNX's says nothing, if it has one."""
    return _completions.get((domain, op))


def bound_of(domain: str, op: str) -> Inference | None:
    """The bound of an op whose sizes only data knows, if it has one."""
    return _bounds.get((domain, op))


def same_as(value: Value | None) -> Typed:
    """The type of a value."""
    if value is None or value.type is None:
        return ("undefined" if value is None else value.dtype), None
    return value.dtype, value.type.shape


@infers(
    "Gelu", "FastGelu", "BiasGelu", "QuickGelu", "BiasDropout", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization",
    "SimplifiedLayerNormalization", domain=CONTRIB,
)  # fmt: skip
def like_first(values: Sequence[Value | None], _: Mapping[str, Any], outputs: int) -> list[Typed]:
    """Outputs like the first input."""
    return [same_as(values[0])] * outputs


@bounds("NonZero")
def nonzero(values: Sequence[Value | None], _: Mapping[str, Any], __: int) -> list[Typed]:
    """As if no element were zero."""
    x = values[0]
    if x is None or x.type is None:
        return [("int64", None)]
    return [("int64", (max(len(x.type.shape), 1), x.type.elements))]
