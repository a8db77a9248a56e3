"""Models that are more than a module of layers: functions in ops, programs, wrappers, unusual tensors and inputs."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections import UserDict
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize, prune

import flopscope
from flopscope import Cost
from flopscope.errors import InputError, NeedsDataError, SpecError, TraceError
from flopscope.frontends.sources.spec import load

A = flopscope.analyze
pytestmark = pytest.mark.filterwarnings("ignore")

small = nn.Linear(8, 8)
large = nn.Sequential(nn.Linear(8, 32), nn.Linear(32, 8))
SMALL, LARGE = 3 * 8 * 8, 3 * 2 * 8 * 32
W = torch.rand(8, 8)
X = "3x8"


def counted(report: flopscope.Report) -> int:
    report.graph.verify()
    assert report.uncounted == []
    return report.total.macs


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)).eval()


NET, NET_PARAMS = 4 * 36 * 3 * 9 + 144 * 5, 4 * 27 + 4 + 144 * 5 + 5


# -- functions in ops ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("swapped", [False, True])
def test_a_condition_on_data_costs_what_its_costlier_branch_costs(swapped: bool) -> None:
    branches = (large, small) if swapped else (small, large)
    report = A(lambda x: torch.cond(x.sum() > 0, *(lambda x, m=m: m(x) for m in branches), (x,)), X)
    assert counted(report) == LARGE
    assert "upper bound: which branch of cond" in report.notes[0]


def test_the_bound_of_a_condition_is_one_of_flops_alone() -> None:
    """Eight sines of 24 elements are more FLOPs than a product of 8 MACs; the product has more MACs, and the note says that it may."""

    def sines(x: Tensor) -> Tensor:
        return (x.sin().sin().sin().sin().sin().sin().sin().sin()).sum().reshape(1)

    def product(x: Tensor) -> Tensor:
        return x[:1, :8] @ x[0]

    report = A(lambda x: torch.cond(x.sum() > 0, sines, product, (x,)), X)
    assert report.total.macs == 0 < A(product, X).total.macs == 8
    assert report.total.flops >= 8 * 24 > A(product, X).total.flops
    assert "bounds FLOPs alone: MACs, access and everything else are those of this branch" in report.notes[0]


@pytest.mark.parametrize("swapped", [False, True])
def test_a_branch_of_unknown_cost_makes_a_condition_partial(swapped: bool) -> None:
    def unknown(x: Tensor) -> Tensor:
        return torch.ops.aten._test_functorch_fallback(x, x)

    branches = (unknown, large) if swapped else (large, unknown)
    report = A(lambda x: torch.cond(x.sum() > 0, *(lambda x, m=m: m(x) for m in branches), (x,)), X)
    assert report.total.partial
    assert [row.op for row in report.uncounted] == ["aten::_test_functorch_fallback"]
    assert "ops that no rule prices is counted, which bounds nothing" in report.notes[0]


def test_a_condition_on_a_known_value_costs_what_its_branch_costs() -> None:
    report = A(lambda p, x: torch.cond(p, lambda x: small(x), lambda x: large(x), (x,)), torch.tensor(True), X)
    assert counted(report) == SMALL
    assert "depends on the values of the integer or boolean inputs" in report.notes[0]
    real = A(lambda x: torch.cond(x.sum() > 0, lambda x: small(x), lambda x: large(x), (x,)), torch.ones(3, 8), execute="always")
    assert counted(real) == SMALL


def test_loops() -> None:
    from torch._higher_order_ops import while_loop

    known = A(lambda x: while_loop(lambda i, x: i < 5, lambda i, x: (i + 1, small(x)), (torch.tensor(0), x))[1], X)
    assert (counted(known), known.notes) == (5 * SMALL, [])
    unknown = A(lambda x: while_loop(lambda i, x: x.sum() < 9, lambda i, x: (i + 1, small(x)), (torch.tensor(0), x))[1], X)
    assert counted(unknown) == SMALL
    assert unknown.notes[0].startswith("per iteration: how often while_loop")


def test_scans_and_maps() -> None:
    from torch._higher_order_ops import associative_scan, scan
    from torch._higher_order_ops import map as over_rows

    steps = A(lambda c, xs: scan(lambda c, x: (torch.tanh(c @ W + x), c @ W), c, xs), "4x8", "7x4x8")
    assert counted(steps) == 7 * 2 * 4 * 8 * 8
    rows = A(lambda xs, w: over_rows(lambda x, w: x @ w, xs, w), "5x3x8", "8x8")
    assert counted(rows) == 5 * 3 * 8 * 8
    # Eight matrices: 4 products of neighbours, a scan of these 4 (2 + 1 of its own kind, and 1 between), and 3 for the places between.
    pairs = A(lambda x: associative_scan(lambda a, b: a @ b, x, dim=0, combine_mode="generic"), "8x4x4")
    assert counted(pairs) == 11 * 4 * 4 * 4


def test_flex_attention() -> None:
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    q = torch.rand(2, 4, 16, 8)
    dense = 2 * 4 * 16 * 16 * (8 + 8)
    plain = A(lambda q: flex_attention(q, q, q), q)
    assert counted(plain) == dense
    bias = A(lambda q: flex_attention(q, q, q, score_mod=lambda s, b, h, i, j: s + (i - j)), q)
    assert counted(bias) == dense
    # i - j for each pair of positions, its sum with each score, and the addition of the result in the attention.
    assert bias.total.flops - plain.total.flops == 16 * 16 + 2 * (2 * 4 * 16 * 16)
    causal = create_block_mask(lambda b, h, i, j: i >= j, None, None, 16, 16, device="cpu")
    assert counted(A(lambda q: flex_attention(q, q, q, block_mask=causal), q)) == dense
    assert counted(A(lambda q: flex_attention(q, q[:, :2], q[:, :2], enable_gqa=True), q)) == dense


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, w = ctx.saved_tensors
        return gradient @ w.t(), x.t() @ gradient


FUNCTIONS: dict[str, tuple[Any, int]] = {
    "autograd.Function": (lambda x: Product.apply(x, W), 3 * 64),
    "checkpoint": (lambda x: torch.utils.checkpoint.checkpoint(large, x, use_reentrant=False), LARGE),
    "reentrant checkpoint": (lambda x: torch.utils.checkpoint.checkpoint(large, x, use_reentrant=True), LARGE),
    "vmap": (lambda x: torch.func.vmap(lambda row: row @ W)(x), 3 * 64),
    "vmap of a module": (lambda x: torch.func.vmap(small)(x), SMALL),
    "grad": (lambda x: torch.func.grad(lambda x: (x @ W).sum())(x), 2 * 3 * 64),
    "functional_call": (lambda x: torch.func.functional_call(small, dict(small.named_parameters()), (x,)), SMALL),
    "fork": (lambda x: torch.jit.wait(torch.jit.fork(lambda y: y @ W, x)), 3 * 64),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_functions(name: str) -> None:
    model, expected = FUNCTIONS[name]
    assert counted(A(model, X)) == expected


class Forces(nn.Module):
    """The forces of an energy: a forward that takes gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            x.requires_grad_(True)
            energy = self.layer(x).sum()
            return -torch.autograd.grad(energy, x)[0]


@pytest.mark.parametrize("execute", ["never", "always"])
def test_a_forward_that_takes_gradients(execute: Any) -> None:
    model, x = Forces(), torch.rand(3, 8)
    assert counted(A(model, x, execute=execute)) == 3 * 8 + 3 * 8
    assert (x.requires_grad, model.layer.weight.grad) == (False, None)


# -- programs and wrappers --------------------------------------------------------------------------------------------------


def test_compiled_models_are_analysed_as_they_were_written() -> None:
    compiled = torch.compile(net())
    report = A(compiled, "1x3x8x8")
    assert (counted(report), report.total.params) == (NET, NET_PARAMS)
    assert [module.path for module in report.graph.modules] == ["", "0", "1", "2", "3"]
    product = torch.compile(lambda x: x @ W)
    assert counted(A(product, X)) == 3 * 64
    assert counted(A(nn.Sequential(torch.compile(nn.Linear(8, 8))), X)) == SMALL
    assert counted(A(lambda x: product(small(x)), X)) == SMALL + 3 * 64


PROGRAMS: dict[str, Any] = {
    "scripted": torch.jit.script,
    "traced": lambda model: torch.jit.trace(model, torch.rand(1, 3, 8, 8)),
    "exported": lambda model: torch.export.export(model, (torch.rand(1, 3, 8, 8),)),
    "exported module": lambda model: torch.export.export(model, (torch.rand(1, 3, 8, 8),)).module(),
    "fx": torch.fx.symbolic_trace,
    "DataParallel": nn.DataParallel,
}


@pytest.mark.parametrize("kind", PROGRAMS)
def test_programs_cost_what_the_model_costs_layer_by_layer(kind: str) -> None:
    report = A(PROGRAMS[kind](net()), "1x3x8x8")
    assert (counted(report), report.total.params) == (NET, NET_PARAMS)
    rows = {row.path: row.cost.macs for row in report.by_module()}
    assert (rows["0"], rows["3"]) == (4 * 36 * 27, 144 * 5)


def test_distributed_data_parallel() -> None:
    import torch.distributed as distributed

    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        assert counted(A(nn.parallel.DistributedDataParallel(net()), "1x3x8x8")) == NET
    finally:
        distributed.destroy_process_group()


def test_frozen_programs_have_constants_in_place_of_parameters() -> None:
    report = A(torch.jit.freeze(torch.jit.script(net())), "1x3x8x8")
    assert (counted(report), report.total.params) == (NET, 0)
    assert [row.op for row in report.ops] == ["aten::conv2d", "aten::relu", "aten::flatten", "aten::linear"]


def test_a_scripted_model_that_reads_values() -> None:
    class Reads(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            times = int(x.sum().item())
            return x @ x.t() if times > 0 else x

    assert counted(A(torch.jit.script(Reads()), torch.ones(3, 8))) == 3 * 3 * 8


def test_a_scripted_model_that_does_not_fit_its_input_says_where() -> None:
    with pytest.raises(TraceError, match=r"TorchScript: RuntimeError at `return F.linear\(input, self.weight, self.bias\)`"):
        A(torch.jit.script(nn.Sequential(nn.Linear(8, 8))), "3x9")


@pytest.mark.parametrize(("kind", "ops"), [("scripted", "2 ops"), ("exported", "2 ops"), ("DataParallel", "")])
def test_what_a_program_does_not_tell_of_its_modules_is_said(kind: str, ops: str) -> None:
    report = A(PROGRAMS[kind](net()), "1x3x8x8")
    assert [note for note in report.notes if "which read no weight of a submodule" in note and note.startswith(ops)] == report.notes
    assert bool(report.notes) == bool(ops)
    deep = nn.Sequential(nn.Sequential(nn.Sequential(net())))
    assert A(torch.jit.script(deep), "1x3x8x8").notes[0].startswith("2 ops of a scripted")
    assert A(torch.jit.script(small), X).notes == []


def test_programs_in_files(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(net()), tmp_path / "net.pt")
    torch.export.save(torch.export.export(net(), (torch.rand(1, 3, 8, 8),)), tmp_path / "net.pt2")
    torch.save(net().state_dict(), tmp_path / "weights.pt")
    scripted, exported = load(str(tmp_path / "net.pt"), inputs=["1x3x8x8"]), load(str(tmp_path / "net.pt2"))
    for loaded in (scripted, exported):
        assert A(loaded.model, *loaded.args, **loaded.kwargs).total.macs == NET
    for name, message in (("weights.pt", "holds no program"), ("missing.pt", "there is no file")):
        with pytest.raises(SpecError, match=message):
            load(str(tmp_path / name))


# -- parameters that are made of others -------------------------------------------------------------------------------------


class Symmetric(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.triu() + x.triu(1).t()


class LoRA(nn.Module):
    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down, self.up = nn.Linear(8, rank, bias=False), nn.Linear(rank, 8, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + 0.5 * self.up(self.down(x))


def symmetric() -> nn.Module:
    layer = nn.Linear(8, 8)
    parametrize.register_parametrization(layer, "weight", Symmetric())
    return layer


sigma = 8 * 8 + 8  # u . (W v)
MADE: dict[str, tuple[Any, int, int]] = {
    "weight norm": (lambda: torch.nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)), SMALL, 72 + 8),
    "old weight norm": (lambda: torch.nn.utils.weight_norm(nn.Linear(8, 8)), SMALL, 72 + 8),
    "spectral norm": (lambda: torch.nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8)).eval(), SMALL + sigma, 72),
    "old spectral norm": (lambda: torch.nn.utils.spectral_norm(nn.Linear(8, 8)).eval(), SMALL + sigma, 72),
    "spectral norm in training": (lambda: torch.nn.utils.spectral_norm(nn.Linear(8, 8)), SMALL + sigma + 2 * 64, 72),
    "pruned": (lambda: prune.l1_unstructured(nn.Linear(8, 8), "weight", 0.5), SMALL, 72),
    "parametrised": (symmetric, SMALL, 72),
    "LoRA": (lambda: LoRA(nn.Linear(8, 8), 2), SMALL + 3 * 2 * 8 * 2, 72 + 32),
}


@pytest.mark.parametrize("name", MADE)
def test_parameters_made_of_others(name: str) -> None:
    make, expected, params = MADE[name]
    model = make()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    report = A(model, X)
    assert (counted(report), report.total.params) == (expected, params)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


# -- sparse, nested and quantised tensors ----------------------------------------------------------------------------------

SPARSE = torch.zeros(6, 8).index_put((torch.tensor([0, 1, 1, 5]), torch.tensor([0, 2, 7, 3])), torch.tensor(2.0))
STORED = 4


class Graph(nn.Module):
    """A layer of a graph network."""

    def __init__(self, adjacency: Tensor) -> None:
        super().__init__()
        self.register_buffer("adjacency", adjacency)
        self.layer = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.adjacency @ self.layer(x)


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr], ids=["coo", "csr"])
@pytest.mark.parametrize("execute", ["never", "always"])
def test_sparse_products_cost_what_is_stored(layout: Any, execute: Any) -> None:
    sparse = SPARSE.to_sparse(layout=layout)
    options: dict[str, Any] = {"execute": execute}
    assert counted(A(torch.sparse.mm, sparse, "8x5", **options)) == STORED * 5
    assert counted(A(lambda s, d: s @ d, sparse, "8x5", **options)) == STORED * 5
    assert counted(A(lambda d: sparse @ d, "8x5", **options)) == STORED * 5
    assert counted(A(Graph(sparse), "8x5", **options)) == 8 * 5 * 4 + STORED * 4
    report = A(lambda s, d: s @ d, sparse, "8x5", **options)
    assert report.total.elements_read == STORED + 8 * 5


def test_sparse_weights_and_sparse_tensors_made_inside() -> None:
    assert counted(A(lambda x: F.linear(x, SPARSE.to_sparse_csr()), "5x8")) == 5 * STORED
    made = A(lambda d: torch.eye(8).to_sparse() @ d, "8x5")
    assert counted(made) == 8 * 5
    built = A(lambda d, i, v: torch.sparse_coo_tensor(i, v, (6, 8)) @ d, "8x5", torch.tensor([[0, 1], [2, 3]]), torch.rand(2))
    assert counted(built) == 2 * 5


@pytest.mark.parametrize(
    ("make", "values", "indices"),
    [
        (lambda: SPARSE.to_sparse(), STORED, 2 * STORED),
        (lambda: SPARSE.to_sparse_csr(), STORED, (6 + 1) + STORED),
        (lambda: SPARSE.to_sparse_csc(), STORED, (8 + 1) + STORED),
        (lambda: torch.eye(8).to_sparse_bsr((2, 2)), 4 * 2 * 2, (4 + 1) + 4),
    ],
    ids=["coo", "csr", "csc", "bsr"],
)
def test_sparse_buffers_are_listed_as_they_are_stored(make: Any, values: int, indices: int) -> None:
    report = A(Graph(make()), "8x5")
    [buffer] = report.graph.buffers
    assert (buffer.type.stored_elements, buffer.indices) == (values, indices)
    assert f"buffers {values + indices:,}, of which {indices} indices of sparse ones)" in report.to_text()


def test_nested_tensors() -> None:
    parts = [torch.rand(3, 8), torch.rand(5, 8)]
    for layout in (torch.jagged, torch.strided):
        report = A(small, torch.nested.nested_tensor(parts, layout=layout))
        assert counted(report) == (3 + 5) * 8 * 8
    inside = A(lambda a, b: small(torch.nested.as_nested_tensor([a, b], layout=torch.jagged)), "3x8", "5x8")
    assert counted(inside) == (3 + 5) * 8 * 8


@pytest.mark.parametrize("shapes", [((3, 8), (5, 7)), ((2, 3, 8), (2, 5, 8))])
def test_nested_inputs_that_cannot_be_jagged_are_refused_with_advice(shapes: Any) -> None:
    nested = torch.nested.nested_tensor([torch.rand(shape) for shape in shapes])
    with pytest.raises(InputError, match=r"differ in nothing but their first dimension .* Move the dimension .* or pad") as refused:
        A(small, nested)
    assert ", ".join(map(str, shapes)) in str(refused.value)


def test_modules_without_jagged_attention_say_to_pad() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, batch_first=True).eval()
    with pytest.raises(TraceError, match=r"Nested inputs are taken as jagged ones: .* give a padded tensor"):
        A(layer, torch.nested.nested_tensor([torch.rand(3, 8), torch.rand(5, 8)]))


@pytest.mark.parametrize("make", [torch.nested.nested_tensor, torch.nested.as_nested_tensor])
def test_strided_nested_tensors_made_inside_are_one_clear_error(make: Any) -> None:
    with pytest.raises(TraceError, match="makes a nested tensor of the strided layout"):
        A(lambda a, b: make([a, b]), "3x8", "5x8")


def test_attention_on_nested_tensors_is_one_clear_error() -> None:
    def attend(values: Tensor, offsets: Tensor) -> Tensor:
        q = torch.nested.nested_tensor_from_jagged(values, offsets).unflatten(-1, [2, 4]).transpose(1, 2)
        return F.scaled_dot_product_attention(q, q, q)

    with pytest.raises(TraceError, match="nested tensor of the strided layout"):
        A(attend, torch.rand(8, 8), torch.tensor([0, 3, 8]))


class Quantisable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.quant, self.dequant = torch.ao.quantization.QuantStub(), torch.ao.quantization.DeQuantStub()
        self.conv, self.relu, self.linear = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Linear(144, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.dequant(self.linear(self.relu(self.conv(self.quant(x))).flatten(1)))


def quantised() -> nn.Module:
    model = Quantisable().eval()
    model.qconfig = torch.ao.quantization.get_default_qconfig("x86")  # type: ignore[assignment]
    prepared = torch.ao.quantization.prepare(model)
    prepared(torch.rand(1, 3, 8, 8))
    return torch.ao.quantization.convert(prepared)


@pytest.mark.parametrize("execute", ["auto", "always"])
def test_quantised_models_cost_what_they_were_made_of(execute: Any) -> None:
    static = A(quantised(), "1x3x8x8", execute=execute)
    assert (counted(static), static.total.params) == (NET, NET_PARAMS)
    assert sum(row.cost.macs for row in static.ops if row.op == "quantized::conv2d") == 4 * 36 * 27
    dynamic = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2)), {nn.Linear})
    report = A(dynamic, X, execute=execute)
    assert (counted(report), report.total.params) == (3 * (8 * 4 + 4 * 2), 8 * 4 + 4 + 4 * 2 + 2)
    # Eight bits per weight, where the weights are read.
    assert report.graph.parameters[0].type.dtype == "qint8"


def test_quantised_models_of_torchvision() -> None:
    models = pytest.importorskip("torchvision.models")
    quant = models.quantization.mobilenet_v2(weights=None, quantize=True).eval()
    plain = models.mobilenet_v2(weights=None).eval()
    report = A(quant, "1x3x96x96")
    assert counted(report) == A(plain, "1x3x96x96").total.macs


# -- models that read, keep and write --------------------------------------------------------------------------------------


class Rewrites(nn.Module):
    """Sets the data of its own parameters, and what asks for gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        self.layer.requires_grad_(False)
        self.layer.weight.data = self.layer.weight.data * 2
        self.layer.bias.data.zero_()
        return self.layer(x)


@pytest.mark.parametrize("execute", ["never", "always"])
def test_data_and_flags_of_parameters_are_put_back(execute: Any) -> None:
    model = Rewrites()
    weight, address, bias = model.layer.weight.clone(), model.layer.weight.data_ptr(), model.layer.bias.clone()
    assert A(model, X, execute=execute).total.macs == SMALL
    after = model.layer.weight
    assert (after.requires_grad, after.device.type, after.is_inference(), after.data_ptr()) == (True, "cpu", False, address)
    assert torch.equal(after, weight)
    assert torch.equal(model.layer.bias, bias)
    model.layer(torch.rand(3, 8)).sum().backward()


def test_tensors_kept_in_caches_can_be_trained_with() -> None:
    @functools.lru_cache
    def table(size: int) -> Tensor:
        return torch.arange(size).float() * 2

    A(lambda x: x * table(8), X)
    (table(8) * torch.ones(8, requires_grad=True)).sum().backward()
    assert table.cache_info().misses == 1


@pytest.mark.parametrize("read", ["tolist", "numpy", "item"])
def test_every_read_of_an_input_is_noted(read: str) -> None:
    def model(ids: Tensor, x: Tensor) -> Tensor:
        return x if getattr(ids[:1], read)() == [0] else x @ x  # of a tensor that nobody else holds

    report = A(model, torch.zeros(3, dtype=torch.int64), "8x8")
    assert "which the model reads" in report.notes[0]


class WritesInput(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x.mul_(2)
        return x + 1


def test_a_whole_module_that_writes_into_its_input() -> None:
    flopscope.rule(WritesInput, flops="none", source="this test")(lambda op: Cost(macs=1))
    try:
        whole = WritesInput()
        report = A(lambda x: (whole(x), x @ x.t())[1], X)
        report.graph.verify()
        assert report.total.macs == 1 + 3 * 3 * 8
        assert report.graph.ops[-1].inputs[0].producer == 0
    finally:
        flopscope.forget_rule(WritesInput)


def test_models_that_keep_state_and_hooks_of_the_user() -> None:
    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.state = nn.Linear(8, 8), None

        def forward(self, x: Tensor) -> Tensor:
            self.state = self.layer(x if self.state is None else x + self.state)
            return self.state

    keeps = Keeps()
    assert [A(keeps, X).total.macs for _ in range(2)] == [SMALL, SMALL]
    assert keeps.state is None
    hooked = nn.Linear(8, 8)
    hooked.register_forward_hook(lambda module, inputs, output: output @ W)
    hooked.register_forward_pre_hook(lambda module, inputs: (inputs[0] @ W,))
    assert A(hooked, X).total.macs == 3 * SMALL


def test_python_control_flow() -> None:
    def model(x: Tensor) -> Tensor:
        for _ in range(int(x.sum().item())):
            x = x @ torch.eye(8)
        return x

    x = torch.zeros(3, 8)
    x[0, 0] = 4
    assert counted(A(model, x)) == 4 * 3 * 8 * 8
    with pytest.raises(NeedsDataError):
        A(model, x, execute="never")


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_autocast(device: str) -> None:
    def model(x: Tensor) -> Tensor:
        with torch.autocast(device, dtype=torch.bfloat16):
            return net()(x)

    report = A(model, "1x3x8x8")
    assert counted(report) == NET
    if device == "cpu":
        assert report.graph.outputs[0].type.dtype == "bfloat16"


def test_models_on_the_meta_device_and_on_inference_tensors() -> None:
    assert A(net().to("meta"), "1x3x8x8").total.macs == NET
    with torch.inference_mode():
        model, x = net(), torch.rand(1, 3, 8, 8)
    for execute in ("never", "always"):
        assert A(model, x, execute=execute).total.macs == NET


# -- inputs ----------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Batch:
    x: Tensor
    mask: Tensor | None = None
    scale: float = 2.0


class Pair(NamedTuple):
    one: Tensor
    other: Tensor


T = torch.rand(3, 8)
INPUTS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "dict": (lambda b: b["x"] @ b["x"].t() * b["n"], ({"x": T, "n": 3, "none": None},)),
    "nested lists": (lambda b: b[0][0]["x"] @ b[1].t(), ([[{"x": T}], T],)),
    "named tuple": (lambda b: b.one @ b.other.t(), (Pair(T, T),)),
    "dataclass": (lambda b: b.x @ b.x.t() * b.scale, (Batch(T),)),
    "mapping": (lambda b: b["x"] @ b["x"].t(), (UserDict(x=T),)),
    "scalars and None": (lambda x, none, n, f: x @ x.t() * n + f, (T, None, 2, 0.5)),
    "array": (lambda x, a: x @ torch.as_tensor(a), (T, torch.zeros(8, 3).numpy())),
}


@pytest.mark.parametrize("name", INPUTS)
def test_inputs_of_many_kinds(name: str) -> None:
    model, inputs = INPUTS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = A(model, *inputs)
    assert counted(report) == 3 * 3 * 8
    assert report.graph.inputs[0].shape == (3, 8)


def test_the_inputs_of_the_user_are_not_written() -> None:
    batch = Batch(torch.ones(3, 8))

    def model(b: Batch) -> Tensor:
        b.scale = 5.0
        return b.x.mul_(2)

    A(model, batch, execute="always")
    assert (batch.scale, bool((batch.x == 1).all())) == (2.0, True)
