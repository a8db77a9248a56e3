"""What ONNX Runtime makes of a model: its own nodes, after all its optimisations, as a graph.

The runtime fuses, folds and changes layouts, so the ops of the file are not what runs. It can write down the model that it runs, but
without the sizes of what lies between nodes. Those come from one run under the runtime's own profiler, whose times are not used.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from flopscope.errors import InputError, MissingPackageError
from flopscope.graph import Graph, Op, Signature, Tensor
from flopscope.tensor_type import TensorType

TARGET: Final = "onnxruntime::"
_DTYPES: Final = {
    "float": "float32", "double": "float64", "float16": "float16", "bfloat16": "bfloat16", "int64": "int64", "int32": "int32",
    "int16": "int16", "int8": "int8", "uint8": "uint8", "uint16": "uint16", "uint32": "uint32", "uint64": "uint64", "bool": "bool",
}  # fmt: skip
_SMALL: Final = 64
"""A constant of so many whole numbers or fewer may be a shape or a position, and is a part of the signature."""
_SUFFIX: Final = "_kernel_time"


def runtime_graph(path: Path, threads: int = 1, inputs: Mapping[str, Any] | None = None) -> Graph:
    """The graph of the nodes that ONNX Runtime runs for a model on this machine's processor.

    Args:
        path: an ONNX file.
        threads: how many the runtime may use.
        inputs: arrays by name; by default zeros, with one for each dimension that the file leaves open.

    Raises:
        InputError: the runtime cannot load or run the model.
        MissingPackageError: ONNX Runtime is not installed.
    """
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder) / "optimised.onnx"
        try:
            session(str(path), threads, optimized_model_filepath=str(optimised))
            model = onnx.load(str(optimised))
            for number, node in enumerate(model.graph.node):  # the profiler finds names of its own for nodes that have none
                node.name = f"{number} {node.name or node.op_type}"
            onnx.save(model, str(optimised))
            events = profiled(optimised, threads, inputs, 1, Path(folder))
        except MissingPackageError:
            raise
        except Exception as error:
            raise InputError(f"ONNX Runtime cannot run {path}: {str(error).splitlines()[0]}") from error
    return _Reader(model, events).graph(path.stem)


def session(model: str | bytes, threads: int, *, optimise: bool = True, **settings: Any) -> Any:
    """A session on the processor with so many threads.

    Raises:
        MissingPackageError: ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingPackageError("measuring ONNX models needs ONNX Runtime: pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 4
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    for name, value in settings.items():
        setattr(options, name, value)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def profiled(model: Path | bytes, threads: int, inputs: Mapping[str, Any] | None, runs: int, folder: Path) -> list[dict[str, Any]]:
    """What the runtime's profiler says of each node in each run: name, microseconds, sizes. The model is run as it stands."""
    prefix = str(folder / "profile")
    source = str(model) if isinstance(model, Path) else model
    made = session(source, threads, optimise=False, enable_profiling=True, profile_file_prefix=prefix)
    feeds = zeros(made) if inputs is None else dict(inputs)
    for _ in range(runs):
        made.run(None, feeds)
    written = Path(made.end_profiling())
    events: list[dict[str, Any]] = json.loads(written.read_text(encoding="utf-8"))
    written.unlink()
    return [event for event in events if event.get("cat") == "Node" and event["name"].endswith(_SUFFIX)]


def name_in(event: Mapping[str, Any]) -> str:
    """The node that an event of the profiler is about."""
    return str(event["name"]).removesuffix(_SUFFIX)


def zeros(made: Any) -> dict[str, Any]:
    """Inputs of zeros for a session; a dimension that is open is one."""
    import numpy
    import onnx

    found = {}
    for each in made.get_inputs():
        shape = [size if isinstance(size, int) and size > 0 else 1 for size in each.shape]
        kind = each.type.removeprefix("tensor(").removesuffix(")")
        number = onnx.TensorProto.DataType.Value({"float": "FLOAT"}.get(kind, kind.upper()))
        found[each.name] = numpy.zeros(shape, onnx.helper.tensor_dtype_to_np_dtype(number))
    return found


class _Reader:
    """Makes a graph of an optimised model and of what its profile says."""

    def __init__(self, model: Any, events: list[dict[str, Any]]) -> None:
        self._model = model
        self._events = {name_in(event): event["args"] for event in events}
        self._constants = {each.name: each for each in model.graph.initializer}
        self._values: dict[str, Tensor] = {}
        self._opsets = {each.domain: each.version for each in model.opset_import}

    def graph(self, name: str) -> Graph:
        for each in self._model.graph.input:
            dims = each.type.tensor_type.shape.dim
            type = TensorType.of(tuple(dim.dim_value or 1 for dim in dims), _onnx_dtype(each.type.tensor_type.elem_type))
            self._new(each.name, type, "input")
        for each in self._model.graph.initializer:
            self._new(each.name, TensorType.of(tuple(each.dims), _onnx_dtype(each.data_type)), "parameter")
        ops = [op for node in self._model.graph.node if (op := self._op(node)) is not None]
        for index, op in enumerate(ops):
            op.index = index
        return Graph(name=name, ops=ops)

    def _new(self, name: str, type: TensorType, role: Any) -> Tensor:
        self._values[name] = Tensor(len(self._values), type, role, name=name)
        return self._values[name]

    def _op(self, node: Any) -> Op | None:
        """A node that the profiler did not see did not run: a constant, or a branch that was not taken."""
        event = self._events.get(node.name)
        if event is None:
            return None
        sizes = [next(iter(each.items())) for each in event["output_type_shape"]]
        types = [TensorType.of(tuple(shape), _DTYPES.get(kind, kind)) for kind, shape in sizes]
        present = [name for name in node.output if name]
        arguments = dict(self._arguments(node))
        signature = Signature(f"{TARGET}{node.domain or 'ai.onnx'}::{node.op_type}", node.op_type, arguments, tuple(types))
        outputs = tuple(self._new(name, type, "result") for name, type in zip(present, types, strict=False))
        inputs = tuple(self._values[name] for name in node.input if name in self._values)
        return Op(0, signature, inputs, outputs, name=node.name.partition(" ")[2])

    def _arguments(self, node: Any) -> Iterator[tuple[str, Any]]:
        """The inputs by number, whether they are constants, what is in them where that may decide the size; then the attributes."""
        import onnx
        from onnx import numpy_helper

        for number, name in enumerate(node.input):
            value = self._values.get(name)
            yield f"input{number}", None if value is None else value.type
            constant = self._constants.get(name)
            if constant is not None:
                held = numpy_helper.to_array(constant)
                small = held.dtype.kind in "iub" and held.size <= _SMALL
                yield f"constant{number}", tuple(held.ravel().tolist()) if small else True
        for attribute in sorted(node.attribute, key=lambda each: each.name):
            yield f"attribute_{attribute.name}", _plain(onnx.helper.get_attribute_value(attribute))
        yield "outputs", tuple(bool(name) for name in node.output)
        yield "opset", self._opsets.get(node.domain, 1)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return tuple(map(_plain, value)) if isinstance(value, list) else value


def _onnx_dtype(number: int) -> str:
    import onnx

    return _DTYPES.get(onnx.TensorProto.DataType.Name(number).lower(), onnx.TensorProto.DataType.Name(number).lower())
