"""What a cost model accepts, refuses, keeps and leaves alone. That its costs are right is tested on whole search spaces, in `test_spaces`."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from flopscope.cost import METRICS
from flopscope.errors import InputError, OptionError, SupernetError
from flopscope.relax import Choice, CostModel, cost_model
from tests.relax.modules import POSITIONS, Custom, X, conv, no_path, weighted_sum

# -- decisions ------------------------------------------------------------------------------------------------------------


def test_ties_do_not_depend_on_values_or_mode() -> None:
    alpha = nn.Parameter(torch.tensor([120.0, 0.0]))
    net = nn.Sequential(*(Choice([conv(3), conv(5)], alpha) for _ in range(3)))
    assert len(cost_model(net, X).decisions) == 1
    with torch.no_grad():
        assert cost_model(net, X)("macs").item() == 3 * POSITIONS * 16 * 9
    with torch.inference_mode():
        assert len(cost_model(net, X).decisions) == 1
    alpha.requires_grad_(False)
    assert len(cost_model(net, X).decisions) == 1
    uniform = nn.Sequential(*(Custom(no_path, lambda _: torch.ones(2) / 2) for _ in range(3)))
    assert len(cost_model(uniform, X).decisions) == 3


def test_inputs_that_other_candidates_would_need_are_not_guessed() -> None:
    class Pick(Custom):
        def forward(self, xs: list[Tensor]) -> Tensor:  # type: ignore[override]
            return self.candidates[0](xs[0])

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pick = Pick(no_path)

        def forward(self, x: Tensor) -> Tensor:
            return self.pick([x, F.max_pool2d(x, 2)])

    with pytest.raises(SupernetError, match="has several inputs, and its forward called one candidate with some of them only"):
        cost_model(Net(), X)


def test_tied_choices_are_one_decision() -> None:
    alpha = nn.Parameter(torch.zeros(2))
    rows = nn.Parameter(torch.zeros(3, 2))
    supernet = nn.Sequential(
        *(Choice([conv(3), conv(5)], alpha) for _ in range(3)),
        *(Custom(weighted_sum, lambda _, row=row: rows.softmax(-1)[row]) for row in (0, 1, 0)),
        Custom(weighted_sum, lambda _: F.gumbel_softmax(rows[2])),
        Custom(weighted_sum, lambda _: F.gumbel_softmax(rows[2])),
    )
    model = cost_model(supernet, X)
    assert [decision.choices for decision in model.decisions] == [("0", "1", "2"), ("3", "5"), ("4",), ("6", "7")]
    assert int(model("macs", [0, 0, 0, 0])) == POSITIONS * 16 * (3 * 9 + 5 * 1)


def test_a_weight_that_very_many_choices_share_is_counted_once() -> None:
    """More combinations than a table can hold."""
    shared = conv(5)
    supernet = nn.Sequential(*(Choice([shared, conv(3)]) for _ in range(30)))
    model = cost_model(supernet, X)
    never, always = torch.ones(30, dtype=torch.int64), torch.zeros(30, dtype=torch.int64)
    once = never.clone()
    once[7] = 0
    small, large = 16 * 9, 16 * 25
    assert model("params", torch.stack([never, once, always])).tolist() == [30 * small, 29 * small + large, large]
    assert model("params").item() == pytest.approx(30 * small / 2 + large * (1 - 0.5**30), rel=1e-12)
    assert model.minimum("macs").value == 30 * POSITIONS * small
    with pytest.raises(SupernetError, match="weights are shared by 30 decisions"):
        model.minimum("params")


# -- what it tells, and keeps -----------------------------------------------------------------------------------------


def supernet() -> nn.Module:
    inner = Choice([conv(3), conv(5)])
    return nn.Sequential(conv(1), Choice([conv(3), nn.Identity(), nn.Sequential(inner, conv(1))]), Choice([conv(7), conv(1)]))


def test_contributions_add_up() -> None:
    net = supernet()
    torch.manual_seed(0)
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    model = cost_model(net, X)
    for metric in METRICS:
        rows = model.contributions(metric)
        assert sum(row.expected for row in rows) == pytest.approx(model(metric).item(), rel=1e-12)
    identity = next(row for row in model.contributions() if row.name == "Identity")
    assert (identity.choice, identity.candidate, identity.cost, identity.expected) == ("1", 1, 0, 0.0)


def test_its_text_tells_the_range_of_the_space() -> None:
    model = cost_model(nn.Sequential(Choice([conv(3), conv(5)]), Choice([conv(1), nn.Identity()])), X)
    lines = str(model).splitlines()
    assert lines[0] == "Sequential: 2 decisions, 4 architectures"
    macs = [POSITIONS * 16 * count for count in (9, (9 + 25) / 2 + 0.5, 9 + 1, 25 + 1)]
    assert lines[3].split() == ["macs", *(f"{count:,.0f}" for count in macs)]
    assert "not counted, because only the search runs them" in lines[-1]
    assert str(pickle.loads(pickle.dumps(model))).splitlines()[3].split() == ["macs", f"{macs[0]:,}", f"{macs[3]:,}"]


def test_it_is_saved_and_loaded(tmp_path: Path) -> None:
    net = supernet()
    model = cost_model(net, X)
    file = tmp_path / "model.json"
    model.save(file)
    loaded = CostModel.load(file)
    architectures = torch.tensor([[0, 0, 0], [1, 1, 1], [2, 1, 0]])
    for other in (loaded, pickle.loads(pickle.dumps(model))):
        for metric in METRICS:
            assert torch.equal(other(metric, architectures), model(metric, architectures))
        with pytest.raises(SupernetError, match=r"has no supernet that gives probabilities; use model.attach"):
            other("macs")
        assert torch.equal(other.attach(net)("flops"), model("flops"))
    assert loaded.decisions == model.decisions
    with pytest.raises(SupernetError, match="needs a choice '1' with 3 candidates, but there is no such choice"):
        loaded.attach(nn.Sequential(conv()))
    file.write_text("{}")
    with pytest.raises(OptionError, match="is no cost model that can be read"):
        CostModel.load(file)
    with pytest.raises(OptionError, match="cannot write the cost model"):
        model.save(tmp_path / "missing" / "model.json")


def test_it_moves_to_a_device() -> None:
    model = cost_model(supernet(), X)
    assert model.to("cpu") is model
    with pytest.raises(
        InputError, match=r"the architectures are on meta and the cost model is on cpu; move the model with model.to\('meta'\)"
    ):
        model("macs", torch.zeros(3, dtype=torch.int64, device="meta"))


def test_nothing_is_left_behind() -> None:
    net = supernet()
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    attributes = {name: set(vars(module)) for name, module in net.named_modules()}
    torch.manual_seed(1)
    before = torch.get_rng_state()
    cost_model(net, X)("macs")
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(state[name], tensor) for name, tensor in net.state_dict().items())
    assert attributes == {name: set(vars(module)) for name, module in net.named_modules()}
    assert all(parameter.grad is None for parameter in net.parameters())


def test_a_step_against_the_gradient_lowers_the_cost() -> None:
    net = supernet()
    model = cost_model(net, X)
    before = model("macs")
    before.backward()
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.grad is not None:
                parameter -= 1e-6 * parameter.grad
    assert model("macs") < before


# -- what is refused ----------------------------------------------------------------------------------------------------


def test_a_supernet_needs_choices() -> None:
    with pytest.raises(SupernetError, match=r"Sequential has no choices. A choice is a module with `candidates`"):
        cost_model(nn.Sequential(conv()), X)
    with pytest.raises(SupernetError, match="a choice needs at least one candidate"):
        Choice([])
    with pytest.raises(SupernetError, match=r"among 2 candidates needs alpha of the shape \[2\], but it has \[3\]"):
        Choice([conv(), conv()], nn.Parameter(torch.zeros(3)))
    with pytest.raises(InputError, match=r"a supernet must be a torch.nn.Module, but a function was given"):
        cost_model(lambda x: x, X)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda _: torch.tensor([0.5, 0.6]), "the probabilities of the choice '0' must be at least 0 and sum to 1, but sum to 1.1"),
        (lambda _: torch.tensor([1.5, -0.5]), "but go down to -0.5"),
        (lambda _: torch.tensor([float("nan"), 1.0]), "must be at least 0 and sum to 1"),
        (lambda _: torch.ones(3) / 3, r"has 2 candidates, so probabilities\(\) must return a floating-point tensor of the shape \[2\]"),
        (lambda _: torch.tensor([0, 1]), r"but it returned int64\[2\]"),
        (lambda _: 1 / 0, r"probabilities\(\) of the choice '0' raised ZeroDivisionError: division by zero"),
        (lambda _: [0.5, 0.5], "must return a tensor, but returned a list"),
    ],
)
def test_bad_probabilities_are_refused(given: Any, message: str) -> None:
    with pytest.raises(SupernetError, match=message):
        cost_model(nn.Sequential(Custom(no_path, given)), X)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_probabilities_of_any_precision_are_taken(dtype: torch.dtype) -> None:
    alpha = nn.Parameter(torch.linspace(-1, 1, 7).to(dtype))
    model = cost_model(nn.Sequential(Custom(weighted_sum, lambda _: alpha.softmax(-1), count=7)), "1x4x4x4")
    expected = sum(p * 16 * 16 * (2 * k + 1) ** 2 for k, p in enumerate(alpha.softmax(-1).tolist()))
    assert model("macs").item() == pytest.approx(expected, rel=1e-6)
    assert model("macs", alpha.softmax(-1).detach()[None, None]).item() == pytest.approx(expected, rel=1e-6)


def test_probabilities_that_go_bad_later_are_refused() -> None:
    choice = Custom(no_path)
    model = cost_model(nn.Sequential(choice), X)
    choice.give = lambda _: torch.tensor([0.2, 0.2])
    with pytest.raises(SupernetError, match=r"the choice '0' must be at least 0 and sum to 1, but sum to 0.4"):
        model("macs")


@pytest.mark.parametrize(
    ("architectures", "message"),
    [
        ([0, 1], r"must be integers of the shape \[3\] or \[N, 3\], but are int64\[2\]"),
        ([0, 0, 2], "decision 2 has the candidates 0 to 1, but an architecture takes 2"),
        ([[0, 0, 0], [-1, 0, 0]], "decision 0 has the candidates 0 to 2, but an architecture takes -1"),
        ("x", "architectures must be a tensor of numbers"),
        ([1j, 0, 0], r"must be integers of the shape \[3\]"),
        (torch.ones(2, 3), r"must have the shape \[3, 3\] or \[N, 3, 3\], but are float32\[2, 3\]"),
        (torch.ones(3, 3) / 3, "decision 1 has 2 candidates, so its probabilities must be zero from number 2 on"),
        (torch.eye(3)[None, [0, 1, 1]] * 0.9, "decision 0 of an architecture must be at least 0 and sum to 1"),
    ],
)
def test_bad_architectures_are_refused(architectures: Any, message: str) -> None:
    model = cost_model(supernet(), X)
    with pytest.raises(InputError, match=message):
        model("macs", architectures)


def test_there_are_five_metrics() -> None:
    model = cost_model(supernet(), X)
    for ask in (model, model.variance, model.minimum, model.maximum, model.most_likely, model.contributions):
        with pytest.raises(OptionError, match="there is no metric 'latency'; there are macs, flops, params, access, access_bytes"):
            ask("latency")


def test_what_cannot_be_told_apart_is_refused() -> None:
    def outside(choice: Any, x: Tensor) -> Tensor:
        return F.conv2d(x, choice.candidates[0].weight, padding=0)

    with pytest.raises(SupernetError, match=r"reads the weight '0.candidates.0.weight' of a candidate outside any call of the candidate"):
        cost_model(nn.Sequential(Custom(outside)), X)

    class Bypass(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.choice = Choice([conv(3), conv(5)])

        def forward(self, x: Tensor) -> Tensor:
            return self.choice.candidates[0](x)

    def layer_by_layer(choice: Any, x: Tensor) -> Tensor:
        return sum(weight * candidate[0](x) for weight, candidate in zip(choice.probabilities(), choice.candidates, strict=True))

    layers = Custom(layer_by_layer)
    layers.candidates = nn.ModuleList([nn.Sequential(conv(3)), nn.Sequential(conv(5))])
    with pytest.raises(SupernetError, match="of a candidate outside any call of the candidate"):
        cost_model(layers, X)
    with pytest.raises(SupernetError, match=r"a candidate .* was called outside the choice that offers it"):
        cost_model(Bypass(), X)
    with pytest.raises(
        SupernetError, match=r"did not call its candidate 1 .* and it cannot be called with what its first candidate was given"
    ):
        cost_model(Choice([conv(3), conv(3, channels=5)], nn.Parameter(torch.tensor([1.0, 0.0]))).apply(_take_the_first), X)


def _take_the_first(module: nn.Module) -> None:
    if isinstance(module, Choice):
        module.forward = lambda x: module.candidates[0](x)  # type: ignore[method-assign]


def test_a_choice_that_is_never_called_is_told() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = Choice([conv(3), conv(5)]), Choice([conv(3), conv(5)])

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    model = cost_model(Half(), X)
    assert model.notes[0] == "never called, so that only their parameters cost something: idle"
    assert int(model("params", [0, 1])) == 16 * (9 + 25)


def test_wrong_kinds_of_things_are_refused() -> None:
    with pytest.raises(SupernetError, match="the candidates of a choice must be modules, but one is 3"):
        Choice([3])  # type: ignore[list-item]
    with pytest.raises(SupernetError, match=r"needs alpha of the shape \[1\], but it has \[0.0\]"):
        Choice([conv()], [0.0])  # type: ignore[arg-type]
    with pytest.raises(SupernetError, match=r"takes its probabilities from a torch.nn.Module, but a str was given"):
        cost_model(supernet(), X).attach("x")  # type: ignore[arg-type]


def test_uncounted_ops_make_a_lower_bound() -> None:
    class Unknown(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.ops.aten._test_functorch_fallback(x, x)  # listed as not counted

    model = cost_model(Choice([conv(), Unknown()]), X)
    assert model.partial
    assert any("lower bounds" in note for note in model.notes)
