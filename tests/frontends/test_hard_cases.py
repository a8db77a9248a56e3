"""Cases that once gave a wrong number without a word, or a traceback. Each expected value is what a real run does."""

from __future__ import annotations

import copy
import functools
from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import flopscope
from flopscope import Cost
from flopscope.errors import FlopscopeError, InputError, NeedsDataError, TraceError

A = flopscope.analyze


def output(report: flopscope.Report) -> tuple[str, tuple[int, ...]]:
    return report.graph.outputs[0].type.dtype, report.graph.outputs[0].shape


# -- shapes that change in place -------------------------------------------------------------------------------------------


def test_a_result_written_into_a_tensor_of_another_size() -> None:
    def model(a: Tensor, b: Tensor) -> Tensor:
        out = torch.empty(0, device=a.device)
        torch.mm(a, b, out=out)
        return out @ out.t()

    report = A(model, "20x30", "30x40")
    report.graph.verify()
    assert report.total.macs == 20 * 30 * 40 + 20 * 40 * 20
    assert output(report) == ("float32", (20, 20))


def test_a_result_tensor_is_written_and_not_read() -> None:
    report = A(lambda a, b, c: torch.mm(a, b, out=c), "2x3", "3x4", "2x4")
    assert (report.total.elements_read, report.total.elements_written) == (2 * 3 + 3 * 4, 2 * 4)


def test_an_input_whose_shape_is_changed_in_place() -> None:
    assert output(A(lambda x: (x.unsqueeze_(0), x * 2)[1], "2x3")) == ("float32", (1, 2, 3))
    assert A(lambda x, w: x.t_() @ w, "2x3", "2x5").total.macs == 3 * 2 * 5


def test_changing_a_shape_in_place_moves_nothing() -> None:
    report = A(lambda x: (x * 1).unsqueeze_(0).t_() if False else (x * 1).unsqueeze_(0), "2x3")
    assert (report.total.elements_read, report.total.elements_written) == (6, 6)


# -- what the memo must tell apart -----------------------------------------------------------------------------------------


def test_the_memo_tells_complex_numbers_and_mixed_lists_apart() -> None:
    flopscope.clear_memo()
    assert [output(A(lambda x, n=n: x * n, "2x3"))[0] for n in (1, 1 + 0j, 1)] == ["float32", "complex64", "float32"]
    x = torch.zeros(2, dtype=torch.int32)
    dtypes = [A(lambda a, b, n=n: torch._foreach_add([a, b], n), x, x).graph.outputs[1].type.dtype for n in ([1, 2], [1, 2.0])]
    assert dtypes == ["int32", "float32"]


@pytest.mark.parametrize("weight_first", [False, True])
def test_views_of_weights_and_of_activations_of_the_same_shape(weight_first: bool) -> None:
    flopscope.clear_memo()
    weight = nn.Parameter(torch.rand(1, 4, 4, 8))
    models = [lambda x: (x + 1).permute(0, 3, 1, 2), lambda x: x + weight.permute(0, 3, 1, 2)]
    shapes = ["1x4x4x8", "1x8x4x4"]
    for which in (1, 0, 1) if weight_first else (0, 1, 0):
        A(models[which], shapes[which]).graph.verify()


def test_normal_and_inference_tensors_do_not_meet_in_the_memo() -> None:
    cell = nn.LSTMCell(5, 10)

    def outside(x: Tensor) -> Any:
        with torch.inference_mode(False):
            return cell(x)

    expected = A(cell, "5").total.macs
    assert A(outside, "5").total.macs == expected == A(cell, "5").total.macs


# -- values --------------------------------------------------------------------------------------------------------------


def test_reading_the_values_of_integer_inputs_is_said() -> None:
    report = A(lambda ids, x: x if (ids == 0).any() else x @ x, "2x8:int64", "8x8")
    assert report.notes
    assert "depends on the values of the integer or boolean inputs" in report.notes[0]
    assert A(lambda ids, x: x + torch.arange(ids.shape[1]).sum().item(), "2x8:int64", "8x8").notes == []


@pytest.mark.parametrize(
    "read",
    [lambda x: float(x.numpy().sum()), lambda x: sum(x.tolist()), lambda x: float(f"{x.sum():.3f}"), lambda x: float(x.sum())],
    ids=["numpy", "tolist", "format", "float"],
)
def test_every_way_to_read_a_value_leads_to_a_real_run(read: Any) -> None:
    report = A(lambda x, y: x * read(y), "4x4", torch.rand(3))
    assert report.ops[-1].kind == "mul"
    assert "the model was run for real on the CPU" in report.notes[0]


def test_assigning_through_a_mask_needs_no_values() -> None:
    def model(x: Tensor) -> Tensor:
        x = x * 1
        x[x > 0] = 0.0
        return x

    assert output(A(model, "3x4", execute="never")) == ("float32", (3, 4))


def test_models_that_ask_for_autocast_by_device_type() -> None:
    def model(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return x @ x

    assert A(model, "4x4").total.macs == 64


def test_products_of_different_dtypes_are_refused_as_by_a_real_run() -> None:
    with pytest.raises(TraceError, match="needs one dtype, but got float16 and float32"):
        A(nn.Linear(3, 3).half(), torch.rand(1, 3))
    assert output(A(nn.Linear(3, 3).half(), "1x3")) == ("float16", (1, 3))  # text takes the dtype of the model


# -- functions, generators, scripted modules -----------------------------------------------------------------------------


def test_parameters_are_found_however_a_function_reaches_them() -> None:
    model = nn.Linear(8, 4)
    for function in (model.forward, lambda x: model(x), functools.partial(model)):
        report = A(function, "2x8")
        assert report.total.params == 8 * 4 + 4
        assert report.by_module()[0].cost.macs == report.total.macs == 2 * 8 * 4


def test_a_generator_is_run_to_its_end() -> None:
    def model(x: Tensor) -> Iterator[Tensor]:
        yield x @ x
        yield x @ x

    assert A(model, "10x10").total.macs == 2 * 1000


class Returns(nn.Module):
    """Returns a buffer, which the trace meets only then."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.arange(10))

    def forward(self) -> Tensor:
        return self.table  # type: ignore[return-value]


class Asks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Returns()

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner()


@pytest.mark.parametrize("execute", ["never", "always"])
def test_a_module_that_returns_a_buffer(execute: Any) -> None:
    report = A(Asks(), "3x10", execute=execute)
    report.graph.verify()
    assert [row.op for row in report.ops] == ["aten::add"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("make", [torch.jit.script, lambda m: torch.jit.trace(m, torch.rand(2, 8))], ids=["script", "trace"])
def test_scripted_modules(make: Any) -> None:
    model = make(nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2)))
    report = A(model, "2x8")
    assert (report.total.macs, report.total.params) == (2 * (8 * 4 + 4 * 2), 8 * 4 + 4 + 4 * 2 + 2)
    assert A(nn.Sequential(model), "2x8").total == report.total


def test_an_encoder_with_a_padding_mask() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    mask = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    report = A(nn.TransformerEncoder(layer, 2, enable_nested_tensor=True).eval(), torch.rand(2, 5, 8), src_key_padding_mask=mask)
    assert report.total.macs == 2 * (10 * (4 * 8 * 8 + 2 * 8 * 16) + 2 * (2 * 2) * 5 * 5 * 4)


def test_copies_of_tensors() -> None:
    assert A(lambda x: copy.deepcopy(x + 1) @ x, "4x4").total.macs == 64


def test_analysing_inside_an_analysis() -> None:
    inner = nn.Linear(4, 4)
    found: list[int] = []

    def model(x: Tensor) -> Tensor:
        found.append(A(inner, "1x4").total.macs)
        return x @ x

    report = A(model, "4x4")
    assert (report.total.macs, found) == (64, [16])
    assert [row.op for row in report.ops] == ["aten::matmul"]


# -- edges ---------------------------------------------------------------------------------------------------------------


def test_a_view_that_is_returned_shows_what_was_written() -> None:
    def model(x: Tensor) -> Tensor:
        y = x + 1
        view = y.view(-1)
        y.mul_(2)
        return view

    graph = A(model, "2x2").graph
    graph.verify()
    assert graph.ops[graph.outputs[0].producer or 0].kind == "alias"


def test_writing_to_several_tensors_at_once() -> None:
    def model(x: Tensor) -> Tensor:
        one, two = x * 1, x * 2
        view = two.view(-1)
        torch._foreach_mul_([one, two], 2.0)
        return view.exp()

    graph = A(model, "2x2").graph
    graph.verify()
    alias = next(op for op in graph.ops if op.kind == "alias")
    foreach = next(op for op in graph.ops if op.kind == "_foreach_mul")
    assert alias.inputs[1] is foreach.outputs[1]


# -- modules priced as a whole -------------------------------------------------------------------------------------------


class Whole(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x @ x)


def test_a_whole_module_called_with_a_named_input() -> None:
    flopscope.rule(Whole, flops="none", source="this test")(lambda op: Cost(macs=op["input"].elements))
    try:
        child = Whole()
        report = A(lambda x: child(x=x) + 1, "4x4")
        report.graph.verify()
        assert report.total.macs == 16
    finally:
        flopscope.forget_rule(Whole)


# -- nothing of the user is written -----------------------------------------------------------------------------------------


class Touches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((4,), 9.0))
        self.embedding = nn.Embedding(3, 4, max_norm=1.0)
        self.embedding.weight.data.fill_(9)
        self.ordered: OrderedDict[str, int] = OrderedDict(a=1)
        self.queue: deque[int] = deque([1])

    def forward(self, ids: Tensor) -> Tensor:
        with torch.no_grad():
            self.weight.mul_(0.5)
            self.weight[:2].add_(1)
        self.ordered["b"] = 2
        self.queue.append(2)
        return self.embedding(ids) * self.weight


@pytest.mark.parametrize("execute", ["never", "always"])
def test_parameters_are_not_written_even_when_the_model_runs_for_real(execute: Any) -> None:
    model = Touches()
    A(model, torch.tensor([2]), execute=execute)
    assert torch.equal(model.weight, torch.full((4,), 9.0))
    assert model.weight._version == 0
    assert bool((model.embedding.weight == 9).all())
    assert (list(model.ordered), list(model.queue)) == (["a"], [1])


# -- counts ----------------------------------------------------------------------------------------------------------------

i64 = torch.int64
COUNTS: list[tuple[str, Any, tuple[Any, ...], int, int]] = [
    ("cosine similarity of all pairs", lambda a, b: F.cosine_similarity(a[:, None], b[None], -1), ("10x6", "10x6"), 0, 100 * (6 * 6 + 5)),
    ("fft cut", lambda x: torch.fft.fft(x, n=8), (torch.zeros(16, dtype=torch.complex64),), 0, 5 * 8 * 3),
    ("rfft padded", lambda x: torch.fft.rfft(x, n=64), ("16",), 0, 5 * 64 * 6 // 2),
    ("irfft", lambda x: torch.fft.irfft(x, n=64), (torch.zeros(33, dtype=torch.complex64),), 0, 5 * 64 * 6 // 2),
    ("fftn of the last two", lambda x: torch.fft.fftn(x, s=(8, 8)), (torch.zeros(3, 8, 8, dtype=torch.complex64),), 0, 3 * 5 * 64 * 6),
    ("median", torch.median, ("1024",), 0, 1024 * 10),
    ("msort", torch.msort, ("1024x2",), 0, 2048 * 10),
    ("max into given tensors", lambda a: torch.max(a, 1, out=(a.new_empty(2), a.new_empty(2, dtype=i64))), ("2x3",), 0, 6),
    ("trace", torch.trace, ("100x100",), 0, 100),
    ("clamp from below", lambda x: x.clamp(min=0), ("6",), 0, 6),
    ("clamp", lambda x: x.clamp(0, 1), ("6",), 0, 12),
    ("einsum with a size of one", lambda a, b, c: torch.einsum("ij,ij,ij->j", a, b, c), ("1x7", "1x7", "50x7"), 7 + 7, 50 * 7),
    ("einsum with an inner size of one", lambda a, b: torch.einsum("ij,jk->ik", a, b), ("5x1", "7x3"), 5 * 3, 21),
    ("mean squared error", F.mse_loss, ("3x4", "3x4"), 0, 3 * 12),
    ("cross entropy", F.cross_entropy, ("3x10", torch.zeros(3, dtype=i64)), 0, 5 * 30 + 2 * 3),
]


@pytest.mark.parametrize(("model", "inputs", "macs", "other"), [case[1:] for case in COUNTS], ids=[case[0] for case in COUNTS])
def test_counts(model: Any, inputs: tuple[Any, ...], macs: int, other: int) -> None:
    report = A(model, *inputs)
    assert report.uncounted == []
    assert (report.total.macs, report.total.flops - 2 * report.total.macs) == (macs, other)


def assign(x: Tensor) -> Tensor:
    x[torch.tensor([0, 1, 2])] = 0.0
    return x


MOVED: list[tuple[str, Any, tuple[Any, ...], int, int]] = [
    ("a scalar to whole rows", assign, ("10x1000",), 1 + 3, 3000 + 1),  # the scalar is made, too
    ("index_fill", lambda x: x.index_fill_(0, torch.tensor([0, 1]), 0.0), ("10x1000",), 2, 2000),
    ("gather of integers", lambda x, i: x.gather(0, i), (torch.zeros(10, 10, dtype=i64), torch.zeros(10, 10, dtype=i64)), 200, 100),
    ("random numbers like another tensor", torch.rand_like, ("10x10",), 0, 100),
    ("random numbers in place", lambda x: x.normal_(), ("10x10",), 0, 100),
]


@pytest.mark.parametrize(("model", "inputs", "read", "written"), [case[1:] for case in MOVED], ids=[case[0] for case in MOVED])
def test_moved(model: Any, inputs: tuple[Any, ...], read: int, written: int) -> None:
    total = A(model, *inputs).total
    assert (total.elements_read, total.elements_written) == (read, written)


def test_the_spectral_norm_of_a_matrix_is_not_counted_as_a_sum() -> None:
    report = A(lambda x: torch.linalg.norm(x, ord=2), "30x30")
    assert report.complete
    assert report.total.flops == 4 * 30**3 - 4 * 30**3 // 3 + 30  # singular values, and the largest of them
    assert A(lambda x: torch.linalg.norm(x), "30x30").total.flops == 2 * 900 + 1


def test_a_learned_number_is_read_but_not_after_it_was_overwritten() -> None:
    scale = nn.Parameter(torch.tensor(2.0))
    assert A(lambda x: x.repeat(int(scale.item()), 1) @ x.t(), "3x4", execute="never").total.macs == 6 * 4 * 3

    def overwrites(x: Tensor) -> Tensor:
        with torch.no_grad():
            scale.mul_(x.sum())
        return x * scale.item()

    with pytest.raises(NeedsDataError):
        A(overwrites, "3x4", execute="never")
    assert scale.item() == 2


@pytest.mark.parametrize(
    "text",
    ["2x", "2xx3", "2X3", "2*3", "2 x 3", "2, 3", "(2,3)", "[2, 3]", "-1x3", "2x3:", "2x3,", "2×3", "2x3: int64"],
)
def test_a_text_that_is_meant_as_a_shape_and_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"is no shape: expected sizes with an x between them .*1x3x224x224"):
        A(nn.Linear(3, 4), text)


@pytest.mark.parametrize("text", ["mean", "cuda:0", "0.5", "1e-5", "x", "", "2024-01-01", "2d", "0.1,0.2", "bf16", "same, valid"])
def test_other_texts_are_arguments_of_the_model(text: str) -> None:
    seen = []
    assert A(lambda x, mode: (seen.append(mode), x @ x.T)[1], "2x3", text).total.macs == 2 * 2 * 3
    assert seen == [text]


def test_a_text_that_the_model_cannot_use_is_named() -> None:
    with pytest.raises(FlopscopeError, match="The text '1x3xHxW' went to the model as it is; a shape is written as in '1x3x224x224'"):
        A(nn.Conv2d(3, 4, 3), "1x3xHxW")
