"""Closed forms: against formulas derived by hand, and against the analyzer at sizes that nobody looked at before."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy
import pytest
import sympy
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

import flopscope
from flopscope.analyses.totals import total
from flopscope.errors import ClosedFormError, OptionError
from flopscope.frontends.torch.trace import trace
from flopscope.relax.closed.form import ClosedForm
from flopscope.relax.closed.pricing import FIELDS
from flopscope.relax.closed.symbols import gcd, log2_ceil

B, H, R, S, T, W = (sympy.Symbol(name, integer=True, positive=True) for name in "BHRSTW")
IMAGE = {"B": 0, "R": (2, 3)}
TOKENS = {"B": 0, "S": 1}


def image(B: int, R: int) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    return (torch.empty(B, 3, R, R, device="meta"),), {}


def tokens(B: int, S: int) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    return (), {"input_ids": torch.zeros(B, S, dtype=torch.int64)}


def check(form: ClosedForm, model: Any, inputs: Callable[..., Any], *points: Mapping[str, int]) -> None:
    """Every field of the form equals the analyzer's count, as ints, by all three ways to ask."""
    for point in points:
        args, kwargs = inputs(**point)
        counted = total(trace(model, args, kwargs))
        for name in FIELDS:
            value = form.evaluate(name, **point)
            assert type(value) is int
            assert value == getattr(counted, name), (name, point)
            assert form.lambdify(name)(**point) == value
            if 1 not in point.values():
                substituted = form(name).subs({form.symbols[symbol]: size for symbol, size in point.items()})
                assert substituted == value


# -- by hand ----------------------------------------------------------------------------------------------------------


def test_convolution() -> None:
    form = flopscope.closed_form(nn.Conv2d(3, 8, 3, stride=2, padding=1), "1x3x32x32", symbols=IMAGE)
    side = sympy.floor((R + 1) / 2)
    assert form("macs") == 8 * 3 * 9 * B * side**2
    assert form("flops") == sympy.expand((2 * 8 * 3 * 9 + 8) * B * side**2)
    assert form("params") == 8 * 3 * 9 + 8
    assert form("elements_read") == sympy.expand(3 * B * R**2 + 8 * 27 + 8)
    assert form("bytes_written") == 4 * 8 * B * side**2
    assert form.conditions == []


def test_height_and_width_apart() -> None:
    form = flopscope.closed_form(nn.Conv2d(3, 8, 1, stride=(2, 3)), "1x3x32x48", symbols={"H": 2, "W": 3})
    assert form("macs") == 24 * sympy.floor((H + 1) / 2) * sympy.floor((W + 2) / 3)


def test_linear_on_a_sequence() -> None:
    form = flopscope.closed_form(nn.Linear(16, 4), "2x10x16", symbols=TOKENS)
    assert form("macs") == 16 * 4 * B * S
    assert form("access_bytes") == 4 * (20 * B * S + 68)


def test_attention_with_two_lengths() -> None:
    """Queries meet keys: s t d for the scores, as much for the values; 7 operations per score with a mask."""

    def attend(query: Tensor, key: Tensor, mask: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(query, key, key, attn_mask=mask)

    symbols = {"B": {0: 0, 1: 0}, "S": {"query": 2, "mask": 0}, "T": {"key": 2, "mask": 1}}
    form = flopscope.closed_form(attend, "2x4x10x8", "2x4x14x8", "10x14:bool", symbols=symbols)
    assert form("macs") == 2 * 8 * 4 * B * S * T
    assert form("flops") == (2 * 2 * 8 + 7) * 4 * B * S * T


def test_matrix_product_of_functions() -> None:
    form = flopscope.closed_form(torch.matmul, "4x5", "5x6", symbols={"S": {0: 0}, "T": {0: 1, 1: 0}, "W": {1: 1}})
    assert form("macs") == S * T * W
    assert form("access") == S * T + T * W + S * W


def test_an_expanded_dimension_is_read_once() -> None:
    form = flopscope.closed_form(lambda x: x[:, None].expand(-1, 5, -1) * 2, "3x9", symbols=TOKENS)
    assert form("elements_read") == B * S
    assert form("elements_written") == 5 * B * S


def test_functions_of_symbols_that_are_no_polynomials() -> None:
    """An adaptive pool over windows of different length, and a sort."""
    form = flopscope.closed_form(nn.AdaptiveAvgPool2d(6), "1x2x32x32", symbols={"R": (2, 3)})
    assert form("flops") == sympy.expand(2 * (R + 6 - gcd(R, 6)) ** 2)
    check(form, nn.AdaptiveAvgPool2d(6), lambda R: ((torch.empty(1, 2, R, R, device="meta"),), {}), {"R": 45}, {"R": 48})
    form = flopscope.closed_form(lambda x: x.sort(-1)[0], "3x32", symbols=TOKENS)
    assert form("flops") == B * S * log2_ceil(S)


def test_gpt2() -> None:
    """Per layer 12 d^2 for each token (4 projections of d x d, and 8 d^2 in the MLP) and 2 d for each pair; the head is V d."""
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config()
    with flopscope.building():
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
    form = flopscope.closed_form(model, input_ids="1x128:int64", symbols=TOKENS)
    d, layers, vocabulary = config.n_embd, config.n_layer, config.vocab_size
    assert (d, layers, vocabulary) == (768, 12, 50257)
    assert form("macs") == sympy.expand(layers * (12 * d**2 * B * S + 2 * d * B * S**2) + vocabulary * d * B * S)
    assert form("params") == 124_439_808
    assert form.conditions == ["S <= 1024"]
    check(form, model, tokens, {"B": 1, "S": 1024}, {"B": 7, "S": 311}, {"B": 2, "S": 1}, {"B": 1, "S": 1})


def test_llama_with_grouped_queries() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        hidden_size=256, intermediate_size=700, num_hidden_layers=3, num_attention_heads=8, num_key_value_heads=2, vocab_size=1000
    )
    with flopscope.building():
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
    form = flopscope.closed_form(model, input_ids="2x64:int64", symbols=TOKENS)
    d, kv, hidden = 256, 2 * 32, 700
    projections = d * d + 2 * d * kv + d * d  # query, key and value, output
    swiglu = 3 * d * hidden
    assert form("macs") == sympy.expand(3 * ((projections + swiglu) * B * S + 2 * d * B * S**2) + 1000 * d * B * S)
    check(form, model, tokens, {"B": 1, "S": 64}, {"B": 5, "S": 77}, {"B": 3, "S": 1}, {"B": 1, "S": 1})


# -- real networks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "divisors", "conditions"),
    [
        ("resnet50", {2, 4, 8, 16, 32}, []),
        ("mobilenet_v2", {2, 4, 8, 16, 32}, []),
        ("densenet121", {2, 4, 8, 16, 32}, ["R >= 29"]),
        ("efficientnet_b0", {2, 4, 8, 16, 32}, []),
    ],
)
def test_networks_in_batch_and_resolution(name: str, divisors: set[int], conditions: list[str]) -> None:
    with flopscope.building():
        model = torchvision.models.get_model(name, weights=None).eval()
    form = flopscope.closed_form(model, "1x3x224x224", symbols=IMAGE)
    floors = form("macs").atoms(sympy.floor)
    assert {sympy.fraction(sympy.together(floor.args[0]))[1] for floor in floors} == divisors
    assert form.conditions == conditions
    points = [{"B": 1, "R": 224}, *({"B": b, "R": r} for b, r in zip((1, 2, 13, 32, 9), (97, 160, 331, 449, 1030), strict=True))]
    check(form, model, image, *points)


def test_a_vision_transformer_has_one_resolution() -> None:
    with flopscope.building():
        model = torchvision.models.vit_b_16(weights=None).eval()
    form = flopscope.closed_form(model, "1x3x224x224", symbols={"B": 0})
    check(form, model, lambda B: image(B, 224), {"B": 1}, {"B": 3}, {"B": 77})
    with pytest.raises(
        ClosedFormError, match=r"accepts too few sizes for a formula in R: R = 224 of those that were tried\..*Wrong image height"
    ):
        flopscope.closed_form(model, "1x3x224x224", symbols=IMAGE)


def random_network(seed: int) -> nn.Sequential:
    draw = random.Random(seed)
    layers: list[nn.Module] = []
    channels = 3
    for _ in range(draw.randint(2, 5)):
        width, kernel = draw.choice([4, 6, 8]), draw.randint(1, 5)
        stride, padding = draw.choice([1, 1, 2, 3]), draw.randint(0, kernel // 2)
        layers += [nn.Conv2d(channels, width, kernel, stride, padding, bias=draw.random() < 0.5), nn.BatchNorm2d(width), nn.ReLU()]
        if draw.random() < 0.4:
            layers.append(draw.choice([nn.MaxPool2d(2, ceil_mode=draw.random() < 0.5), nn.AvgPool2d(3, 2, 1), nn.Upsample(scale_factor=2)]))
        channels = width
    head = draw.choice([nn.Flatten(2), nn.AdaptiveAvgPool2d(draw.choice([1, 3])), nn.Identity()])
    return nn.Sequential(*layers, head).eval()


@pytest.mark.parametrize("seed", range(10))
def test_random_networks(seed: int) -> None:
    model = random_network(seed)
    form = flopscope.closed_form(model, "2x3x96x96", symbols=IMAGE)
    draw = random.Random(seed + 1000)
    sizes = form.ranges["R"]
    points = [{"B": draw.randint(1, 99), "R": r} for r in draw.sample(range(max(80, sizes.low), 700), 8) if sizes.holds(r)]
    check(form, model, image, *points)


# -- models that are not the same at every size -------------------------------------------------------------------------


class StepByStep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(8, 16)
        self.out = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(x.shape[0], 16)
        outputs = []
        for step in range(x.shape[1]):
            state = self.cell(x[:, step], state)
            outputs.append(self.out(state))
        return torch.stack(outputs, 1)


def test_a_loop_over_time_is_fitted_from_its_totals() -> None:
    form = flopscope.closed_form(StepByStep(), "2x12x8", symbols={"B": 0, "T": 1})
    assert form("macs") == (3 * 16 * (8 + 16) + 16 * 4) * B * T
    check(form, StepByStep(), lambda B, T: ((torch.empty(B, T, 8),), {}), {"B": 1, "T": 1}, {"B": 4, "T": 37})


def test_a_loop_over_windows_holds_on_their_multiples() -> None:
    layer = nn.Linear(16, 4)
    form = flopscope.closed_form(lambda x: torch.cat([layer(part) for part in x.split(6, 1)], 1), "2x24x16", symbols=TOKENS)
    assert form("macs") == 64 * B * S
    assert form.conditions == ["S is a multiple of 6"]
    with pytest.raises(OptionError, match="S = 25 is outside the sizes for which this form holds: S is a multiple of 6"):
        form.evaluate("macs", B=1, S=25)


def test_sizes_that_must_be_multiples() -> None:
    def strict(x: Tensor) -> Tensor:
        assert x.shape[-1] % 32 == 0
        return F.avg_pool2d(x, 32)

    form = flopscope.closed_form(strict, "1x3x224x224", symbols=IMAGE)
    assert form("elements_written") == 3 * B * (R / 32) ** 2
    assert form.conditions == ["R is a multiple of 32"]
    assert form.evaluate("elements_written", B=2, R=64) == 24
    with pytest.raises(OptionError, match="R is a multiple of 32"):
        form.lambdify("macs")(1, numpy.array([64, 80]))


def test_what_happens_at_odd_sizes_only() -> None:
    form = flopscope.closed_form(lambda x: (x * 2) * 2 if x.shape[1] % 2 else x * 2, "2x33", symbols=TOKENS)
    assert form.conditions == ["S mod 2 = 1"]
    assert form("flops") == 2 * B * S


def test_limits_of_a_model_are_found() -> None:
    table = nn.Embedding(100, 8)

    def model(ids: Tensor) -> Tensor:
        if ids.shape[1] < 5:
            raise ValueError("too short")
        return table(torch.arange(ids.shape[1]))[None] + table(ids)

    form = flopscope.closed_form(model, "1x60:int64", symbols=TOKENS)
    assert form.conditions == ["S >= 5", "S <= 100"]
    for size in (4, 101):
        with pytest.raises(OptionError, match=f"S = {size} is outside the sizes for which this form holds: S >= 5, S <= 100"):
            form.evaluate("macs", B=1, S=size)


def test_a_size_of_one_has_its_own_formula() -> None:
    """Transposing and flattening copies, but for one row, of which it is a view."""
    form = flopscope.closed_form(lambda x: x.transpose(0, 1).reshape(-1), "1x9", symbols=TOKENS)
    assert form("elements_written") == B * S
    assert form.at_one[frozenset("B")].elements_written == 0
    assert [form.evaluate("elements_written", B=b, S=s) for b, s in ((3, 5), (1, 5), (3, 1), (1, 1))] == [15, 0, 0, 0]
    found = form.lambdify("elements_written")(numpy.array([[1], [2]]), numpy.array([1, 2, 3]))
    assert found.tolist() == [[0, 0, 0], [0, 4, 6]]
    assert "at B = 1: access 0, access bytes 0" in str(form)


def test_an_op_without_a_rule_makes_the_form_partial() -> None:
    lib = torch.library.Library("closed_form_test", "FRAGMENT")
    lib.define("f(Tensor x) -> Tensor")
    lib.impl("f", lambda x: x * 2, "CompositeExplicitAutograd")
    form = flopscope.closed_form(lambda x: torch.ops.closed_form_test.f(x) + 1, "2x9", symbols=TOKENS)
    assert form.cost.partial
    assert form("uncounted") == 1
    assert form("flops") == B * S
    assert "FLOPs         at least B*S" in str(form)
    assert "NOT COUNTED, because no rule prices them: closed_form_test::f" in str(form)


def test_a_rule_that_cannot_take_symbols_is_fitted() -> None:
    lib = torch.library.Library("closed_form_rule_test", "FRAGMENT")
    lib.define("g(Tensor x) -> Tensor")
    lib.impl("g", lambda x: x * 2, "CompositeExplicitAutograd")

    @flopscope.rule("closed_form_rule_test::g", flops="a test", source="a test")
    def cost(op: Any) -> flopscope.Cost:
        rows, columns = op["x"].shape
        return flopscope.count(op, macs=len(range(rows)) * columns if columns > 3 else 0)

    try:
        form = flopscope.closed_form(lambda x: torch.ops.closed_form_rule_test.g(x), "2x9", symbols=TOKENS)
        assert form("macs") == B * S
        assert form.conditions == ["S >= 4"]
    finally:
        flopscope.forget_rule("closed_form_rule_test::g")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda x: torch.ones(1 + x.shape[1] ** 2 % 17) * 1,
            "no closed form in B, S was found. Op by op: .* along S = .* follow no known form",
        ),
        (lambda x: x.view(2, 64) * 2, "accepts too few sizes for a formula in B: B = 2 of those that were tried"),
        (lambda x: x[x > 0], "there is no formula for a cost that depends on data: the model reads the values of tensors"),
    ],
)
def test_what_has_no_formula_is_refused(model: Any, message: str) -> None:
    with pytest.raises(ClosedFormError, match=message):
        flopscope.closed_form(model, "2x64", symbols=TOKENS)
