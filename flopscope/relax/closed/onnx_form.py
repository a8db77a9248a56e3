"""The exact cost of an ONNX model as a formula in its dynamic dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flopscope.analyses.totals import total
from flopscope.errors import ClosedFormError, FlopscopeError, OptionError
from flopscope.frontends.onnx import trace
from flopscope.frontends.onnx.reading import read
from flopscope.relax.closed.align import Calls
from flopscope.relax.closed.fitting import Point
from flopscope.relax.closed.form import ClosedForm, solved
from flopscope.relax.closed.sampling import Sample, Sampler
from flopscope.rules import price


class OnnxSampler(Sampler):
    """Traces an ONNX model at the sizes of its dynamic dimensions that it is asked for, each once."""

    def __init__(self, model: Any, inputs: Sequence[str], symbols: Mapping[str, str], fixed: Mapping[str, int], branch: Any) -> None:
        """Read the model once.

        Raises:
            FlopscopeError: as `trace` does.
        """
        self._source = read(model)
        self._place = model
        self._shapes, self._fixed, self._branch = inputs, dict(fixed), branch
        self._dims = tuple(symbols.values())
        self._seen: dict[Point, Sample | str] = {}
        self.names = tuple(symbols)
        self.channels = None
        self.base = tuple(1 for _ in symbols)

    def trace(self, point: Point) -> Sample:
        """The model at a point.

        Raises:
            FlopscopeError: as `trace` does.
        """
        dims = {**self._fixed, **dict(zip(self._dims, point, strict=True))}
        graph = trace(self._source, self._shapes, dims=dims, branch=self._branch, price=price)
        if any(op.times != 1 for op in graph.ops):
            raise ClosedFormError("it has loops or functions that are counted and not written out, which no formula follows")
        return Sample(graph.name, Calls.of(graph.ops), total(graph), tuple(graph.notes))


def onnx_form(
    model: Any,
    *inputs: str,
    symbols: Mapping[str, Any],
    dims: Mapping[str, int] | None = None,
    branch: str = "costlier",
) -> ClosedForm:
    """The exact cost of an ONNX model as a formula in some of its dynamic dimensions.

    Args:
        model: the path of a file, its bytes, or an ``onnx.ModelProto``.
        *inputs: shapes of inputs, as `flopscope.analyze` takes them.
        symbols: the dimensions that may vary, by the symbol for each: ``{"B": "batch", "S": "seq"}``.
        dims: sizes of the other dynamic dimensions.
        branch: which branch of an ``If`` counts whose condition only data knows.

    Raises:
        OptionError: a symbol is no name, or a dimension is unknown.
        InputError: the model is damaged.
        ClosedFormError: no formula was found.
    """
    if not symbols or not all(isinstance(name, str) for name in symbols.values()):
        raise OptionError(f"symbols of an ONNX model name its dynamic dimensions, as in {{'B': 'batch'}}, but {dict(symbols)!r} was given")
    return form_of(OnnxSampler(model, inputs, symbols, dims or {}, branch))


def form_of(sampler: OnnxSampler) -> ClosedForm:
    """The formula of what a sampler traces.

    Raises:
        ClosedFormError: no formula was found.
    """
    wrong = [name for name in sampler.names if not name.isidentifier()]
    if wrong:
        raise OptionError(f"{wrong[0]!r} is no name for a symbol; choose letters, as in B")
    first: Sample | None = None
    for size in (1, 2, 8, 64, 128, 224):  # the least size that the model accepts everywhere
        point = tuple(size for _ in sampler.names)
        try:
            first = sampler.trace(point)
        except FlopscopeError:
            continue
        sampler.base = point
        break
    if first is None:
        sampler.trace(tuple(2 for _ in sampler.names))  # raises what the model complains of
        raise ClosedFormError("the model accepts none of the sizes that were tried")
    return solved(sampler, first)
