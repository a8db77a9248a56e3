"""The time of a model by the measured times of its ops."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flopscope.errors import OptionError
from flopscope.graph import Graph
from flopscope.latency.table.compiled import compiled_graph
from flopscope.latency.table.measuring import Outcome, measure_compiled, measure_eager, measure_onnx_runtime
from flopscope.latency.table.nodes import runtime_graph
from flopscope.latency.table.real import made_real, real_inputs
from flopscope.latency.table.setting import Setting
from flopscope.latency.table.source import MeasuredOps
from flopscope.latency.table.store import Store, Whole
from flopscope.latency.table.whole import run_file, run_model
from flopscope.report.latency import Latency

_MEASURE = {"eager": measure_eager, "compile": measure_compiled, "onnxruntime": measure_onnx_runtime}


@dataclass(frozen=True)
class Measuring:
    """A model as a runtime runs it.

    Attributes:
        graph: the ops, nodes or kernels that the runtime makes of it.
        setting: this machine, the runtime and its threads.
        spec: what to measure.
        asked: how it is built.
    """

    graph: Graph
    setting: Setting
    spec: str
    asked: Any

    @classmethod
    def of(cls, spec: str, asked: Any, setting: Setting) -> Measuring:
        """The model of a SPEC.

        Args:
            spec: what to measure.
            asked: a `flopscope.cli.asking.Asked`.
            setting: of this machine.

        Raises:
            OptionError: the runtime does not run such a model.
            FlopscopeError: it cannot be built or traced.
        """
        return cls(graph_of(spec, asked, setting.runtime, setting.threads), setting, spec, asked)

    def measure(self, store: Store) -> Outcome:
        """Measure what a table lacks."""
        return _MEASURE[self.setting.runtime](store, self.setting, self.graph)

    def latency(self, store: Store) -> Latency:
        """The time of the model by a table."""
        return Latency(self.graph, MeasuredOps.read(store, self.setting))

    def run_whole(self, store: Store) -> float:
        """Run the model itself, and keep how well the sum of its ops meets it. Returns its seconds."""
        seconds = self._run()
        predicted = MeasuredOps.read(store, self.setting).total(self.graph)
        if not predicted.partial:
            store.add_whole(self.setting, self.graph.name, Whole(predicted.seconds, seconds))
        return seconds

    def _run(self) -> float:
        if self.setting.runtime == "onnxruntime":
            return run_file(self.spec, self.setting.threads)
        loaded = self.asked.load(self.spec)
        model, args = made_real(loaded.model), real_inputs(list(loaded.args))
        if self.setting.runtime == "compile":
            import torch

            model = torch.compile(model, dynamic=False)
        return run_model(model, args, real_inputs(dict(loaded.kwargs)), self.setting.threads)


def graph_of(spec: str, asked: Any, runtime: str, threads: int) -> Graph:
    """The ops, nodes or kernels that a runtime makes of the model of a SPEC. Arguments and errors as for `Measuring.of`."""
    from flopscope.frontends.onnx import names_onnx

    if runtime == "onnxruntime":
        if not names_onnx(spec):
            raise OptionError(f"ONNX Runtime runs .onnx files, but {spec!r} is none: export the model with torch.onnx.export first")
        return runtime_graph(Path(spec), threads)
    if names_onnx(spec):
        raise OptionError(f"PyTorch does not run {spec!r}: take --runtime onnxruntime")
    graph: Graph = asked.report(spec).graph
    return compiled_graph(graph) if runtime == "compile" else graph
