"""Closed forms: how they are asked for, and what can be done with one."""

from __future__ import annotations

import itertools
import pickle
from typing import Any

import numpy
import pytest
import sympy
import torch
from torch import Tensor, nn

import flopscope
from flopscope.errors import InputError, OptionError, TraceError
from flopscope.relax.closed.align import Misaligned, combine
from flopscope.relax.closed.form import ClosedForm
from flopscope.relax.closed.numbers import Exact
from flopscope.relax.closed.symbols import gcd, log2_ceil

B, R, S = (sympy.Symbol(name, integer=True, positive=True) for name in "BRS")
IMAGE = {"B": 0, "R": (2, 3)}


# -- inputs ---------------------------------------------------------------------------------------------------------------


def test_integers_keep_their_values_and_repeat() -> None:
    seen: dict[int, list[int]] = {}

    def model(ids: Tensor, scores: Tensor) -> Tensor:
        seen[ids.shape[0]] = ids.tolist()
        return scores * 2

    flopscope.closed_form(model, torch.tensor([4, 7, 9]), torch.rand(3, 2), symbols={"S": 0})
    assert seen[3] == [4, 7, 9]
    assert seen[8] == [4, 7, 9, 4, 7, 9, 4, 7]


def test_an_input_given_twice_stays_one_and_keeps_its_layout() -> None:
    def model(a: Tensor, pair: list[Tensor]) -> Tensor:
        assert pair[0] is a
        assert a.shape[0] == 1 or a.is_contiguous(memory_format=torch.channels_last)
        return a + pair[0]

    x = torch.rand(2, 3, 8, 8).to(memory_format=torch.channels_last)
    assert flopscope.closed_form(model, x, [x], symbols=IMAGE)("flops") == 3 * B * R**2


@pytest.mark.parametrize(
    ("symbols", "error", "message"),
    [
        ({}, OptionError, "symbols must say which dimensions of the inputs may vary"),
        (None, OptionError, "symbols must say"),
        ({"2": 0}, OptionError, "'2' cannot name a symbol"),
        ({"for": 0}, OptionError, "'for' cannot name a symbol"),
        ({"floor": 0}, OptionError, "none of floor"),
        ({"B": "0"}, InputError, "no layer '0' has weights"),
        ({"B": ()}, OptionError, "must stand for a dimension or a tuple of them"),
        ({"B": True}, OptionError, "must stand for a dimension or a tuple of them"),
        ({"B": 2}, InputError, "the symbol B stands for dimension 2, which no input has: input 'input' of 2x4"),
        ({"B": {0: 5}}, InputError, "stands for dimension 5 of input 'input', which has 2"),
        ({"B": {"y": 0}}, InputError, "names the input 'y', which is no tensor among them"),
        ({"B": {}}, InputError, "occurs nowhere"),
        ({"B": 0, "C": {"input": 0}}, InputError, "dimension 0 of input 'input' has two symbols, B and C"),
        ({"B": (0, 1)}, InputError, "must be equal, but dimension 0 of input 'input' is 2, dimension 1 of input 'input' is 4"),
    ],
)
def test_symbols_that_are_none(symbols: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        flopscope.closed_form(nn.Linear(4, 4), "2x4", symbols=symbols)


def test_the_errors_of_analyze_are_the_same_here() -> None:
    with pytest.raises(TraceError, match="Linear raised RuntimeError"):
        flopscope.closed_form(nn.Linear(4, 4), "2x5", symbols={"B": 0})
    with pytest.raises(InputError, match="a model must be"):
        flopscope.closed_form(3, "2x5", symbols={"B": 0})  # type: ignore[arg-type]


# -- what can be done with a form -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def form() -> ClosedForm:
    return flopscope.closed_form(nn.Conv2d(3, 8, 3, stride=2, padding=1), "1x3x32x32", symbols=IMAGE)


def test_sympy_takes_a_form_for_its_macs(form: ClosedForm) -> None:
    assert sympy.sympify(form) == form("macs") == form()
    assert sympy.diff(form, B) == 216 * sympy.floor((R + 1) / 2) ** 2
    assert form.symbols == {"B": B, "R": R}


def test_text_has_every_metric(form: ClosedForm) -> None:
    lines = str(form).splitlines()
    assert lines[0] == "Conv2d in B, R"
    assert lines[1] == "MACs          216*B*ceil(R/2)**2"
    assert lines[3] == "params        224"
    assert lines[-1].startswith("note: checked against the analyzer at ")


def test_metrics_are_named(form: ClosedForm) -> None:
    assert form("access") == form("elements_read") + form("elements_written")
    with pytest.raises(
        OptionError, match="there is no metric 'mac'; choose one of macs, flops, params, access, access_bytes, elements_read"
    ):
        form("mac")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"B": 1}, "R is missing"),
        ({"B": 1, "R": 3, "Q": 3}, "there is no symbol Q"),
        ({"B": 0, "R": 3}, "B must be a positive integer"),
        ({"B": -1, "R": 3}, "B must be a positive integer"),
        ({"B": 1.0, "R": 3}, "B must be a positive integer"),
        ({"B": True, "R": 3}, "B must be a positive integer"),
        ({"B": "1", "R": 3}, "B must be a positive integer"),
    ],
)
def test_sizes_that_are_none(form: ClosedForm, sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        form.evaluate("macs", **sizes)
    with pytest.raises(OptionError, match=message):
        form.lambdify("macs")(**sizes)


def test_lambdify_is_exact_at_any_size(form: ClosedForm) -> None:
    count = form.lambdify("macs")
    batches, sides = numpy.array([1, 7])[:, None], numpy.arange(30, 40)
    found = count(batches, sides)
    assert found.dtype == numpy.int64
    assert found.tolist() == [[216 * b * ((r + 1) // 2) ** 2 for r in range(30, 40)] for b in (1, 7)]
    assert count(B=3, R=9) == 216 * 3 * 25
    huge = count(10**9 + 7, numpy.array([10**10 + 1]))
    assert huge.dtype == object
    assert huge[0] == 216 * (10**9 + 7) * ((10**10 + 2) // 2) ** 2
    assert count(numpy.array([], dtype=int), 3).shape == (0,)
    with pytest.raises(OptionError, match="one size for each of B, R"):
        count(1, 2, 3)


def test_arrays_and_ints_agree_on_every_function() -> None:
    expression = (
        sympy.Max(B, 3 * S) + 5 * sympy.Min(B**2, S) * gcd(B, S) - log2_ceil(B * S) + sympy.floor((B * S + 1) / (S + 2)) + B * (B - 1) / 2
    )
    exact = Exact(expression)
    pairs = list(itertools.product((1, 2, 3, 7, 64, 1000), (1, 2, 5, 128, 10**9)))
    expected = [int(expression.subs({B: b, S: s})) for b, s in pairs]
    assert [exact({"B": b, "S": s}) for b, s in pairs] == expected
    columns = {"B": numpy.array([b for b, _ in pairs]), "S": numpy.array([s for _, s in pairs])}
    assert exact(columns).tolist() == expected
    assert exact({name: column.astype(object) * 10**20 for name, column in columns.items()}).tolist() == [
        exact({"B": b * 10**20, "S": s * 10**20}) for b, s in pairs
    ]


def test_a_form_survives_pickling(form: ClosedForm) -> None:
    again = pickle.loads(pickle.dumps(form))
    assert again == form
    assert str(again) == str(form)
    assert again.evaluate("access_bytes", B=3, R=33) == form.evaluate("access_bytes", B=3, R=33)


# -- alignment ------------------------------------------------------------------------------------------------------------


def test_combine_goes_leaf_by_leaf() -> None:
    def fit(values: tuple[int, ...]) -> str:
        return f"fit{values}"

    assert combine([(1, "a", (2, None)), (1, "a", (3, None))], fit) == (1, "a", ("fit(2, 3)", None))
    assert combine([0.5, 0.25], fit) == 0.5
    for wrong in ([1, None], [(1,), (1, 2)], ["a", "b"], [True, False], [1, True]):
        with pytest.raises(Misaligned):
            combine(wrong, fit)
