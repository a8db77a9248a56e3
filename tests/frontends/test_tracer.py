"""The tracer's promises: it looks and does not touch, keeps what must be kept real, and its edges tell the truth."""

from __future__ import annotations

import gc
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules import module as module_internals

import flopscope
from flopscope.errors import NeedsDataError, TraceError
from flopscope.frontends.torch import tracer as tracer_module


def small_network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(), nn.Flatten(), nn.Linear(4 * 36, 5))


def state_of_the_world(model: nn.Module) -> dict[str, Any]:
    """Everything that an analysis could leave changed."""
    return {
        "weights": {name: (id(tensor), tensor._version, tensor.clone()) for name, tensor in model.state_dict(keep_vars=True).items()},
        "attributes": [(path, sorted(vars(m)), [id(v) for v in vars(m).values()]) for path, m in model.named_modules()],
        "training": [m.training for m in model.modules()],
        "global hooks": [
            len(table) for name, table in sorted(vars(module_internals).items()) if name.startswith("_global") and hasattr(table, "__len__")
        ],
        "grad mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "random": (torch.get_rng_state(), random.getstate()),
        "collector": gc.isenabled(),
        "modes": torch._C._len_torch_dispatch_stack(),
        "dtype": torch.get_default_dtype(),
    }


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


class Writes(nn.Module):
    """A model whose forward writes wherever it can, and may raise at the end."""

    def __init__(self, raises: bool) -> None:
        super().__init__()
        self.raises = raises
        self.layer = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.history: list[Any] = []
        self.cache: dict[str, Any] = {"kept": 1}
        self.register_buffer("count", torch.zeros(1, dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(4))
        self.last: Any = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count += 1
        self.mean = 0.9 * self.mean + x.mean(0)
        self.norm.eval()
        self.last = self.norm(self.layer(x)) + torch.rand(4) + random.random()
        self.history.append(self.last)
        self.cache["kept"], self.cache["new"] = 2, self.last
        self.extra = nn.Parameter(torch.zeros(3))
        del self.raises
        if torch.get_default_dtype() is torch.float32 and self.cache["kept"] == 2 and x.shape[0] == 3:
            raise ValueError("on purpose")
        return self.last


@pytest.mark.parametrize("training", [False, True])
def test_nothing_is_left_behind(training: bool) -> None:
    model, x = small_network().train(training), torch.rand(2, 3, 8, 8)
    before = state_of_the_world(model)
    flopscope.analyze(model, x)
    assert same(before, state_of_the_world(model))


@pytest.mark.parametrize("batch", [2, 3])
def test_nothing_is_left_behind_by_a_model_that_writes_on_itself(batch: int) -> None:
    model, x = Writes(raises=batch == 3).train(), torch.rand(batch, 4)
    history, cache = model.history, model.cache
    before = state_of_the_world(model)
    if batch == 3:
        with pytest.raises(TraceError, match="on purpose"):
            flopscope.analyze(model, x)
    else:
        flopscope.analyze(model, x)
    assert same(before, state_of_the_world(model))
    assert model.history is history == []
    assert model.cache is cache
    assert cache == {"kept": 1}


def test_inputs_are_not_written() -> None:
    x, mask = torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.bool)
    flopscope.analyze(lambda x, mask: (x.add_(1), mask.logical_not_()), x, mask)
    assert x.sum() == 0
    assert not mask.any()


def test_weights_are_neither_copied_nor_read_nor_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of one gibibyte whose memory cannot even be read is analysed in less than 50 MB."""
    import resource

    model = nn.Sequential(*(nn.Linear(8192, 8192, bias=False) for _ in range(4)))
    assert sum(p.nbytes for p in model.parameters()) == 2**30
    places = [p.data_ptr() for p in model.parameters()]
    flopscope.analyze(small_network(), "1x3x8x8")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = flopscope.analyze(model, torch.rand(1, 8192))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert report.total.macs == 4 * 8192 * 8192
    assert grown < 50 * 1024  # kibibytes on Linux
    assert [p.data_ptr() for p in model.parameters()] == places


def test_a_report_keeps_no_module_and_no_tensor_alive() -> None:
    import weakref

    model = small_network()
    gone = [weakref.ref(thing) for thing in (model, model[0].weight, model[1].running_mean)]
    report = flopscope.analyze(model, "1x3x8x8")
    _ = report.to_dict()
    del model
    gc.collect()
    assert [ref() for ref in gone] == [None, None, None]
    assert report.total.params == sum(p.numel() for p in small_network().parameters())


def test_small_integers_stay_real() -> None:
    def model(ids: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        positions = torch.arange(ids.shape[1]) + 2
        assert positions.tolist()[-1] == ids.shape[1] + 1
        longest = int((ids != 0).sum(1).max().item())
        steps = torch.tensor([longest, longest]).tolist()
        for _ in range(steps[0]):
            x = x + 1
        return x

    ids = torch.tensor([[1, 2, 0, 0], [1, 2, 3, 0]])
    report = flopscope.analyze(model, ids, "2x4", execute="never")
    assert sum(row.op == "aten::add" and row.outputs == ((2, 4),) for row in report.ops) == 3
    assert report.notes == [
        "cost depends on the values of the integer or boolean inputs, which the model reads (aten::item in the model itself)"
    ]


def test_a_mask_of_the_user_selects_by_its_values() -> None:
    mask = torch.tensor([True, False, True])
    report = flopscope.analyze(lambda x, m: x[m] @ x.t(), "3x5", mask)
    assert report.total.macs == 2 * 5 * 3


def test_large_masks_are_not_computed() -> None:
    """A causal mask over 200,000 tokens has 40 billion elements."""
    report = flopscope.analyze(
        lambda ids: torch.arange(ids.shape[1])[None] <= torch.arange(ids.shape[1])[:, None], "1x200000:int64", execute="never"
    )
    assert report.ops[-1].outputs == ((200000, 200000),)


class Branches(nn.Module):
    """Reads a value in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        return self.second(x) if x.abs().sum() >= 0 else x


def test_reading_values_falls_back_to_a_real_run_with_a_note() -> None:
    report = flopscope.analyze(Branches(), "2x4")
    assert report.total.macs == 2 * 4 * 4 + 2 * 4 * 8
    assert len(report.notes) == 1
    assert "cost depends on data" in report.notes[0]
    assert report.graph.data_dependent == [("aten::_local_scalar_dense", "")] or report.graph.data_dependent == [("aten::is_nonzero", "")]
    report.graph.verify()


def test_reading_values_can_be_forbidden() -> None:
    with pytest.raises(NeedsDataError, match=r"reads the values of tensors .*execute='auto'"):
        flopscope.analyze(Branches(), "2x4", execute="never")


def test_a_model_cannot_swallow_the_need_for_data() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        try:
            return x * x.sum().item()
        except Exception:  # noqa: BLE001
            return x

    report = flopscope.analyze(model, "2x4")
    assert [row.kind for row in report.ops][-1] == "mul"


@pytest.mark.parametrize("make", [small_network, lambda: nn.LSTM(4, 5), lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)])
def test_a_real_run_and_shapes_alone_agree(make: Callable[[], nn.Module]) -> None:
    model = make()
    x = {"Sequential": torch.rand(2, 3, 8, 8), "LSTM": torch.rand(3, 2, 4), "TransformerEncoderLayer": torch.rand(2, 5, 8)}[
        type(model).__name__
    ]
    for training in (True, False):
        model.train(training)
        shapes, real = flopscope.analyze(model, x, execute="never"), flopscope.analyze(model, x, execute="always")
        assert shapes.total.macs == real.total.macs
        assert shapes.total.params == real.total.params
        real.graph.verify()


def test_second_call_equals_first(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_network().eval()
    flopscope.clear_memo()
    first = flopscope.analyze(model, "2x3x8x8").to_dict()
    calls = []
    original = tracer_module.infer.infer
    monkeypatch.setattr(tracer_module.infer, "infer", lambda *args: calls.append(args) or original(*args))
    second = flopscope.analyze(model, "2x3x8x8")
    assert first == second.to_dict()
    assert calls == [], "the second trace inferred again what the first had found"
    flopscope.clear_memo()
    assert flopscope.analyze(model, "2x3x8x8").to_dict() == first
    assert calls, "clear_memo did not make the trace cold"


def test_the_memo_tells_numbers_apart_that_python_calls_equal() -> None:
    x = torch.zeros(3, dtype=torch.int32)
    dtypes = [flopscope.analyze(lambda x, n=n: torch.add(x, n), x).ops[-1].dtype for n in (1, 1.0, True, 1)]
    assert dtypes == ["int32", "float32", "int32", "int32"]


def test_the_memo_knows_the_default_dtype() -> None:
    assert flopscope.analyze(lambda: torch.ones(3)).ops[0].dtype == "float32"
    torch.set_default_dtype(torch.float64)
    try:
        assert flopscope.analyze(lambda: torch.ones(3)).ops[0].dtype == "float64"
    finally:
        torch.set_default_dtype(torch.float32)


def test_batch_two_is_twice_batch_one() -> None:
    model = small_network().eval()
    one, two = (flopscope.analyze(model, f"{batch}x3x8x8").total for batch in (1, 2))
    assert two.macs == 2 * one.macs
    assert two.params == one.params
    per_channel = 2 * 4  # of the batch norm
    assert two.flops - per_channel == 2 * (one.flops - per_channel)
    assert two.elements_written == 2 * one.elements_written


def test_scopes_are_module_paths() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
            self.shared = self.blocks[0]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for block in self.blocks:
                x = block(x)
            return nn.ReLU()(self.shared(x) * 2)

    report = flopscope.analyze(Outer(), "1x4")
    assert [row.scope for row in report.ops] == ["blocks.0", "blocks.1", "blocks.0", "", "(ReLU)"]
    assert report.total.params == 2 * (4 * 4 + 4)
    assert report.total.macs == 3 * 4 * 4
    modules = {row.path: row for row in report.by_module()}
    assert modules["blocks.0"].calls == 2
    assert modules["blocks"].cost.macs == 3 * 4 * 4
    assert modules["blocks.0"].output == (1, 4)


def test_a_shared_parameter_is_counted_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(10, 4)
            self.head = nn.Linear(4, 10, bias=False)
            self.head.weight = self.embedding.weight

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.head(self.embedding(ids))

    report = flopscope.analyze(Tied(), "1x3:int64")
    assert report.total.params == 40
    assert sum(row.cost.params for row in report.ops) == 40
    assert sum(row.cost.params for row in report.by_kind()) == 40
    assert {row.path: row.cost.params for row in report.by_module()} == {"": 40, "embedding": 40, "head": 0}
    assert report.graph.parameters[0].shared_as == ("head.weight",)


def test_parameters_that_no_op_reads_are_counted_and_shown() -> None:
    model = nn.Linear(2, 2)
    model.unused = nn.Parameter(torch.zeros(7))
    report = flopscope.analyze(model, "1x2")
    assert report.total.params == 6 + 7
    assert sum(row.cost.params for row in report.by_kind()) == 13
    assert "parameters that no op reads" in report.to_text("kind")


def reads(report: flopscope.Report, kind: str) -> list[str]:
    """The kinds of op that made what the last op of a kind reads."""
    graph = report.graph
    op = [op for op in graph.ops if op.kind == kind][-1]
    return [graph.ops[value.producer].kind if value.producer is not None else value.role for value in op.inputs]


def test_edges_go_through_in_place_ops() -> None:
    report = flopscope.analyze(lambda x: torch.relu_(x.mul_(2)) + x, "2x2")
    report.graph.verify()
    assert reads(report, "add") == ["relu", "relu"]


def test_edges_go_from_a_view_to_its_base() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        y = x * 1
        y[0].zero_()
        return y.exp()

    report = flopscope.analyze(model, "2x2")
    report.graph.verify()
    assert reads(report, "exp") == ["alias"]
    assert reads(report, "alias") == ["mul", "zero"]


def test_edges_go_from_a_base_to_a_view_made_before() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        y = x * 1
        row = y[0]
        y.add_(1)
        return row.exp()

    report = flopscope.analyze(model, "2x2")
    report.graph.verify()
    assert reads(report, "exp") == ["alias"]
    assert reads(report, "alias") == ["select", "add"]


def test_real_data_that_a_model_overwrites_with_unknown_values_is_no_longer_real() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        buffer = torch.zeros(2, 2)
        row = buffer[0]
        row.copy_(x)
        return x * buffer.sum().item()

    with pytest.raises(NeedsDataError):
        flopscope.analyze(model, "2", execute="never")


def test_shapes_changed_in_place() -> None:
    def model(x: torch.Tensor) -> torch.Tensor:
        x = x * 1
        x.t_()
        x.unsqueeze_(0)
        return x.squeeze_(0) @ x.new_zeros(2, 5)

    report = flopscope.analyze(model, "2x3")
    report.graph.verify()
    assert report.total.macs == 3 * 2 * 5


def test_nested_inputs_and_the_same_tensor_twice() -> None:
    x = torch.rand(2, 2)
    report = flopscope.analyze(lambda pair, *, named: pair[0]["a"] @ pair[1] + named, ({"a": x}, x), named="2x2")
    assert report.total.macs == 8
    assert len(report.graph.inputs) == 2


def test_two_threads_at_once() -> None:
    """Hooks are global, their state is not: each thread sees the scopes of its own model only."""
    expected = flopscope.analyze(small_network(), "2x3x8x8").to_dict()
    expected_linear = flopscope.analyze(nn.Sequential(nn.Linear(4, 4), nn.Sigmoid()), "3x4").to_dict()
    wrong: list[Any] = []

    def work(make: Callable[[], nn.Module], shape: str, result: dict[str, Any]) -> None:
        for _ in range(30):
            found = flopscope.analyze(make(), shape).to_dict()
            if found != result:
                wrong.append(found)

    threads = [
        threading.Thread(target=work, args=(small_network, "2x3x8x8", expected)),
        threading.Thread(target=work, args=(lambda: nn.Sequential(nn.Linear(4, 4), nn.Sigmoid()), "3x4", expected_linear)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_building_takes_no_memory_and_keeps_small_values() -> None:
    with flopscope.building():
        large = nn.Linear(10**6, 10**6)
        rates = [rate.item() for rate in torch.linspace(0, 0.1, 3)]
        norm = nn.BatchNorm1d(4)
    assert large.weight.device.type == "meta"
    assert rates == pytest.approx([0, 0.05, 0.1])
    assert norm.running_var is not None
    assert norm.running_var.tolist() == [1, 1, 1, 1]
    assert flopscope.analyze(large, "1x1000000").total.macs == 10**12
    assert nn.Linear(2, 2).weight.device.type == "cpu"


def test_lazy_modules_are_refused_with_advice() -> None:
    with pytest.raises(TraceError, match=r"'0.weight' has no shape yet. Run the model once"):
        flopscope.analyze(nn.Sequential(nn.LazyLinear(3)), "1x2")


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_every_result_has_the_shape_dtype_and_strides_of_the_real_run(layout: torch.memory_format) -> None:
    model = nn.Sequential(
        nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 3)
    )
    model = model.eval().to(memory_format=layout)
    x = torch.rand(2, 4, 9, 9).to(memory_format=layout)
    shapes, real = flopscope.analyze(model, x, execute="never").graph, flopscope.analyze(model, x, execute="always").graph
    assert [op.target for op in shapes.ops] == [op.target for op in real.ops]
    assert [op.signature.outputs[0].shape for op in shapes.ops] == [op.signature.outputs[0].shape for op in real.ops]
    assert [op.signature.outputs[0].dtype for op in shapes.ops] == [op.signature.outputs[0].dtype for op in real.ops]
    assert shapes.ops[0].signature.outputs[0].strides == real.ops[0].signature.outputs[0].strides
